"""Binary bodies to rows: npy, npz, Parquet and Arrow, each checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from monitoring.records.columns import own_name, whole_numbers
from monitoring.records.documents import titles
from monitoring.records.layout import Unreadable

if TYPE_CHECKING:
    import polars as pl

MOST_VALUES = 25 * 1024 * 1024
"""Rows times columns that one body may unpack to."""


def npy(body: bytes, names: Sequence[str]) -> pl.DataFrame:
    """Rows of a `.npy` array, or of a structured one by its fields; objects are never loaded.

    Raises:
        Unreadable: it is no such array.
    """
    from serving.codecs.npy import array
    from serving.errors import ServingError

    try:
        return _rows(array(body), names)
    except ServingError:
        raise Unreadable("body is not an npy array that can be read") from None


def npz(body: bytes, names: Sequence[str]) -> pl.DataFrame:
    """Rows of a `.npz` archive: of its one array, or of one array for each column.

    Raises:
        Unreadable: it is no such archive, or its columns differ in length.
    """
    import polars as pl

    from serving.codecs.npz import members
    from serving.errors import ServingError

    try:
        found = members(body, MOST_VALUES * 8)
    except ServingError:
        raise Unreadable("body is not an npz archive that can be read") from None
    if len(found) == 1:
        ((name, array),) = found.items()
        if name not in names or array.dtype.names is not None or (array.ndim == 2 and array.shape[1] != 1):
            return _rows(array, names)
    try:
        return pl.DataFrame([_column(own_name(name), one.reshape(-1)) for name, one in found.items()])
    except pl.exceptions.ShapeError:
        raise Unreadable("arrays of the npz archive differ in length") from None


def _rows(array: Any, names: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    if array.dtype.names is not None:
        flat = array.reshape(-1)
        return pl.DataFrame([_column(own_name(name), flat[name]) for name in array.dtype.names])
    if array.ndim == 0 or array.ndim > 2:
        raise Unreadable("array has not one or two dimensions")
    if array.ndim == 1:
        array = array.reshape(1, -1) if len(names) > 1 else array.reshape(-1, 1)
    given = titles(names, array.shape[1])
    return pl.DataFrame([whole_numbers(_column(name, array[:, n])) for n, name in enumerate(given)])


def _column(name: str, values: Any) -> pl.Series:
    import numpy as np
    import polars as pl

    if values.ndim > 1:
        listed = values.reshape(len(values), -1).astype(float).tolist()
        return pl.Series(name, listed, pl.List(pl.Float64))
    kind = values.dtype.kind
    if kind == "f":
        return pl.Series(name, values.astype(np.float64)).fill_nan(None)
    if kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if kind in "SU":
        texts = [text.encode("utf-8", "replace").decode() or None for text in values.tolist()]
        return pl.Series(name, texts, pl.String)
    if kind in "iub":
        return pl.Series(name, values.astype(np.float64 if values.dtype.str[1:] == "u8" else values.dtype))
    raise Unreadable(f"array holds {values.dtype.name[:20]}")


def parquet(body: bytes, _names: Sequence[str] = ()) -> pl.DataFrame:
    """Rows of a Parquet file.

    Raises:
        Unreadable: it is none, or claims too many values.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from serving.codecs.pages import check_pages
    from serving.errors import ServingError

    try:
        file = pq.ParquetFile(pa.BufferReader(body), pre_buffer=False)
        _check_size(file.metadata.num_rows, len(file.schema_arrow))
        check_pages(body, list(file.schema_arrow.names), MOST_VALUES * 8)
        return _frame(file.read(use_threads=False))
    except (pa.ArrowException, OSError, ValueError, ServingError):
        raise Unreadable("body is not a Parquet file that can be read") from None


def arrow(body: bytes, _names: Sequence[str] = ()) -> pl.DataFrame:
    """Rows of an Arrow stream without compression.

    Raises:
        Unreadable: it is none, or claims too many values.
    """
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(pa.py_buffer(body)) as stream:
            batches, total = [], 0
            for batch in stream:
                total += batch.num_rows
                _check_size(total, len(stream.schema))
                batch.validate(full=True)
                batches.append(batch)
            return _frame(pa.Table.from_batches(batches, stream.schema))
    except (pa.ArrowException, OSError, ValueError):
        raise Unreadable("body is not an Arrow stream that can be read") from None


def _check_size(rows: int, columns: int) -> None:
    if rows * max(columns, 1) > MOST_VALUES:
        raise Unreadable("body unpacks to too many values")


def _frame(table: Any) -> pl.DataFrame:
    """A frame of plain types: what is nested becomes dotted names, or JSON."""
    import polars as pl

    made = pl.DataFrame(table)
    while nested := [name for name, kind in made.schema.items() if isinstance(kind, pl.Struct)]:
        made = made.unnest(nested, separator=".")
    return made.select(_plain(made[name]).alias(own_name(name)) for name in made.columns)


def _plain(values: pl.Series) -> pl.Series:
    import polars as pl

    kind = values.dtype
    if kind.is_float():
        return values.cast(pl.Float64).fill_nan(None)
    if kind.is_integer():
        return values.cast(pl.Int64, strict=False)
    if isinstance(kind, pl.Decimal):
        return values.cast(pl.Float64)
    if isinstance(kind, pl.List | pl.Array):
        inner = kind.inner
        numeric = inner is not None and inner.is_numeric()
        return values.cast(pl.List(pl.Float64)) if numeric else values.cast(pl.List(pl.String)).list.join(",")
    if kind in (pl.Boolean, pl.Null):
        return values
    if kind == pl.Binary:
        return values.bin.encode("base64")
    return values.cast(pl.String)
