"""Arrow's IPC stream: record batches whose columns are found by name.

Batches must not be compressed: a few compressed bytes may claim any amount of memory, and Arrow believes
them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from serving.codecs.columns import Array, Columns, check_size, from_arrays, order_of
from serving.codecs.layout import Layout
from serving.codecs.npy import LABEL, label_array, score_array
from serving.errors import BadBody
from serving.manifest import Input, Manifest
from serving.predictions import Predictions

_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2  # kinds of message, as the format numbers them


def decode(body: bytes, layout: Layout, most: int) -> Columns:
    """See `serving.codecs.decode`."""
    import pyarrow as pa

    try:
        _refuse_compressed(pa, body)
        schema = pa.ipc.open_stream(pa.py_buffer(body)).schema
        places = chosen(pa, schema, layout.inputs)
        options = pa.ipc.IpcReadOptions(included_fields=sorted(places.values()), use_threads=False)
        batches = list(_read(pa.ipc.open_stream(pa.py_buffer(body), options=options), layout, most))
        return from_batches(pa, batches, layout)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadBody(f"the body is not an Arrow stream: {first_line(error)}") from None


def encode(predictions: Predictions, manifest: Manifest) -> bytes:
    """One batch: `predicted_label` and `score` or `scores` for a classifier, `score` for a regression."""
    import pyarrow as pa

    scores = score_array(predictions, manifest)
    columns: dict[str, Any] = {}
    if predictions.labels is not None:
        columns[LABEL] = pa.array(label_array(predictions.labels, manifest).tolist())
    if scores.ndim == 1:
        columns["score"] = pa.array(scores)
    else:
        columns["scores"] = pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1)), scores.shape[1])
    batch = pa.record_batch(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def chosen(pa: Any, schema: Any, inputs: tuple[Input, ...]) -> dict[str, int]:
    """The place of each input that the schema has, when their types can be read."""
    order = order_of(list(schema.names), inputs)
    places = {item.name: place for item, place in zip(inputs, order, strict=True) if place is not None}
    for item in inputs:
        if item.name in places and not _fits(pa, schema.field(places[item.name]).type, item):
            wanted = "numbers" if item.type == "double" else "text"
            kind = str(schema.field(places[item.name]).type)[:100]
            raise BadBody(f"{item.name!r} must be {wanted}, not {kind}", field=item.name)
    return places


def from_batches(pa: Any, batches: list[Any], layout: Layout) -> Columns:
    """Columns of batches that are valid and hold one row or more."""
    rows = sum(batch.num_rows for batch in batches)
    names = batches[0].schema.names
    arrays = {
        item.name: np.concatenate([_array(pa, batch.column(item.name), item) for batch in batches])
        for item in layout.inputs
        if item.name in names
    }
    return from_arrays(arrays, rows, layout)


def first_line(error: Exception) -> str:
    """The first line of a library's message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _read(reader: Iterable[Any], layout: Layout, most: int) -> Iterable[Any]:
    rows = 0
    for batch in reader:
        rows += batch.num_rows
        check_size(max(rows, 1), len(layout.inputs), most)
        batch.validate(full=True)
        if batch.num_rows:
            yield batch
    check_size(rows, len(layout.inputs), most)


def _fits(pa: Any, kind: Any, item: Input) -> bool:
    types = pa.types
    if types.is_null(kind):
        return True
    if item.type == "double":
        plain = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
        return bool(plain or types.is_decimal(kind))
    value = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(value) or types.is_large_string(value))


def _array(pa: Any, column: Any, item: Input) -> Array:
    if item.type == "double":
        values: Array = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return values
    if not pa.types.is_dictionary(column.type):
        return np.array(column.to_pylist(), object)
    import pyarrow.compute as pc

    texts = np.array([*column.dictionary.to_pylist(), None], object)  # each text is made once
    places = pc.fill_null(column.indices.cast(pa.int64()), len(column.dictionary))
    found: Array = texts[places.to_numpy()]
    return found


def _refuse_compressed(pa: Any, body: bytes) -> None:
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
    for message in reader:
        try:
            compressed = _compressed(bytes(message.metadata))
        except struct.error:
            raise BadBody("the body is not an Arrow stream: a message is cut short") from None
        if compressed:
            raise BadBody("the Arrow stream is compressed; send it without compression")


def _compressed(metadata: bytes) -> bool:
    """Whether a message's description, a flatbuffer, names a compression of its body."""
    (root,) = struct.unpack_from("<I", metadata)
    kind_at, header = _field(metadata, root, 1), _field(metadata, root, 2)
    if not kind_at or not header:
        return False
    table, kind = _follow(metadata, header), metadata[kind_at]
    if kind == _DICTIONARY_BATCH and (data := _field(metadata, table, 1)):
        table, kind = _follow(metadata, data), _RECORD_BATCH
    return kind == _RECORD_BATCH and _field(metadata, table, 3) != 0


def _field(buffer: bytes, table: int, number: int) -> int:
    """Position of a table's field; 0 when the table has none."""
    vtable = table - int(struct.unpack_from("<i", buffer, table)[0])
    (size,) = struct.unpack_from("<H", buffer, vtable)
    place = 4 + 2 * number
    if place + 2 > size:
        return 0
    offset = int(struct.unpack_from("<H", buffer, vtable + place)[0])
    return table + offset if offset else 0


def _follow(buffer: bytes, position: int) -> int:
    return position + int(struct.unpack_from("<I", buffer, position)[0])
