from __future__ import annotations

import io
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.transform import records
from steps.transform.errors import ObjectFailed, RecordTooLarge

LINES = st.lists(
    st.binary(max_size=12).map(lambda one: one.replace(b"\n", b"").replace(b"\r", b"")), max_size=40
)
FRAMES = st.lists(st.binary(max_size=20), max_size=20)


def made(content: bytes, split: str, limit: int, *, single: bool = False) -> list[records.Payload]:
    return list(records.payloads(io.BytesIO(content), split, limit, single=single))


@given(LINES, st.integers(12, 60), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_lines_are_packed_whole_in_order_and_full(
    lines: list[bytes], limit: int, end: bytes, ended: bool
) -> None:
    content = end.join(lines) + (end if ended and lines else b"")
    expected = content.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n") if content else []
    found = made(content, "Line", limit)
    assert [line for one in found for line in one.body.split(b"\n")] == expected
    assert all(len(one.body) <= limit for one in found)
    assert [one.first for one in found] == [1 + sum(p.count for p in found[:n]) for n in range(len(found))]
    if end == b"\n":
        for one, after in pairwise(found):
            assert len(one.body) + 1 + len(after.body.split(b"\n")[0]) > limit


@given(LINES)
def test_single_lines(lines: list[bytes]) -> None:
    content = b"".join(line + b"\n" for line in lines)
    for limit in (0, 12):
        found = made(content, "Line", limit, single=True)
        assert [one.body for one in found] == lines
        assert [one.count for one in found] == [1] * len(lines)


@pytest.mark.parametrize("single", [True, False])
def test_a_line_may_fill_a_payload_and_no_more(single: bool) -> None:
    for end in (b"", b"\n", b"\r\n", b"\r\nx"):
        assert made(b"a" * 10 + end, "Line", 10, single=single)[0].body == b"a" * 10
    with pytest.raises(RecordTooLarge, match="record 2 .*MaxPayloadInMB"):
        made(b"b\n" + b"a" * 11, "Line", 10, single=single)
    with pytest.raises(RecordTooLarge, match="record 2"):
        made(b"b\n" + b"a" * 11 + b"\nc\n", "Line", 10, single=single)


def test_whole_objects() -> None:
    assert made(b"abc", "None", 3) == [records.Payload(1, 1, b"abc")]
    assert made(b"abc", "None", 0) == [records.Payload(1, 1, b"abc")]
    assert made(b"", "None", 3) == []
    with pytest.raises(RecordTooLarge, match="SplitType"):
        made(b"abcd", "None", 3)


def recordio(data: bytes, flag: int = 0) -> bytes:
    return struct.pack("<II", 0xCED7230A, flag << 29 | len(data)) + data + b"\0" * (-len(data) % 4)


def tfrecord(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    checks = [struct.pack("<I", records.masked_crc32c(part)) for part in (length, data)]
    return length + checks[0] + data + checks[1]


@given(FRAMES, st.sampled_from(["RecordIO", "TFRecord"]), st.integers(40, 120), st.booleans())
def test_framed_records_keep_their_frames(data: list[bytes], split: str, limit: int, single: bool) -> None:
    frames = [(recordio if split == "RecordIO" else tfrecord)(one) for one in data]
    found = made(b"".join(frames), split, limit, single=single)
    assert b"".join(one.body for one in found) == b"".join(frames)
    assert sum(one.count for one in found) == len(frames)
    assert all(len(one.body) <= limit for one in found)
    if single:
        assert [one.body for one in found] == frames


def test_a_record_in_several_frames_is_one() -> None:
    spread = recordio(b"abc", 1) + recordio(b"d", 2) + recordio(b"ef", 3)
    assert [one.body for one in made(spread + recordio(b"g"), "RecordIO", 99, single=True)] == [
        spread,
        recordio(b"g"),
    ]


def test_checksums_are_those_of_tensorflow() -> None:
    crc = 0xE3069283  # CRC-32C of "123456789", from RFC 3720's polynomial
    assert records.masked_crc32c(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("split", ["RecordIO", "TFRecord"])
@pytest.mark.parametrize("cut", [3, 11, 17])
def test_broken_frames_are_named(split: str, cut: int) -> None:
    frame = recordio if split == "RecordIO" else tfrecord
    good = frame(b"0123456789")
    with pytest.raises(ObjectFailed, match=f"record 2 is not {split}"):
        made(good + good[:cut], split, 0, single=True)
    with pytest.raises(ObjectFailed, match="record 1"):
        made(b"1,2,3,4,5,6\n" * 3, split, 0, single=True)
    with pytest.raises(RecordTooLarge, match="record 1"):
        made(frame(b"a" * 40), split, 40)


def test_a_frame_out_of_turn_is_refused() -> None:
    for frames in ([1], [2], [3], [1, 0], [1, 1, 3]):
        with pytest.raises(ObjectFailed):
            made(b"".join(recordio(b"a", flag) for flag in frames), "RecordIO", 0, single=True)
