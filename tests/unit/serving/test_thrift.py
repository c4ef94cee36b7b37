from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.codecs.thrift import read_struct


def test_a_real_footer() -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]}), out, row_group_size=2)
    body = out.getvalue()
    footer, end = read_struct(body, len(body) - 8 - int.from_bytes(body[-8:-4], "little"))
    assert end == len(body) - 8
    assert footer[3] == 3  # rows
    groups = footer[4]
    assert [group[3] for group in groups] == [2, 1]
    assert [column[3][3] for column in groups[0][1]] == [[b"a"], [b"b"]]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "cut short"),
        (b"\x15", "cut short"),
        (b"\x15" + b"\xff" * 20, "too long"),
        (b"\x1c" * 40, "nested"),
        (b"\x19" + b"\x19" * 40, "nested"),
        (b"\x19\xf5\xff\xff\xff\xff\x0f", "list is cut short"),
        (b"\x1b\x00", "kind"),
        (b"\x18\x7f", "cut short"),
    ],
)
def test_malformed(body: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_struct(body, 0)


@given(st.binary(max_size=200))
def test_any_bytes_end(body: bytes) -> None:
    try:
        _, end = read_struct(body, 0)
    except ValueError:
        return
    assert end <= len(body)
