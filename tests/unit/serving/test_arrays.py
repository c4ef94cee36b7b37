from __future__ import annotations

import io
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from serving.errors import BadBody, ModelFailed, NotAcceptable, UnsupportedContentType
from serving.handlers import arrays


def npy(value: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    out = io.BytesIO()
    np.save(out, value, allow_pickle=allow_pickle)
    return out.getvalue()


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"[1, 2]", "application/json", [[1, 2]]),
        (b"3", "", [[3]]),
        (b'{"instances": [[1], [null]]}', "application/json; charset=utf-8", [[1], [np.nan]]),
        (b"1,2\n3,\n", "text/csv", [[1, 2], [3, np.nan]]),
        (b"5.1,3.5", "Text/CSV; charset=utf-8", [[5.1, 3.5]]),
        (b"7", "text/csv", [[7]]),
        (b"[[1, NaN]]", "application/json", [[1, np.nan]]),
        (b"\xef\xbb\xbf[[1]]", "application/json", [[1]]),
    ],
)
def test_text_becomes_rows_of_float32(body: bytes, kind: str, expected: list[list[float]]) -> None:
    found = arrays.decode(body, kind)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.array(expected, dtype=np.float32))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b"[[1], [1, 2]]", "application/json"),
        (b'[{"a": 1}]', "application/json"),
        (b"[[1], [Infinity]]", "application/json"),
        (b"[1e300]", "application/json"),
        (b"a,b\n1,2", "text/csv"),
        (b"1,2\n1", "text/csv"),
        (b"", "text/csv"),
        (b"\xff", "text/csv"),
        (b"\x93NUMPY", "application/x-npy"),
        (npy(np.zeros(4))[:-1], "application/x-npy"),
    ],
)
def test_what_is_no_table_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(BadBody):
        arrays.decode(body, kind)


def test_npy_never_unpickles() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return pytest.fail, ("it ran",)

    for body in (npy(np.array([Bomb()], dtype=object), allow_pickle=True), pickle.dumps(Bomb())):
        with pytest.raises(BadBody):
            arrays.decode(body, "application/x-npy")


def test_npy_header_cannot_ask_for_memory() -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"
    with pytest.raises(BadBody):
        arrays.decode(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header, "application/x-npy")


@given(
    arrays_of.arrays(
        st.sampled_from([np.float64, np.int32]),
        arrays_of.array_shapes(min_dims=2, max_dims=3),
        elements=st.integers(-9, 9),
    )
)
def test_npy_round_trip(value: np.ndarray) -> None:
    for order in (value, np.asfortranarray(value)):
        np.testing.assert_array_equal(arrays.decode(arrays.encode(order, arrays.NPY), arrays.NPY), value)


def test_npz_holds_one_array() -> None:
    one, two = io.BytesIO(), io.BytesIO()
    np.savez(one, np.arange(4).reshape(2, 2))
    np.savez(two, a=np.zeros(1), b=np.zeros(1))
    np.testing.assert_array_equal(arrays.decode(one.getvalue(), arrays.NPZ), [[0, 1], [2, 3]])
    with pytest.raises(BadBody, match="2 arrays"):
        arrays.decode(two.getvalue(), arrays.NPZ)


def test_infinity_is_refused_with_its_row() -> None:
    with pytest.raises(BadBody, match="row 1 holds a number that is too large") as caught:
        arrays.decode(b"[[1], [-Infinity]]", arrays.JSON)
    assert caught.value.row == 1


def test_other_formats_are_named() -> None:
    with pytest.raises(UnsupportedContentType, match="image/png"):
        arrays.decode(b"", "image/png")
    with pytest.raises(NotAcceptable, match="image/png"):
        arrays.choose("image/png, image/gif")
    assert arrays.choose("image/png, text/csv;q=0.5, application/json") == arrays.CSV


def test_predictions_are_written() -> None:
    labels = np.array(["a", "b"])
    assert arrays.encode(labels, arrays.JSON) == b'["a","b"]'
    assert arrays.encode({"p": np.float32(0.5)}, arrays.JSON) == b'{"p":0.5}'
    assert arrays.encode(np.array([[1.0, np.nan], [2.0, np.nan]])[:, 1], arrays.JSON) == b"[null,null]"
    assert arrays.encode({1: 2}, arrays.JSON) == b'{"1":2}'
    assert arrays.encode([10**20], arrays.JSON) == b"[100000000000000000000]"
    assert arrays.encode({"p": pd.Series([1.5])}, arrays.JSON) == b'{"p":[1.5]}'
    assert arrays.encode(np.array([0.1, 2.5], np.float32), arrays.CSV) == b"0.1\n2.5\n"
    assert arrays.encode(labels, arrays.CSV) == b"a\nb\n"
    assert arrays.encode([[1, 2], [3, 4]], arrays.CSV) == b"1,2\n3,4\n"
    with pytest.raises(ModelFailed, match="pickle"):
        arrays.encode(np.array([object()]), arrays.NPY)
    with pytest.raises(ModelFailed, match="output_fn"):
        arrays.encode(np.array([object()]), arrays.JSON)
