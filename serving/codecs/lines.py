"""JSON Lines: one row per line, an object or a list in model order; empty lines are no rows."""

from __future__ import annotations

from typing import Any

import orjson

from serving.codecs.columns import Columns, check_size, from_table
from serving.codecs.json import answers, table
from serving.errors import BadBody
from serving.manifest import Manifest
from serving.predictions import Predictions


def decode(body: bytes, manifest: Manifest, most: int) -> Columns:
    """See `serving.codecs.decode`."""
    lines = [line for line in body.split(b"\n") if line and not line.isspace()]
    check_size(len(lines), len(manifest.inputs), most)
    rows = [_row(line, number) for number, line in enumerate(lines)]
    return from_table(table(rows, None, manifest.inputs), manifest)


def encode(predictions: Predictions, manifest: Manifest) -> bytes:
    """One prediction per line, as an object."""
    option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    return b"".join(orjson.dumps(answer, option=option) for answer in answers(predictions, manifest))


def _row(line: bytes, number: int) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        hint = "; write missing values as null" if b"NaN" in line else ""
        raise BadBody(f"row {number} is not valid JSON: {error}{hint}", row=number) from None
