"""Values as they came to the columns that a model takes: order, presence, types, missing values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.errors import BadBody, PayloadTooLarge
from serving.manifest import Input, Manifest

Columns = dict[str, npt.NDArray[Any]]
Table = list[list[Any]]
"""Values by input, then by row; None is missing."""
Array = npt.NDArray[Any]

MOST_VALUES = 25 * 1024 * 1024
"""Values, rows times inputs, that one body may unpack to when nothing else is said: 200 MiB of numbers."""

_LAST_CHARACTER, _SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)
_NUMERIC = frozenset({float, int, bool, type(None)})
_NUMERIC_KINDS = frozenset("biuf")


def check_size(rows: int, inputs: int, most: int) -> None:
    """Refuse no rows, and rows that would unpack to more than `most` values."""
    if rows < 1:
        raise BadBody("the body has no rows; send at least one")
    if rows * inputs > most:
        raise PayloadTooLarge(
            f"the body unpacks to {rows} rows of {inputs} inputs, but at most {most} values are taken at "
            "once; send fewer rows at a time"
        )


def from_records(rows: list[Any], inputs: Sequence[Input]) -> Table:
    """Rows that are objects; each must be one."""
    names = [item.name for item in inputs]
    for number, row in enumerate(rows):
        if type(row) is not dict:
            raise BadBody(f"row {number} is not an object, but the rows before it are", row=number)
        if any(name not in row for name in names):
            check_absent(row, inputs, number)
    return [[row.get(item.name) for row in rows] for item in inputs]


def from_lists(rows: list[Any], order: Sequence[int | None], width: int) -> Table:
    """Rows that are lists; `order` holds each input's place in a row, None for one that was left out."""
    for number, row in enumerate(rows):
        if type(row) is not list:
            raise BadBody(f"row {number} must be a list of {width} values", row=number)
        if len(row) != width:
            raise BadBody(f"row {number} has {len(row)} values, but {width} are needed", row=number)
    return [[None if place is None else row[place] for row in rows] for place in order]


def order_of(names: list[str], inputs: Sequence[Input]) -> list[int | None]:
    """Position of each input in the given column names; None for one that is not required and not there."""
    if len(set(names)) != len(names):
        doubled = next(name for name in names if names.count(name) > 1)
        raise BadBody(f"column {short(doubled)} is given twice", field=doubled[:100])
    places = {name: place for place, name in enumerate(names)}
    check_absent(places, inputs, None)
    return [places.get(item.name) for item in inputs]


def check_absent(given: Collection[str], inputs: Sequence[Input], row: int | None) -> None:
    """Refuse the absence of a required input, and of any whose name was probably misspelt."""
    import difflib

    known = {item.name for item in inputs}
    strange = [str(one)[:100] for one in given if one not in known][:1000]
    place = "" if row is None else f" in row {row}"
    for item in inputs:
        if item.name in given:
            continue
        if close := difflib.get_close_matches(item.name, strange, n=1, cutoff=0.75):
            problem = f"unknown column {short(close[0])}{place}; did you mean {item.name!r}?"
            raise BadBody(problem, field=close[0], row=row)
        if item.required:
            raise BadBody(f"column {item.name!r} is missing{place}", field=item.name, row=row)


def from_table(table: Table, manifest: Manifest) -> Columns:
    """Columns of plain Python values."""
    inputs = manifest.inputs
    doubles = [n for n, item in enumerate(inputs) if item.type == "double"]
    numbers = _numbers([table[n] for n in doubles], [inputs[n] for n in doubles], manifest)
    found = dict(zip(doubles, numbers, strict=True))
    return {item.name: found[n] if n in found else _texts(table[n], item) for n, item in enumerate(inputs)}


def from_arrays(arrays: Mapping[str, Array], rows: int, manifest: Manifest) -> Columns:
    """Columns of one-dimensional arrays, by name; an input without an array is missing in every row.

    Numbers and booleans may be of any width, texts `U`, `S` (UTF-8) or objects.
    """
    doubles = [item for item in manifest.inputs if item.type == "double"]
    made = np.empty((len(doubles), rows), manifest.number_type)
    for line, item in zip(made, doubles, strict=True):
        _fill(line, arrays.get(item.name), item)
    _check_finite(made, doubles)
    found = {item.name: line.reshape(-1, 1) for item, line in zip(doubles, made, strict=True)}
    return {
        item.name: found[item.name]
        if item.type == "double"
        else _texts(_strings(arrays.get(item.name), rows, item), item)
        for item in manifest.inputs
    }


def _fill(line: Array, values: Array | None, item: Input) -> None:
    if values is None:
        line[:] = np.nan
        return
    if values.dtype.kind not in _NUMERIC_KINDS:
        raise BadBody(f"{item.name!r} must be numbers, not {values.dtype}", field=item.name)
    with np.errstate(over="ignore", invalid="ignore"):
        line[:] = values


def _strings(values: Array | None, rows: int, item: Input) -> list[Any]:
    if values is None:
        return [None] * rows
    if values.dtype.kind not in "OSU":
        raise BadBody(f"{item.name!r} must be text, not {values.dtype}", field=item.name)
    if values.dtype.kind != "S":
        return _listed(values, item)
    return [_text(value, item, row) for row, value in enumerate(values.tolist())]


def _listed(values: Array, item: Input) -> list[Any]:
    """The values of a `U` or object array; a `U` array may hold numbers that are no characters."""
    if values.dtype.kind == "U" and values.dtype.itemsize:
        codes = np.ascontiguousarray(values).view(np.dtype("u4").newbyteorder(values.dtype.byteorder))
        strange = (codes > _LAST_CHARACTER) | ((codes >= _SURROGATES[0]) & (codes <= _SURROGATES[1]))
        if strange.any():
            row = int(strange.reshape(len(values), -1).any(axis=1).argmax())
            problem = f"{item.name!r} in row {row} is not Unicode text"
            raise BadBody(problem, field=item.name, row=row)
    return list(values.tolist())


def _text(value: bytes, item: Input, row: int) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadBody(f"{item.name!r} in row {row} is not UTF-8 text", field=item.name, row=row) from None


def _numbers(table: Table, inputs: list[Input], manifest: Manifest) -> list[Array]:
    """All numeric columns at once: one array, whose rows are the columns."""
    if not table:
        return []
    for values, item in zip(table, inputs, strict=True):
        if not _NUMERIC.issuperset(map(type, values)):
            row = next(n for n, value in enumerate(values) if type(value) not in _NUMERIC)
            problem = f"{item.name!r} in row {row} must be a number, not {short(values[row])}"
            raise BadBody(problem, field=item.name, row=row)
    numbers: Array = np.array(table, dtype=np.float64)
    if manifest.number_type != "float64":
        with np.errstate(over="ignore"):
            numbers = numbers.astype(manifest.number_type)
    _check_finite(numbers, inputs)
    return [column.reshape(-1, 1) for column in numbers]


def _check_finite(numbers: Array, inputs: list[Input]) -> None:
    """Refuse infinity, and a missing value where one is required."""
    if np.isfinite(numbers).all():
        return
    if (infinite := np.isinf(numbers)).any():
        raise _at(infinite, inputs, "is too large a number; send a finite one")
    missing = np.isnan(numbers) & np.array([[item.required] for item in inputs])
    if missing.any():
        raise _at(missing, inputs, "is missing, but this input is required")


def _at(mask: Array, inputs: list[Input], problem: str) -> BadBody:
    column, row = (int(n) for n in np.argwhere(mask)[0])
    name = inputs[column].name
    return BadBody(f"{name!r} in row {row} {problem}", field=name, row=row)


def _texts(values: Sequence[Any], item: Input) -> npt.NDArray[np.object_]:
    column = np.empty((len(values), 1), dtype=object)
    for row, value in enumerate(values):
        if value is not None and type(value) is not str:
            problem = f"{item.name!r} in row {row} must be text, not {short(value)}"
            raise BadBody(problem, field=item.name, row=row)
        if not value and item.required:
            problem = f"{item.name!r} in row {row} is missing, but this input is required"
            raise BadBody(problem, field=item.name, row=row)
        column[row, 0] = value or ""
    return column


def short(value: object) -> str:
    """A value as an error message shows it."""
    match value:
        case list():
            return "a list"
        case dict():
            return "an object"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...'"
