"""Frames of `application/vnd.amazon.eventstream`, the answer of `InvokeEndpointWithResponseStream`.

A frame is `total length, length of headers, CRC of both | headers | payload | CRC of all before`, numbers big
endian. The bytes of an answer travel as `PayloadPart` events. A failure after the first byte can no longer be
a status line: it travels as an exception frame, which clients raise in the middle of their loop.
"""

from __future__ import annotations

import json
import logging
import struct
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from serving.errors import Permanent, ServingError

CONTENT_TYPE = "application/vnd.amazon.eventstream"
"""Media type of a framed answer."""
PART_LIMIT = 256 * 1024
"""Longest payload of one part in bytes. A client sees nothing of a frame until it has all of it."""
MESSAGE_LIMIT = 2048
"""Longest message of an exception frame in characters."""
TIME_EXCEEDED, STREAM_BROKEN = "ModelInvocationTimeExceeded", "StreamBroken"
"""The two values of `ErrorCode` in a ModelStreamError."""

_HEADERS_LIMIT, _PAYLOAD_LIMIT = 128 * 1024, 24 * 1024 * 1024  # what clients accept
_PRELUDE, _NUMBER, _STRING = struct.Struct(">II"), struct.Struct(">I"), struct.Struct(">BH")
_AROUND = 16
"""Bytes of a frame that are neither header nor payload."""
_STRING_TYPE = 7

log = logging.getLogger("serving")


class StreamDamaged(Permanent):
    """The bytes are no event stream: a length or a checksum is wrong."""


class InternalFailure(ServingError):
    """Raise this from a stream of parts when we failed, not the model; the message goes to the client."""


@dataclass(frozen=True, slots=True)
class Message:
    """One frame, unpacked."""

    headers: tuple[tuple[str, str], ...]
    """Names and values; text is the only type the service uses."""
    payload: bytes = b""


# ---- writing ----------------------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """The frame's bytes.

    Raises:
        ValueError: a name, a value, the headers or the payload are longer than the format can say.
    """
    headers = b"".join(_header(name.encode(), value.encode()) for name, value in message.headers)
    if len(headers) > _HEADERS_LIMIT or len(message.payload) > _PAYLOAD_LIMIT:
        raise ValueError("the frame is too long; split its payload")
    prelude = _PRELUDE.pack(_AROUND + len(headers) + len(message.payload), len(headers))
    body = b"".join((prelude, _NUMBER.pack(zlib.crc32(prelude)), headers, message.payload))
    return body + _NUMBER.pack(zlib.crc32(body))


def payload_part(data: bytes) -> bytes:
    """The frame that carries these bytes of the answer; see `PART_LIMIT`."""
    return encode(Message(_PART_HEADERS, data))


def payload_parts(data: bytes) -> Iterator[bytes]:
    """The frames that carry these bytes of the answer, cut at `PART_LIMIT`; none for no bytes."""
    for start in range(0, len(data), PART_LIMIT):
        yield payload_part(data[start : start + PART_LIMIT])


def model_stream_error(message: str, code: str) -> bytes:
    """The frame that ends an answer because the model failed; `code` is TIME_EXCEEDED or STREAM_BROKEN."""
    return _exception("ModelStreamError", {"Message": message[:MESSAGE_LIMIT], "ErrorCode": code})


def internal_stream_failure(message: str) -> bytes:
    """The frame that ends an answer because we failed."""
    return _exception("InternalStreamFailure", {"Message": message[:MESSAGE_LIMIT]})


def failure(error: Exception) -> bytes:
    """The frame for an error that a stream of parts ended with.

    TimeoutError is the model's time limit, InternalFailure is ours, everything else is a broken stream.
    """
    text = str(error)
    if isinstance(error, InternalFailure):
        return internal_stream_failure(text or "the stream failed; try the request again")
    if isinstance(error, TimeoutError):
        text = text or "the model took longer than its time limit"
        return model_stream_error(text, TIME_EXCEEDED)
    return model_stream_error(text or f"the model's answer broke off: {type(error).__name__}", STREAM_BROKEN)


def frames(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The framed answer; an error of `parts` becomes its last frame and is logged, not raised."""
    try:
        for part in parts:
            yield from payload_parts(part)
    except Exception as error:  # noqa: BLE001 - whatever a model raises ends its stream
        _report(error)
        yield failure(error)


async def frames_async(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """As `frames`, for parts that come asynchronously."""
    try:
        async for part in parts:
            for frame in payload_parts(part):
                yield frame
    except Exception as error:  # noqa: BLE001 - whatever a model raises ends its stream
        _report(error)
        yield failure(error)


def _report(error: Exception) -> None:
    expected = isinstance(error, TimeoutError | ServingError)
    log.error("a streamed answer failed: %s", error, exc_info=None if expected else error)


def _header(name: bytes, value: bytes) -> bytes:
    if not 0 < len(name) < 1 << 8 or len(value) >= 1 << 15:
        raise ValueError(f"header {name[:40]!r} does not fit a frame; a name has 255 bytes, a value 32767")
    return b"".join((bytes((len(name),)), name, _STRING.pack(_STRING_TYPE, len(value)), value))


def _exception(kind: str, content: dict[str, str]) -> bytes:
    headers = (
        (":exception-type", kind),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    )
    return encode(Message(headers, json.dumps(content).encode()))


_PART_HEADERS = (
    (":event-type", "PayloadPart"),
    (":content-type", "application/octet-stream"),
    (":message-type", "event"),
)


# ---- reading ----------------------------------------------------------------------------------------------


class Decoder:
    """Finds the frames in bytes that arrive in pieces of any size."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def waiting(self) -> int:
        """Bytes of a frame that is not complete; not 0 at the end of a stream that was cut off."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The frames that these bytes complete.

        Raises:
            StreamDamaged: a length or a checksum is wrong.
        """
        self._held += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> Message | None:
        if len(self._held) < _PRELUDE.size + _NUMBER.size:
            return None
        total, headers = _PRELUDE.unpack_from(self._held)
        _check(self._held, _PRELUDE.size)
        payload = total - headers - _AROUND
        if headers > _HEADERS_LIMIT or not 0 <= payload <= _PAYLOAD_LIMIT:
            raise StreamDamaged("a frame says an impossible length; the stream is damaged")
        if len(self._held) < total:
            return None
        _check(self._held, total - _NUMBER.size)
        frame = bytes(self._held[:total])
        del self._held[:total]
        begin = _PRELUDE.size + _NUMBER.size
        found = _read_headers(frame[begin : begin + headers])
        return Message(found, frame[begin + headers : -_NUMBER.size])


def decode(data: bytes) -> list[Message]:
    """All frames of a complete stream.

    Raises:
        StreamDamaged: a length or a checksum is wrong, or the last frame is cut off.
    """
    decoder = Decoder()
    messages = list(decoder.feed(data))
    if decoder.waiting:
        raise StreamDamaged(
            f"the last frame is cut off after {decoder.waiting} bytes; ask for the answer again"
        )
    return messages


def _check(data: bytearray, length: int) -> None:
    """Compare the checksum that follows the first `length` bytes."""
    with memoryview(data) as view:
        found = zlib.crc32(view[:length])
    if _NUMBER.unpack_from(data, length)[0] != found:
        raise StreamDamaged("a checksum does not fit; the stream is damaged")


def _read_headers(data: bytes) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    place = 0
    try:
        while place < len(data):
            name, place = _take(data, place + 1, data[place])
            kind, length = _STRING.unpack_from(data, place)
            value, place = _take(data, place + _STRING.size, length)
            if kind != _STRING_TYPE:
                raise StreamDamaged(f"header {name} has type {kind}; only text is known")
            found.append((name, value))
    except (struct.error, UnicodeDecodeError, EOFError) as error:
        raise StreamDamaged("the headers of a frame cannot be read; the stream is damaged") from error
    return tuple(found)


def _take(data: bytes, start: int, length: int) -> tuple[str, int]:
    """Text of that length, and where it ends."""
    if start + length > len(data):
        raise EOFError
    return data[start : start + length].decode(), start + length
