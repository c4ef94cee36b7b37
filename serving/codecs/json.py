"""JSON: `{"instances": [...]}`, `{"columns": [...], "data": [...]}`, a list of rows, or one row.

The shapes of other servers mean the same: `dataframe_split`, `dataframe_records` and `inputs` of MLflow,
pandas' `to_json(orient="split")` with its `index`, and what may stand beside `instances`.
"""

from __future__ import annotations

from typing import Any

import orjson

from serving.codecs import lenient, pieces
from serving.codecs.columns import Columns, check_size, from_lists, from_records, order_of
from serving.codecs.layout import Layout
from serving.errors import BadBody
from serving.manifest import Manifest
from serving.predictions import Predictions

LARGE = 2 * pieces.PIECE
"""Bodies of at least this many bytes are read in pieces first."""

_SHAPES = 'send {"instances": [...]}, {"columns": [...], "data": [...]}, a list of rows or one row'
_BESIDE = frozenset({"parameters", "params", "signature_name"})
"""What may stand beside the rows, and says nothing to a model of columns."""
_LISTS = ("instances", "inputs", "dataframe_records")
_SPLIT = frozenset({"columns", "data"})


def decode(body: bytes, layout: Layout, most: int) -> Columns:
    """See `serving.codecs.decode`."""
    if len(body) >= LARGE and (found := pieces.decode(body, layout, most, columns)) is not None:
        return found
    try:
        payload = lenient.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadBody(f"the body is not valid JSON: {error}") from None
    rows, names = _rows(payload, layout)
    check_size(len(rows), len(layout.inputs), most)
    return columns(rows, names, layout)


def columns(rows: list[Any], names: list[str] | None, layout: Layout) -> Columns:
    """Columns of rows that are objects or lists; `names` are the columns of the lists."""
    if type(rows[0]) is dict:
        return from_records(rows, layout)
    inputs = layout.inputs
    if names is None:
        return from_lists(rows, range(len(inputs)), len(inputs), layout)
    return from_lists(rows, order_of(names, inputs), len(names), layout)


def encode(predictions: Predictions, manifest: Manifest) -> bytes:
    """`{"predictions": [...]}`."""
    if len(predictions) > pieces.MANY:
        return pieces.encode(answers(predictions, manifest), "predictions")
    return orjson.dumps({"predictions": answers(predictions, manifest)}, option=orjson.OPT_SERIALIZE_NUMPY)


def answers(predictions: Predictions, manifest: Manifest) -> list[dict[str, Any]]:
    """One object per row: the score or scores, and for a classifier the label."""
    scores = list(predictions.scores)
    if predictions.labels is None:
        return [{"score": score} for score in scores]
    name = "score" if manifest.task == "binary" else "scores"
    pairs = zip(predictions.labels, scores, strict=True)
    return [{"predicted_label": label, name: score} for label, score in pairs]


def _rows(payload: object, layout: Layout) -> tuple[list[Any], list[str] | None]:
    """The rows of a document, and the names of their columns where they stand apart."""
    if type(payload) is list:
        return _listed(payload, layout), None
    if type(payload) is not dict:
        raise BadBody(_SHAPES)
    given = payload if len(payload) == 1 else {key: payload[key] for key in payload if key not in _BESIDE}
    if len(given) == 1:
        (name,) = given
        rows = given[name]
        if name in _LISTS and type(rows) is list:
            return _listed(rows, layout), None
        if name == "inputs" and type(rows) is dict:
            return _by_column(rows), list(rows)
        if name == "dataframe_split" and type(rows) is dict:
            given = rows
    if given.keys() - {"index"} == _SPLIT:
        return _split(given)
    if any(item.name in payload for item in layout.inputs):
        return [payload], None
    raise BadBody(_SHAPES)


def _listed(rows: list[Any], layout: Layout) -> list[Any]:
    """Rows; a flat list of values is one row, for a model of one input as many rows as it has values."""
    if not rows or type(rows[0]) in (list, dict) or any(type(row) in (list, dict) for row in rows):
        return rows
    if len(layout.inputs) == 1:
        return [[value] for value in rows]
    return [rows] if len(rows) == len(layout.inputs) else rows


def _by_column(given: dict[str, Any]) -> list[Any]:
    """Rows of an object that has a list of values for each column."""
    lists = list(given.values())
    if not lists or any(type(values) is not list or len(values) != len(lists[0]) for values in lists):
        raise BadBody("inputs must hold a list of values for each column, all of one length")
    return [list(row) for row in zip(*lists, strict=True)]


def _split(given: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """Rows below the names of their columns."""
    rows, names = given["data"], given["columns"]
    if type(names) is not list or not all(type(name) is str for name in names):
        raise BadBody("columns must be a list of column names")
    if type(rows) is not list or any(type(row) is not list for row in rows):
        raise BadBody("data must be a list of lists when columns are given")
    return rows, names
