"""Request bodies to columns, predictions to answer bodies; one module per format.

A `double` column becomes floating point with NaN for missing, a `string` column text with "" for missing;
every column has the shape (rows, 1). Rows are counted from 0, a CSV header line is no row.

Columns that come with names may be more than the model takes: the rest is ignored, so that one client can
serve several versions. An input that is not required may be left out and counts as missing, unless there is
a name nearly like it: that is a slip of the pen.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Protocol, cast

from serving.codecs.columns import MOST_VALUES, Columns
from serving.codecs.layout import Block, Layout
from serving.codecs.negotiate import (
    ARROW,
    CSV,
    JSON,
    LINES,
    NPY,
    NPZ,
    PARQUET,
    READABLE,
    WRITABLE,
    answer_type,
    media_type,
)
from serving.errors import BadBody
from serving.manifest import Manifest
from serving.predictions import Predictions

__all__ = [
    "ARROW",
    "CSV",
    "JSON",
    "LINES",
    "MOST_VALUES",
    "NPY",
    "NPZ",
    "PARQUET",
    "READABLE",
    "WRITABLE",
    "Block",
    "Columns",
    "Layout",
    "answer_type",
    "decode",
    "encode",
    "media_type",
    "read",
]

_MODULES = {
    JSON: "json",
    CSV: "csv",
    LINES: "lines",
    NPY: "npy",
    NPZ: "npz",
    ARROW: "arrow",
    PARQUET: "parquet",
}


class _Format(Protocol):
    def decode(self, body: bytes, layout: Layout, most: int) -> Columns: ...

    def encode(self, predictions: Predictions, manifest: Manifest) -> bytes: ...


def decode(body: bytes, media: str, manifest: Manifest, most: int = MOST_VALUES) -> Columns:
    """Columns of one request body; see `read`, which is quicker for many."""
    return read(body, media, Layout(manifest), most)


def read(body: bytes, media: str, layout: Layout, most: int = MOST_VALUES) -> Columns:
    """Columns of a request body in the format `media`.

    `most` is the largest number of values, rows times inputs, that the body may unpack to.

    Raises:
        BadBody: the body is malformed or does not fit the inputs; names the field and row where it can.
        PayloadTooLarge: it would unpack to more values than `most`.
    """
    if not body or body.isspace():
        raise BadBody("the body is empty; send at least one row")
    return _format(media).decode(body, layout, most)


def encode(predictions: Predictions, media: str, manifest: Manifest) -> bytes:
    """The answer body in the format `media`."""
    return _format(media).encode(predictions, manifest)


@cache
def _format(media: str) -> _Format:
    return cast("_Format", importlib.import_module(f"serving.codecs.{_MODULES[media]}"))
