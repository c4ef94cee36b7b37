"""JSON Lines: one row per line, all objects or all lists in model order; empty lines are no rows."""

from __future__ import annotations

from typing import Any

import orjson

from serving.codecs import lenient
from serving.codecs.columns import Columns, check_size
from serving.codecs.json import answers, columns
from serving.codecs.layout import Layout
from serving.errors import BadBody
from serving.manifest import Manifest
from serving.predictions import Predictions


def decode(body: bytes, layout: Layout, most: int) -> Columns:
    """See `serving.codecs.decode`."""
    lines = [line for line in body.removeprefix(lenient.BOM).split(b"\n") if line and not line.isspace()]
    check_size(len(lines), len(layout.inputs), most)
    rows = [_row(line, number) for number, line in enumerate(lines)]
    return columns(rows, None, layout)


def encode(predictions: Predictions, manifest: Manifest) -> bytes:
    """One prediction per line, as an object."""
    option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    return b"".join(orjson.dumps(answer, option=option) for answer in answers(predictions, manifest))


def _row(line: bytes, number: int) -> Any:
    try:
        return lenient.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadBody(f"row {number} is not valid JSON: {error}", row=number) from None
