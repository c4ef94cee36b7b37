"""Parquet files as request bodies; columns are found by name. Answers are never Parquet.

What a file unpacks to is read from the headers of its pages before Arrow reads them: Arrow reserves what a
header claims, and the file's own footer need not tell the truth about it.
"""

from __future__ import annotations

from typing import Any

from serving.codecs.arrow import chosen, first_line, from_batches
from serving.codecs.columns import Columns, check_size
from serving.codecs.layout import Layout
from serving.codecs.pages import check_pages
from serving.errors import BadBody
from serving.manifest import Input, Manifest
from serving.predictions import Predictions

_ROWS = 64 * 1024
"""Rows that are unpacked at a time."""


def decode(body: bytes, layout: Layout, most: int) -> Columns:
    """See `serving.codecs.decode`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(body), pre_buffer=False)
        check_size(file.metadata.num_rows, len(layout.inputs), most)
        names = _names(pa, file, layout.inputs)
        check_pages(body, names, most * 8)
        texts = [item.name for item in layout.inputs if item.type == "string" and item.name in names]
        file = pq.ParquetFile(
            pa.BufferReader(body), metadata=file.metadata, read_dictionary=texts, pre_buffer=False
        )  # a text that many rows share is made once
        return from_batches(pa, _batches(file, names, layout, most), layout)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadBody(f"the body is not a Parquet file: {first_line(error)}") from None


def encode(predictions: Predictions, manifest: Manifest) -> bytes:
    """Not done: `serving.codecs.negotiate` never chooses it."""
    raise NotImplementedError


def _names(pa: Any, file: Any, inputs: tuple[Input, ...]) -> list[str]:
    schema = file.schema_arrow
    leaves = [file.schema.column(n) for n in range(len(file.schema))]
    if len(leaves) != len(schema) or any(leaf.max_repetition_level for leaf in leaves):
        raise BadBody("the Parquet file has nested columns; send flat ones")
    return list(chosen(pa, schema, inputs))


def _batches(file: Any, names: list[str], layout: Layout, most: int) -> list[Any]:
    found = []
    rows = 0
    for batch in file.iter_batches(batch_size=_ROWS, columns=names, use_threads=False):
        rows += batch.num_rows
        check_size(max(rows, 1), len(layout.inputs), most)
        batch.validate(full=True)
        if batch.num_rows:
            found.append(batch)
    check_size(rows, len(layout.inputs), most)
    return found
