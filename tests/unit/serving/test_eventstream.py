"""Frames against the parser clients use, and against themselves."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
import zlib

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from serving import eventstream
from serving.eventstream import Decoder, Message, StreamDamaged


def botocore(data: bytes) -> list:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return list(buffer)


def test_a_part_is_what_clients_read() -> None:
    (event,) = botocore(eventstream.payload_part(b"\x00one\n"))
    assert event.headers == {
        ":message-type": "event",
        ":event-type": "PayloadPart",
        ":content-type": "application/octet-stream",
    }
    assert event.payload == b"\x00one\n"


def test_layout_byte_by_byte() -> None:
    """The frame of an independent description of the format: one header, one byte of payload."""
    frame = eventstream.encode(Message(((":a", "b"),), b"x"))
    assert frame[:8] == bytes((0, 0, 0, 24, 0, 0, 0, 7))
    assert frame[12:20] == b"\x02:a\x07\x00\x01bx"
    assert len(frame) == 24


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (TimeoutError(), "ModelStreamError", "ModelInvocationTimeExceeded"),
        (ConnectionResetError("gone"), "ModelStreamError", "StreamBroken"),
        (ValueError("x" * 5000), "ModelStreamError", "StreamBroken"),
        (eventstream.InternalFailure("our fault"), "InternalStreamFailure", None),
    ],
)
def test_errors_are_the_last_frame(error: Exception, kind: str, code: str | None, caplog) -> None:
    def parts():
        yield b"first"
        raise error

    with caplog.at_level(logging.CRITICAL, "serving"):
        first, last = botocore(b"".join(eventstream.frames(parts())))
    assert first.payload == b"first"
    assert last.headers[":message-type"] == "exception"
    assert last.headers[":exception-type"] == kind
    content = json.loads(last.payload)
    assert content.get("ErrorCode") == code
    assert 0 < len(content["Message"]) <= eventstream.MESSAGE_LIMIT
    assert last.to_response_dict()["status_code"] == 400


def test_frames_are_lazy() -> None:
    taken = []

    def parts():
        for number in range(3):
            taken.append(number)
            yield b"%d" % number

    framed = eventstream.frames(parts())
    assert botocore(next(framed))[0].payload == b"0"
    assert taken == [0]


def test_async_frames_are_the_same() -> None:
    async def parts():
        for part in (b"a", b"", b"c" * (eventstream.PART_LIMIT + 1)):
            yield part

    async def collect():
        return [frame async for frame in eventstream.frames_async(parts())]

    frames = asyncio.run(collect())
    assert frames == list(eventstream.frames([b"a", b"", b"c" * (eventstream.PART_LIMIT + 1)]))
    assert [len(message.payload) for message in eventstream.decode(b"".join(frames))] == [
        1,
        eventstream.PART_LIMIT,
        1,
    ]


names = st.text(min_size=1, max_size=20).filter(lambda text: 0 < len(text.encode()) < 256)
headers = st.lists(st.tuples(names, st.text(max_size=50)), max_size=5, unique_by=lambda pair: pair[0])
messages = st.builds(lambda pairs, data: Message(tuple(pairs), data), headers, st.binary(max_size=300))


@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_round_trip_in_any_pieces(sent: list[Message], sizes: list[int]) -> None:
    data = b"".join(eventstream.encode(message) for message in sent)
    decoder, found, place, turn = Decoder(), [], 0, 0
    while place < len(data):
        size = sizes[turn % len(sizes)]
        found += decoder.feed(data[place : place + size])
        place, turn = place + size, turn + 1
    assert found == sent
    assert decoder.waiting == 0
    assert [(tuple(event.headers.items()), event.payload) for event in botocore(data)] == [
        (message.headers, message.payload) for message in sent
    ]


@given(messages, st.data())
def test_damage_is_noticed(message: Message, data) -> None:
    frame = bytearray(eventstream.encode(message))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StreamDamaged):
        eventstream.decode(bytes(frame))


@given(messages, st.data())
def test_a_cut_is_noticed(message: Message, data) -> None:
    frame = eventstream.encode(message)
    with pytest.raises(StreamDamaged, match="cut off"):
        eventstream.decode(frame[: data.draw(st.integers(1, len(frame) - 1))])


@pytest.mark.parametrize(
    "message",
    [
        Message((("", "x"),)),
        Message((("n" * 256, "x"),)),
        Message((("n", "v" * 32768),)),
        Message((), bytes(25 << 20)),
    ],
    ids=("no name", "long name", "long value", "long payload"),
)
def test_what_does_not_fit_is_refused(message: Message) -> None:
    with pytest.raises(ValueError):
        eventstream.encode(message)


def test_headers_of_other_types_are_refused() -> None:
    frame = bytearray(eventstream.encode(Message((("n", "v"),))))
    frame[14] = 6
    assert frame[12:14] == b"\x01n"
    frame[-4:] = struct.pack(">I", zlib.crc32(frame[:-4]))
    with pytest.raises(StreamDamaged, match="type 6"):
        eventstream.decode(bytes(frame))
