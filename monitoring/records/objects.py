"""Many JSON documents of one shape at once, by Arrow's parser: rows that are objects.

Arrow refuses what would need a decision (a column with numbers and texts, a name twice), so nothing changes
its meaning here. What it refuses, and rows of lists, are read one by one in `documents`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from monitoring.records.columns import RECORD, own_name

if TYPE_CHECKING:
    import polars as pl

_ROOTED = re.compile(r'\s*\{\s*"(instances|predictions|inputs|dataframe_records)"\s*:\s*\[\s*\{')
_LISTED = re.compile(r"\s*\[\s*\{")
AT_ONCE = 8192
"""Documents that are parsed together; those beside one that is refused are read one by one."""
_BLOCK = 1 << 20
_ROOT = "@root"


def beginning(text: str) -> tuple[str, str] | None:
    """A document's shape, and its beginning that shows it; None when it must be read by itself."""
    if found := _ROOTED.match(text):
        return found[1], found[0]
    if found := _LISTED.match(text):
        return _ROOT, found[0]
    return None


def rows(texts: Sequence[str], kind: str, *, lists: bool) -> pl.DataFrame | None:
    """The rows of documents of one shape, with their document's place; None when they must be read singly.

    Args:
        texts: documents.
        kind: their shape, as `beginning` says.
        lists: columns may be lists of numbers.
    """
    import polars as pl

    if kind == _ROOT:
        texts = [f'{{"{_ROOT}":{text}}}' for text in texts]
    block = "\n".join(texts).encode()
    if block.count(b"\n") != len(texts) - 1:
        return None
    table = _parsed(block, kind)
    if table is None or table.num_rows != len(texts):
        return None
    frame = pl.DataFrame(
        {RECORD: pl.int_range(len(texts), eager=True), kind: pl.from_arrow(table.column(kind))}
    )
    if frame[kind].null_count() or not isinstance(frame.schema[kind], pl.List):
        return None
    frame = frame.filter(pl.col(kind).list.len() > 0).explode(kind)
    return None if frame[kind].null_count() else _flat(frame, kind, lists=lists)


def _parsed(block: bytes, kind: str) -> Any:
    """Arrow's table of the documents' rows; texts that look like times stay texts."""
    import pyarrow as pa

    try:
        table = _read(block, None)
        if kind not in table.column_names:
            return None
        if _has_times(pa, table.schema.field(kind).type):
            wanted = pa.schema([(kind, _with_texts(pa, table.schema.field(kind).type))])
            table = _read(block, wanted)
    except (pa.ArrowException, OSError, ValueError):
        return None
    return table


def _read(block: bytes, schema: Any) -> Any:
    import pyarrow as pa
    from pyarrow import json

    return json.read_json(
        pa.BufferReader(block),
        read_options=json.ReadOptions(block_size=max(_BLOCK, block.find(b"\n") + 2)),
        parse_options=json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer"),
    )


def _has_times(pa: Any, kind: Any) -> bool:
    if pa.types.is_nested(kind):
        return any(_has_times(pa, kind.field(n).type) for n in range(kind.num_fields))
    return bool(pa.types.is_temporal(kind))


def _with_texts(pa: Any, kind: Any) -> Any:
    if pa.types.is_struct(kind):
        fields = (kind.field(n) for n in range(kind.num_fields))
        return pa.struct([(one.name, _with_texts(pa, one.type)) for one in fields])
    if pa.types.is_list(kind):
        return pa.list_(_with_texts(pa, kind.value_type))
    return pa.string() if pa.types.is_temporal(kind) else kind


def _flat(frame: pl.DataFrame, kind: str, *, lists: bool) -> pl.DataFrame | None:
    """Objects to columns with dotted names; None when that takes a decision."""
    import polars as pl

    if not isinstance(frame.schema[kind], pl.Struct):
        return None
    held = frame.to_series(1).struct.unnest()
    found: dict[str, pl.Series] = {RECORD: frame[RECORD]}
    waiting = [(own_name(name), held[name]) for name in held.columns]
    while waiting:
        name, values = waiting.pop(0)
        if isinstance(values.dtype, pl.Struct):
            if not values.dtype.fields or values.null_count():
                return None
            inner = values.struct.unnest()
            waiting[:0] = [(f"{name}.{one}", inner[one]) for one in inner.columns]
        elif name in found or (isinstance(values.dtype, pl.List) and not (lists and _numbers(values.dtype))):
            return None
        else:
            found[name] = (values.fill_nan(None) if values.dtype.is_float() else values).alias(name)
    return pl.DataFrame(list(found.values()))


def _numbers(kind: pl.List) -> bool:
    return kind.inner is not None and kind.inner.is_numeric()
