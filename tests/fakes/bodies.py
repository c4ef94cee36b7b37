"""Valid bodies in every format, and ways to spoil them, for tests that send anything to a server."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

INFER = "/v2/models/m/infer"
INVOKE = "/invocations"
TYPES = (
    "",
    "application/json",
    "text/csv",
    "text/csv; charset=utf-8",
    "application/jsonlines",
    "application/x-ndjson",
    "application/x-npy",
    "application/x-npz",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
    "application/octet-stream",
)
ACCEPTS = (
    "",
    "*/*",
    "application/json",
    "text/csv",
    "application/jsonlines",
    "application/x-npy",
    "image/png",
)


@dataclass(frozen=True, slots=True)
class Call:
    """A request: where to, of which type, with which body."""

    path: str
    content_type: str
    body: bytes
    header: int | None = None
    """Value of `Inference-Header-Content-Length`."""


def valid() -> list[Call]:
    """One call in each format, for the inputs of `tests.fakes.model`."""
    rows = [{"delay": 1.5, "hour": 7, "carrier": "UA"}, {"delay": None, "hour": 8, "carrier": "ü"}]
    table = pa.Table.from_pylist(rows)
    coded = table.set_column(2, "carrier", table["carrier"].dictionary_encode())
    kind = [("delay", "f4"), ("hour", "i2"), ("carrier", "U2")]
    texts = b"\x02\x00\x00\x00UA\x01\x00\x00\x00x"
    tensors = [
        {"name": "hour", "datatype": "FP32", "shape": [2, 1], "data": [7, 8]},
        {
            "name": "carrier",
            "datatype": "BYTES",
            "shape": [2],
            "parameters": {"binary_data_size": len(texts)},
        },
    ]
    head = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
    return [
        Call(INVOKE, "application/json", json.dumps({"instances": rows}).encode()),
        Call(INVOKE, "application/json", b'{"columns": ["hour"], "data": [[7]]}'),
        Call(INVOKE, "text/csv", b'delay,hour,carrier\n1.5,7,"U""A"\n,8,x\n'),
        Call(INVOKE, "application/jsonlines", b"\n".join(json.dumps(row).encode() for row in rows)),
        Call(INVOKE, "application/x-npy", _npy(np.array([(1.5, 7, "UA"), (np.nan, 8, "x")], kind))),
        Call(INVOKE, "application/x-npz", _npz(hour=np.array([7, 8]), carrier=np.array(["UA", "x"]))),
        Call(
            INVOKE, "application/json", b'{"dataframe_split": {"columns": ["hour", "z"], "data": [[7, NaN]]}}'
        ),
        Call(INVOKE, "application/vnd.apache.arrow.stream", _arrow(table)),
        Call(INVOKE, "application/vnd.apache.arrow.stream", _arrow(coded)),
        Call(INVOKE, "application/vnd.apache.parquet", _parquet(table, data_page_version="2.0")),
        Call(INVOKE, "application/vnd.apache.parquet", _parquet(coded, compression="zstd")),
        Call(INFER, "application/json", json.dumps({"id": "i", "inputs": tensors[:1]}).encode()),
        Call(INFER, "application/octet-stream", head + texts, len(head)),
    ]


def anything() -> st.SearchStrategy[Call]:
    """Any bytes, of any type."""
    return st.builds(
        Call,
        st.sampled_from([INVOKE, INFER]),
        st.sampled_from(TYPES) | st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=20),
        st.binary(max_size=300),
        st.none() | st.integers(0, 400),
    )


def spoilt() -> st.SearchStrategy[Call]:
    """A valid call with some bytes changed, cut out or doubled."""
    return st.sampled_from(valid()).flatmap(_spoil)


def _spoil(call: Call) -> st.SearchStrategy[Call]:
    places = st.integers(0, len(call.body) - 1)
    change = st.tuples(places, st.sampled_from("=-+"), st.binary(min_size=1, max_size=4))
    return st.lists(change, min_size=1, max_size=4).map(lambda changes: _changed(call, changes))


def _changed(call: Call, changes: list[tuple[int, str, bytes]]) -> Call:
    body = bytearray(call.body)
    for place, act, new in changes:
        if act == "=":
            body[place : place + len(new)] = new
        elif act == "-":
            del body[place : place + len(new)]
        else:
            body[place:place] = new
    return Call(call.path, call.content_type, bytes(body), call.header)


def _npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def _arrow(table: pa.Table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _parquet(table: pa.Table, **options: str) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()
