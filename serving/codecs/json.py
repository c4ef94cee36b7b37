"""JSON: `{"instances": [...]}`, `{"columns": [...], "data": [...]}`, or a bare list of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from serving.codecs.columns import Columns, Table, check_size, from_lists, from_records, from_table, order_of
from serving.errors import BadBody
from serving.manifest import Input, Manifest
from serving.predictions import Predictions

_SHAPES = 'send {"instances": [...]}, {"columns": [...], "data": [...]} or a list of rows'


def decode(body: bytes, manifest: Manifest, most: int) -> Columns:
    """See `serving.codecs.decode`."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = "; write missing values as null" if b"NaN" in body else ""
        raise BadBody(f"the body is not valid JSON: {error}{hint}") from None
    rows, names = _rows(payload)
    check_size(len(rows), len(manifest.inputs), most)
    return from_table(table(rows, names, manifest.inputs), manifest)


def table(rows: list[Any], names: list[str] | None, inputs: Sequence[Input]) -> Table:
    """Values by input of rows that are objects or lists; `names` are the columns of the lists."""
    if type(rows[0]) is dict:
        return from_records(rows, inputs)
    if names is None:
        return from_lists(rows, range(len(inputs)), len(inputs))
    return from_lists(rows, order_of(names, inputs), len(names))


def encode(predictions: Predictions, manifest: Manifest) -> bytes:
    """`{"predictions": [...]}`."""
    return orjson.dumps({"predictions": answers(predictions, manifest)}, option=orjson.OPT_SERIALIZE_NUMPY)


def answers(predictions: Predictions, manifest: Manifest) -> list[dict[str, Any]]:
    """One object per row: the score or scores, and for a classifier the label."""
    scores = list(predictions.scores)
    if predictions.labels is None:
        return [{"score": score} for score in scores]
    name = "score" if manifest.task == "binary" else "scores"
    pairs = zip(predictions.labels, scores, strict=True)
    return [{"predicted_label": label, name: score} for label, score in pairs]


def _rows(payload: object) -> tuple[list[Any], list[str] | None]:
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
            raise BadBody(_SHAPES)
    if not isinstance(rows, list):
        raise BadBody(_SHAPES)
    return rows, names
