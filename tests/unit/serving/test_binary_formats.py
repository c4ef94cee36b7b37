from __future__ import annotations

import io
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import codecs
from serving.errors import BadBody, PayloadTooLarge, RequestRefused
from serving.manifest import Input
from serving.predictions import Predictions
from tests.fakes.model import MeanPredictor, manifest

MANIFEST = manifest()
NUMBERS = manifest(inputs=(Input("a", "double"), Input("b", "double")))
TABLE = pa.table({"hour": [7, 8], "carrier": ["UA", None], "delay": [1.5, None], "weather": ["x", "y"]})


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def stream(table: pa.Table, **options: str) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def test_npy_rows_by_columns() -> None:
    for array in (
        np.array([[1, 2], [3, 4]], np.int16),
        np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]),
        np.array([[1, 2], [3, 4]], ">f4"),
    ):
        columns = codecs.decode(npy(array), codecs.NPY, NUMBERS)
        assert {name: values.tolist() for name, values in columns.items()} == {
            "a": [[1], [3]],
            "b": [[2], [4]],
        }
        assert columns["a"].dtype == np.float32
    one = codecs.decode(npy(np.array([np.nan, 2.0])), codecs.NPY, NUMBERS)
    assert np.isnan(one["a"]).tolist() == [[True]]
    assert one["b"].tolist() == [[2.0]]


@pytest.mark.parametrize("text", ["U4", "S4"])
def test_npy_fields_are_columns(text: str) -> None:
    kind = [("carrier", text), ("other", "f8"), ("hour", "i4")]
    columns = codecs.decode(npy(np.array([("UA", 0, 7), ("", 0, 8)], kind)), codecs.NPY, MANIFEST)
    assert columns["hour"].tolist() == [[7], [8]]
    assert columns["carrier"].tolist() == [["UA"], [""]]
    assert np.isnan(columns["delay"]).all()


@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800])
@pytest.mark.parametrize("order", "<>")
def test_npy_text_that_is_none(code: int, order: str) -> None:
    array = np.array([(7, "UA"), (8, "zz")], [("hour", "f4"), ("carrier", f"{order}U2")])
    whole = npy(array)
    z = np.array([ord("z")], f"{order}u4").tobytes()
    spoilt = whole.replace(z * 2, z + np.array([code], f"{order}u4").tobytes())
    with pytest.raises(BadBody, match="Unicode") as caught:
        codecs.decode(spoilt, codecs.NPY, MANIFEST)
    assert (caught.value.field, caught.value.row) == ("carrier", 1)


def header(text: str) -> bytes:
    padded = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (npy(np.array([[1, None]], object)), "never loaded"),
        (npy(np.zeros((1, 3))), "3 columns, but 2 are needed"),
        (npy(np.zeros((1, 1, 2))), "3 dimensions"),
        (npy(np.zeros((0, 2))), "no rows"),
        (npy(np.array([["x", "y"]])), "must be numbers"),
        (npy(np.array([[1j, 2j]])), "must be numbers"),
        (npy(np.zeros((2, 2)))[:-1], "asks for 4 elements"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 2)}"), "elements"),
        (header("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000, 2)}"), "elements"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2)}"), "elements"),
        (header("(" * 100), "npy"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "npy"),
        (b"nonsense", "npy"),
    ],
)
def test_bad_npy(body: bytes, words: str) -> None:
    with pytest.raises(BadBody, match=words):
        codecs.decode(body, codecs.NPY, NUMBERS)


@pytest.mark.parametrize("media", [codecs.ARROW, codecs.PARQUET])
def test_tables_by_name(media: str) -> None:
    table = TABLE.set_column(1, "carrier", TABLE["carrier"].dictionary_encode())
    for sent in (TABLE, table, pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1, 1)])):
        body = stream(sent) if media == codecs.ARROW else parquet(sent, row_group_size=1)
        columns = codecs.decode(body, media, MANIFEST)
        assert columns["hour"].tolist() == [[7], [8]]
        assert columns["carrier"].tolist() == [["UA"], [""]]
        assert columns["delay"][0, 0] == 1.5
        assert np.isnan(columns["delay"][1, 0])


@pytest.mark.parametrize("media", [codecs.ARROW, codecs.PARQUET])
def test_tables_that_do_not_fit(media: str) -> None:
    write = stream if media == codecs.ARROW else parquet
    for table, field, row in (
        (pa.table({"carrier": ["x"]}), "hour", None),
        (pa.table({"hour": ["x"]}), "hour", None),
        (pa.table({"hour": [1], "carrier": [1]}), "carrier", None),
        (pa.table({"hour": [1, None]}), "hour", 1),
        (pa.table({"huor": [1]}), "huor", None),
        (pa.table({"hour": pa.array([], pa.int8())}), None, None),
    ):
        with pytest.raises(BadBody) as caught:
            codecs.decode(write(table), media, MANIFEST)
        assert (caught.value.field, caught.value.row) == (field, row)


def test_a_compressed_arrow_stream_is_refused() -> None:
    for table in (TABLE, pa.table({"hour": [1], "carrier": pa.array(["x"]).dictionary_encode()})):
        with pytest.raises(BadBody, match="compressed"):
            codecs.decode(stream(table, compression="zstd"), codecs.ARROW, MANIFEST)


@pytest.mark.parametrize(
    "media", [codecs.NPY, codecs.ARROW, codecs.PARQUET, codecs.JSON, codecs.LINES, codecs.CSV]
)
def test_few_bytes_do_not_unpack_to_many_values(media: str) -> None:
    rows = 100_000
    hours = np.zeros(rows, np.int8)
    table = pa.table({"hour": hours})
    body = {
        codecs.NPY: lambda: npy(hours.view([("hour", "i1")])),
        codecs.ARROW: lambda: stream(pa.table({"hour": hours, "delay": pa.nulls(rows)})),
        codecs.PARQUET: lambda: parquet(table, compression="zstd"),
        codecs.JSON: lambda: b"[" + b",".join([b"{}"] * rows) + b"]",
        codecs.LINES: lambda: b"{}\n" * rows,
        codecs.CSV: lambda: b"hour\n" + b"0\n" * rows,
    }[media]()
    with pytest.raises(PayloadTooLarge, match="fewer rows"):
        codecs.decode(body, media, MANIFEST, most=rows)


def test_a_parquet_file_is_measured_before_it_is_unpacked() -> None:
    bomb = parquet(pa.table({"hour": [7], "carrier": ["x" * 8_000_000]}), compression="zstd")
    assert len(bomb) < 10_000
    with pytest.raises(PayloadTooLarge, match="unpacks to too much"):
        codecs.decode(bomb, codecs.PARQUET, MANIFEST, most=100_000)
    shared = pa.table({"hour": [7, 7], "carrier": ["xy", "xz"]})
    body = parquet(
        shared, use_dictionary=False, column_encoding={"carrier": "DELTA_BYTE_ARRAY", "hour": "PLAIN"}
    )
    with pytest.raises(BadBody, match="DELTA_BYTE_ARRAY"):
        codecs.decode(body, codecs.PARQUET, MANIFEST)
    with pytest.raises(BadBody, match="nested"):
        codecs.decode(parquet(pa.table({"hour": [[7]]})), codecs.PARQUET, MANIFEST)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
def test_every_compression_of_parquet(version: str, codec: str) -> None:
    table = pa.table({"hour": np.arange(5000) % 24, "carrier": ["UA", "DL"] * 2500})
    body = parquet(table, compression=codec, data_page_version=version, data_page_size=1000)
    columns = codecs.decode(body, codecs.PARQUET, MANIFEST)
    assert columns["hour"][:, 0].tolist() == table["hour"].to_pylist()
    assert columns["carrier"][:, 0].tolist() == table["carrier"].to_pylist()


def test_answers_as_arrays() -> None:
    rows = codecs.decode(b"[[1, 2, null], [900, 900, null]]", codecs.JSON, MANIFEST)
    for task, kind in (
        ("binary", [("predicted_label", "<i8"), ("score", "<f4")]),
        ("multiclass", [("predicted_label", "<U1"), ("scores", "<f4", (3,))]),
        ("regression", "<f4"),
    ):
        model = MeanPredictor(task)
        found = model.predict(rows)
        array = np.load(io.BytesIO(codecs.encode(found, codecs.NPY, model.manifest)), allow_pickle=False)
        assert array.dtype == np.dtype(kind)
        table = pa.ipc.open_stream(codecs.encode(found, codecs.ARROW, model.manifest)).read_all()
        scores = table["scores" if task == "multiclass" else "score"].to_pylist()
        assert np.array(scores, np.float32).tolist() == found.scores.tolist()
        if found.labels is not None:
            assert tuple(table["predicted_label"].to_pylist()) == found.labels
            assert tuple(array["predicted_label"].tolist()) == found.labels


def test_labels_of_mixed_types_become_text() -> None:
    from dataclasses import replace

    mixed = replace(MANIFEST, classes=("no", 2**70))
    answer = codecs.encode(Predictions(np.array([0.5], np.float32), ("no",)), codecs.NPY, mixed)
    assert np.load(io.BytesIO(answer))["predicted_label"].tolist() == ["no"]


@pytest.mark.parametrize("media", [codecs.NPY, codecs.ARROW, codecs.PARQUET])
def test_cut_bodies_are_refused(media: str) -> None:
    whole = {
        codecs.NPY: npy(np.zeros((3, 2))),
        codecs.ARROW: stream(pa.table({"a": [1.0], "b": [2.0]})),
        codecs.PARQUET: parquet(pa.table({"a": [1.0], "b": [2.0]})),
    }[media]
    for length in range(0, len(whole) - 9, 7):
        with pytest.raises(RequestRefused):
            codecs.decode(whole[:length], media, NUMBERS)


def npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


@pytest.mark.parametrize(
    "arrays",
    [
        {"arr_0": np.array([[1, 2], [3, 4]])},
        {"a": np.array([[1, 2], [3, 4]], np.float32)},
        {"rows": np.array([(1, 2), (3, 4)], [("a", "f8"), ("b", "i4")])},
        {"b": np.array([2, 4], np.int8), "a": np.array([[1], [3]]), "z": np.zeros((3, 3))},
    ],
)
def test_npz_holds_one_array_or_one_for_each_input(arrays: dict[str, np.ndarray]) -> None:
    columns = codecs.decode(npz(**arrays), codecs.NPZ, NUMBERS)
    assert {name: values.tolist() for name, values in columns.items()} == {"a": [[1], [3]], "b": [[2], [4]]}
    assert codecs.answer_type("*/*", codecs.NPZ) == codecs.NPY


def test_npz_texts_and_inputs_left_out() -> None:
    body = npz(hour=np.array([7, 8]), carrier=np.array(["UA", "ü"]))
    columns = codecs.decode(body, codecs.NPZ, MANIFEST)
    assert columns["carrier"].tolist() == [["UA"], ["ü"]]
    assert np.isnan(columns["delay"]).all()


def test_npz_refusals() -> None:
    good = npz(a=np.zeros(2), b=np.zeros(2))
    for body, words in (
        (b"PK", "not an archive"),
        (good[:-30], "not an archive"),
        (good.replace(b"b.npy", b"a.npy"), "name of its own"),
        (npz(), "from 1 to"),
        (npz(a=np.zeros(2), b=np.zeros(3)), "'b' has 3 rows, but 'a' has 2"),
        (npz(a=np.zeros((2, 2)), b=np.zeros(2)), "has the shape"),
        (npz(a=np.zeros(2), bb=np.zeros(2), c=np.array([object()])), "Python objects"),
        (npz(arr_0=np.zeros((2, 3))), "3 columns"),
        (npz(c=np.zeros(2), d=np.zeros(2)), "'a' is missing"),
    ):
        with pytest.raises(BadBody, match=words):
            codecs.decode(
                body, codecs.NPZ, manifest(inputs=(Input("a", "double", required=True), Input("b", "double")))
            )
    with pytest.raises(PayloadTooLarge, match="unpacks to too much"):
        codecs.decode(npz(a=np.zeros(10_000)), codecs.NPZ, NUMBERS, 1000)


def test_npz_of_a_sparse_matrix_says_how_to_send_it() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    out = io.BytesIO()
    sparse.save_npz(out, sparse.eye(3).tocsr())
    with pytest.raises(BadBody, match="toarray"):
        codecs.decode(out.getvalue(), codecs.NPZ, NUMBERS)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_spoilt_npz_is_refused_or_read(changes: list[tuple[int, int]]) -> None:
    body = bytearray(npz(a=np.arange(2), b=np.arange(2)))
    for place, value in changes:
        body[place % len(body)] = value
    try:
        codecs.decode(bytes(body), codecs.NPZ, NUMBERS)
    except RequestRefused as error:
        assert error.status in (400, 413)
