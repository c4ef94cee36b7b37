"""Request bodies to columns, predictions to answer bodies: JSON and CSV.

A `double` column becomes floating point with NaN for missing, a `string` column text with "" for missing;
every column has the shape (rows, 1). Rows are counted from 0, a CSV header line is no row.

Columns that come with names may be more than the model takes: the rest is ignored, so that one client can
serve several versions. An input that is not required may be left out and counts as missing, unless there is
a name nearly like it: that is a slip of the pen.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from serving.errors import BadBody, NotAcceptable, UnsupportedContentType
from serving.manifest import Input, Manifest
from serving.predictions import Predictions

Columns = dict[str, npt.NDArray[Any]]

JSON, CSV = "application/json", "text/csv"
_SUPPORTED = (JSON, CSV)
_UTF8 = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})


def media_type(content_type: str | None) -> str:
    """The format of a body by its `Content-Type`; JSON when there is none.

    Raises:
        UnsupportedContentType: neither JSON nor CSV, or not in UTF-8.
    """
    if not content_type or not content_type.strip():
        return JSON
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    if media not in _SUPPORTED:
        raise UnsupportedContentType(
            f"content type {media!r} is not supported; send {' or '.join(_SUPPORTED)}"
        )
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in _UTF8:
            raise UnsupportedContentType(f"charset {value.strip()!r} is not supported; send UTF-8")
    return media


def answer_type(accept: str | None, request: str) -> str:
    """The format of the answer: the first one in `Accept` that we can write, else that of the request.

    Raises:
        NotAcceptable: `Accept` names formats, and none of them is ours.
    """
    if not accept or not accept.strip():
        return request
    for item in accept.split(","):
        match item.partition(";")[0].strip().lower():
            case "*/*":
                return request
            case "application/json" | "application/*":
                return JSON
            case "text/csv" | "text/*":
                return CSV
    raise NotAcceptable(f"cannot answer in {accept!r}; accept {JSON} or {CSV}")


def decode(body: bytes, media: str, manifest: Manifest) -> Columns:
    """Columns of a request body in the format `media`.

    Raises:
        BadBody: the body is malformed or does not fit the inputs; names the field and row where it can.
    """
    if not body or body.isspace():
        raise BadBody("the body is empty; send at least one row")
    table = _json_table(body, manifest.inputs) if media == JSON else _csv_table(body, manifest.inputs)
    return _columns(table, manifest)


def encode(predictions: Predictions, media: str, manifest: Manifest) -> bytes:
    """The answer body in the format `media`."""
    return _json_answer(predictions, manifest) if media == JSON else _csv_answer(predictions, manifest)


# --- JSON ---------------------------------------------------------------------------------------------


def _json_table(body: bytes, inputs: Sequence[Input]) -> list[list[Any]]:
    """Values by input, then by row."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = "; write missing values as null" if b"NaN" in body else ""
        raise BadBody(f"the body is not valid JSON: {error}{hint}") from None
    rows, names = _json_rows(payload)
    if not rows:
        raise BadBody("the body has no rows; send at least one")
    if type(rows[0]) is dict:
        return _from_records(rows, inputs)
    if names is None:
        return _from_lists(rows, range(len(inputs)), len(inputs))
    return _from_lists(rows, _order(names, inputs), len(names))


def _json_rows(payload: object) -> tuple[list[Any], list[str] | None]:
    names = None
    rows = payload
    if isinstance(payload, dict):
        if set(payload) == {"instances"}:
            rows = payload["instances"]
        elif set(payload) == {"columns", "data"}:
            rows, names = payload["data"], payload["columns"]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise BadBody("columns must be a list of column names")
            if isinstance(rows, list) and any(type(row) is not list for row in rows):
                raise BadBody("data must be a list of lists when columns are given")
        else:
            raise BadBody('send {"instances": [...]}, {"columns": [...], "data": [...]} or a list of rows')
    if not isinstance(rows, list):
        raise BadBody('send {"instances": [...]}, {"columns": [...], "data": [...]} or a list of rows')
    return rows, names


def _from_records(rows: list[Any], inputs: Sequence[Input]) -> list[list[Any]]:
    names = [item.name for item in inputs]
    for number, row in enumerate(rows):
        if type(row) is not dict:
            raise BadBody(f"row {number} is not an object, but the rows before it are", row=number)
        if any(name not in row for name in names):
            _check_absent(row, inputs, number)
    return [[row.get(item.name) for row in rows] for item in inputs]


def _from_lists(rows: list[Any], order: Sequence[int | None], width: int) -> list[list[Any]]:
    """Values by input; `order` holds each input's place in a row, None for one that was left out."""
    for number, row in enumerate(rows):
        if type(row) is not list:
            raise BadBody(f"row {number} must be a list of {width} values", row=number)
        if len(row) != width:
            raise BadBody(f"row {number} has {len(row)} values, but {width} are needed", row=number)
    return [[None if place is None else row[place] for row in rows] for place in order]


# --- CSV ----------------------------------------------------------------------------------------------


def _csv_table(body: bytes, inputs: Sequence[Input]) -> list[list[Any]]:
    rows = _csv_rows(body, len(inputs))
    order: Sequence[int | None] = range(len(inputs))
    width = len(inputs)
    if rows and _is_header(rows[0], inputs):
        order, width = _order([cell.strip() for cell in rows[0]], inputs), len(rows[0])
        rows = rows[1:]
    if not rows:
        raise BadBody("the body has no rows; send at least one")
    table = _from_lists(rows, order, width)
    return [
        _numbers(cells, item.name) if item.type == "double" else cells
        for cells, item in zip(table, inputs, strict=True)
    ]


def _csv_rows(body: bytes, width: int) -> list[list[str]]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadBody(f"the body is not UTF-8 text: byte {error.start} cannot be decoded") from None
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise BadBody(f"the body is not valid CSV: {error}") from None
    if width == 1:
        return [line or [""] for line in lines]
    return [line for line in lines if line]


def _is_header(cells: list[str], inputs: Sequence[Input]) -> bool:
    names = {item.name for item in inputs}
    return 2 * len(names & {cell.strip() for cell in cells}) >= min(len(cells), len(names))


def _numbers(cells: list[str | None], name: str) -> list[float | None]:
    return [_number(cell, name, row) for row, cell in enumerate(cells)]


def _number(cell: str | None, name: str, row: int) -> float | None:
    if not cell or cell.isspace():
        return None
    try:
        if "_" not in cell:
            return float(cell)
    except ValueError:
        pass
    raise BadBody(f"{name!r} in row {row} must be a number, not {_short(cell)}", field=name, row=row)


# --- both ---------------------------------------------------------------------------------------------


def _order(names: list[str], inputs: Sequence[Input]) -> list[int | None]:
    """Position of each input in the given column names; None for one that is not required and not there."""
    if len(set(names)) != len(names):
        doubled = next(name for name in names if names.count(name) > 1)
        raise BadBody(f"column {doubled!r} is given twice", field=doubled[:100])
    places = {name: place for place, name in enumerate(names)}
    _check_absent(places, inputs, None)
    return [places.get(item.name) for item in inputs]


def _check_absent(given: Collection[str], inputs: Sequence[Input], row: int | None) -> None:
    """Refuse the absence of a required input, and of any whose name was probably misspelt."""
    import difflib

    known = {item.name for item in inputs}
    strange = [str(one)[:100] for one in given if one not in known]
    place = "" if row is None else f" in row {row}"
    for item in inputs:
        if item.name in given:
            continue
        if close := difflib.get_close_matches(item.name, strange, n=1, cutoff=0.75):
            problem = f"unknown column {_short(close[0])}{place}; did you mean {item.name!r}?"
            raise BadBody(problem, field=close[0], row=row)
        if item.required:
            raise BadBody(f"column {item.name!r} is missing{place}", field=item.name, row=row)


def _columns(table: list[list[Any]], manifest: Manifest) -> Columns:
    inputs = manifest.inputs
    doubles = [n for n, item in enumerate(inputs) if item.type == "double"]
    numbers = _double_columns([table[n] for n in doubles], [inputs[n] for n in doubles], manifest.number_type)
    found = dict(zip(doubles, numbers, strict=True))
    return {
        item.name: found[n] if n in found else _string_column(table[n], item) for n, item in enumerate(inputs)
    }


_NUMERIC = frozenset({float, int, bool, type(None)})


def _double_columns(
    table: list[list[Any]], inputs: list[Input], dtype: str
) -> list[npt.NDArray[np.floating]]:
    """All numeric columns at once: one array, whose rows are the columns."""
    if not table:
        return []
    for values, item in zip(table, inputs, strict=True):
        if not _NUMERIC.issuperset(map(type, values)):
            row = next(n for n, value in enumerate(values) if type(value) not in _NUMERIC)
            problem = f"{item.name!r} in row {row} must be a number, not {_short(values[row])}"
            raise BadBody(problem, field=item.name, row=row)
    numbers = np.array(table, dtype=np.float64)
    if dtype != "float64":
        with np.errstate(over="ignore"):
            numbers = numbers.astype(dtype)
    if not np.isfinite(numbers).all():
        _check_strange(numbers, inputs)
    return [column.reshape(-1, 1) for column in numbers]


def _check_strange(numbers: npt.NDArray[np.floating], inputs: list[Input]) -> None:
    """Refuse infinity, and a missing value where one is required."""
    if (infinite := np.isinf(numbers)).any():
        raise _at(infinite, inputs, "is too large a number; send a finite one")
    missing = np.isnan(numbers) & np.array([[item.required] for item in inputs])
    if missing.any():
        raise _at(missing, inputs, "is missing, but this input is required")


def _at(mask: npt.NDArray[np.bool_], inputs: list[Input], problem: str) -> BadBody:
    column, row = (int(n) for n in np.argwhere(mask)[0])
    name = inputs[column].name
    return BadBody(f"{name!r} in row {row} {problem}", field=name, row=row)


def _string_column(values: list[Any], item: Input) -> npt.NDArray[np.object_]:
    column = np.empty((len(values), 1), dtype=object)
    for row, value in enumerate(values):
        if value is not None and type(value) is not str:
            problem = f"{item.name!r} in row {row} must be text, not {_short(value)}"
            raise BadBody(problem, field=item.name, row=row)
        if not value and item.required:
            problem = f"{item.name!r} in row {row} is missing, but this input is required"
            raise BadBody(problem, field=item.name, row=row)
        column[row, 0] = value or ""
    return column


def _short(value: object) -> str:
    match value:
        case list():
            return "a list"
        case dict():
            return "an object"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...'"


def _json_answer(predictions: Predictions, manifest: Manifest) -> bytes:
    scores = list(predictions.scores)
    if predictions.labels is None:
        answers: list[dict[str, Any]] = [{"score": score} for score in scores]
    else:
        name = "score" if manifest.task == "binary" else "scores"
        pairs = zip(predictions.labels, scores, strict=True)
        answers = [{"predicted_label": label, name: score} for label, score in pairs]
    return orjson.dumps({"predictions": answers}, option=orjson.OPT_SERIALIZE_NUMPY)


def _csv_answer(predictions: Predictions, manifest: Manifest) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    labels: Sequence[object] = predictions.labels or ()
    for number, score in enumerate(predictions.scores):
        numbers = [str(value) for value in score] if manifest.task == "multiclass" else [str(score)]
        writer.writerow([labels[number], *numbers] if labels else numbers)
    return out.getvalue().encode()
