"""Values as they came to the columns that a model takes: order, presence, types, missing values.

Rows in which every value is there and has its type become columns at once (`plain`). Any other row is looked
at value by value: this takes longer, and finds the words for what is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from serving.codecs.layout import Array, Block, Columns, Layout, Pick
from serving.errors import BadBody, PayloadTooLarge
from serving.manifest import Input

__all__ = [
    "MOST_VALUES",
    "PART",
    "Array",
    "Columns",
    "check_absent",
    "check_size",
    "from_arrays",
    "from_lists",
    "from_records",
    "from_table",
    "joined",
    "lists_table",
    "narrowed",
    "order_of",
    "plain",
    "short",
]

Table = list[list[Any]]
"""Values by input, then by row; None is missing."""

PART = 4096
"""Rows that are read at a time."""
MOST_VALUES = 25 * 1024 * 1024
"""Values, rows times inputs, that one body may unpack to when nothing else is said: 200 MiB of numbers."""

_LAST_CHARACTER, _SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)
_NUMERIC = frozenset({float, int, bool, type(None)})
_TEXT = frozenset({str})
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


def from_records(rows: list[Any], layout: Layout) -> Columns:
    """Columns of rows that are objects; each must be one."""
    if (found := plain(rows, layout.by_name, layout)) is not None:
        return found
    names = [item.name for item in layout.inputs]
    for number, row in enumerate(rows):
        if type(row) is not dict:
            raise BadBody(f"row {number} is not an object, but the rows before it are", row=number)
        if any(name not in row for name in names):
            check_absent(row, layout.inputs, number)
    return from_table([[row.get(name) for row in rows] for name in names], layout)


def from_lists(rows: list[Any], order: Sequence[int | None], width: int, layout: Layout) -> Columns:
    """Columns of rows that are lists; `order` as `order_of` finds it."""
    given = [place for place in order if place is not None]
    if len(given) == len(order) and all(type(row) is list and len(row) == width for row in rows):
        picks = layout.by_place if given == list(range(width)) else layout.at(given)
        if (found := plain(rows, picks, layout)) is not None:
            return found
    return from_table(lists_table(rows, order, width), layout)


def lists_table(rows: list[Any], order: Sequence[int | None], width: int) -> Table:
    """Rows that are lists; `order` holds each input's place in a row, None for one that was left out."""
    for number, row in enumerate(rows):
        if type(row) is not list:
            raise BadBody(f"row {number} must be a list of {width} values", row=number)
        if len(row) != width:
            raise BadBody(f"row {number} has {len(row)} values, but {width} are needed", row=number)
    return [[None if place is None else row[place] for row in rows] for place in order]


def plain(rows: list[Any], picks: tuple[Pick, Pick], layout: Layout) -> Columns | None:
    """Columns of rows with every value in its type; None when some row must be looked at more closely.

    Many rows are read in parts, so that other threads get their turn in between.
    """
    if len(rows) <= PART:
        return _plain(rows, picks, layout)
    parts = []
    try:
        for start in range(0, len(rows), PART):
            if (part := _plain(rows[start : start + PART], picks, layout)) is None:
                return None
            parts.append(part)
    except BadBody:  # it counts rows from the beginning of the part
        return None
    return joined(parts, layout)


def joined(parts: Sequence[Block], layout: Layout) -> Block:
    """The rows of all parts below each other."""
    numbers = np.concatenate([part.numbers for part in parts])
    return Block(layout, numbers, np.concatenate([part.texts for part in parts]))


def _plain(rows: list[Any], picks: tuple[Pick, Pick], layout: Layout) -> Block | None:
    try:
        numbers, texts = ([pick(row) for row in rows] for pick in picks)
    except (KeyError, TypeError):
        return None
    if not _NUMERIC.issuperset(map(type, chain.from_iterable(numbers))):
        return None
    if not _TEXT.issuperset(map(type, chain.from_iterable(texts))):
        return None
    if layout.texts_required and not all(chain.from_iterable(texts)):
        return None
    return Block(layout, narrowed(np.array(numbers, np.float64), layout), np.array(texts, object))


def order_of(names: list[str], inputs: Sequence[Input]) -> list[int | None]:
    """Position of each input in the given column names; None for one that is not required and not there.

    Names that the model does not take may be doubled, or empty.
    """
    places = {name: place for place, name in enumerate(names)}
    if len(places) != len(names):
        given = Counter(names)
        for item in inputs:
            if given[item.name] > 1:
                raise BadBody(f"column {short(item.name)} is given twice", field=item.name[:100])
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


def from_table(table: Table, layout: Layout) -> Columns:
    """Columns of plain Python values."""
    by_kind: dict[str, Table] = {"double": [], "string": []}
    for values, item in zip(table, layout.inputs, strict=True):
        by_kind[item.type].append(values)
    numbers = _numbers(by_kind["double"], len(table[0]), layout)
    return Block(layout, numbers, _texts(by_kind["string"], len(table[0]), layout))


def from_arrays(arrays: Mapping[str, Array], rows: int, layout: Layout) -> Columns:
    """Columns of one-dimensional arrays, by name; an input without an array is missing in every row.

    Numbers and booleans may be of any width, texts `U`, `S` (UTF-8) or objects.
    """
    made = np.empty((len(layout.numbers), rows), layout.number_type)
    for line, item in zip(made, layout.numbers, strict=True):
        _fill(line, arrays.get(item.name), item)
    _check_finite(made, layout.numbers)
    texts = (_strings(arrays.get(item.name), rows, item) for item in layout.texts)
    return Block(layout, made.T, _texts(texts, rows, layout))


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


def _numbers(table: Table, rows: int, layout: Layout) -> Array:
    """All numeric columns at once, side by side."""
    for values, item in zip(table, layout.numbers, strict=True):
        if not _NUMERIC.issuperset(map(type, values)):
            row = next(n for n, value in enumerate(values) if type(value) not in _NUMERIC)
            problem = f"{item.name!r} in row {row} must be a number, not {short(values[row])}"
            raise BadBody(problem, field=item.name, row=row)
    return narrowed(np.array(table, np.float64).reshape(len(table), rows).T, layout)


def narrowed(numbers: Array, layout: Layout) -> Array:
    """Rows by numeric inputs in the model's precision, which must be finite, and there where required."""
    if np.vdot(numbers, numbers) < layout.limit:
        return numbers.astype(layout.number_type, copy=False)
    with np.errstate(over="ignore"):
        found = numbers.astype(layout.number_type, copy=False)
    _check_finite(found.T, layout.numbers)
    return found


def _check_finite(numbers: Array, inputs: Sequence[Input]) -> None:
    """Given inputs by rows, refuse infinity, and a missing value where one is required."""
    if np.isfinite(numbers).all():
        return
    if (infinite := np.isinf(numbers)).any():
        raise _at(infinite, inputs, "is too large a number; send a finite one")
    missing = np.isnan(numbers) & np.array([[item.required] for item in inputs])
    if missing.any():
        raise _at(missing, inputs, "is missing, but this input is required")


def _at(mask: Array, inputs: Sequence[Input], problem: str) -> BadBody:
    column, row = (int(n) for n in np.argwhere(mask)[0])
    name = inputs[column].name
    return BadBody(f"{name!r} in row {row} {problem}", field=name, row=row)


def _texts(table: Iterable[Sequence[Any]], rows: int, layout: Layout) -> Array:
    """All text columns, side by side."""
    made: Array = np.empty((rows, len(layout.texts)), object)
    for place, (values, item) in enumerate(zip(table, layout.texts, strict=True)):
        for row, value in enumerate(values):
            if value is not None and type(value) is not str:
                problem = f"{item.name!r} in row {row} must be text, not {short(value)}"
                raise BadBody(problem, field=item.name, row=row)
            if not value and item.required:
                problem = f"{item.name!r} in row {row} is missing, but this input is required"
                raise BadBody(problem, field=item.name, row=row)
            made[row, place] = value or ""
    return made


def short(value: object) -> str:
    """A value as an error message shows it."""
    match value:
        case list():
            return "a list"
        case dict():
            return "an object"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...'"
