"""An object's bytes to records, and records to payloads, without ever holding more than one payload.

A line is a record without its line end. Records of RecordIO and TFRecord keep their framing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import IO

from steps.transform.errors import ObjectFailed, RecordTooLarge

_BLOCK = 1 << 20
_RECORDIO_MAGIC = 0xCED7230A
_WHOLE, _BEGIN, _END = 0, 1, 3
"""Flags of RecordIO frames; what lies between begin and end is 2."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What one call of the model takes."""

    first: int
    """Number of its first record in the object, from 1."""
    count: int
    body: bytes
    """Lines are joined by line ends; frames stand one after the other."""

    @property
    def place(self) -> str:
        """For messages: which records these are."""
        last = self.first + self.count - 1
        return f"record {self.first}" if self.count == 1 else f"records {self.first} to {last}"


def payloads(stream: IO[bytes], split: str, limit: int, *, single: bool) -> Iterator[Payload]:
    """Payloads of an object, in order.

    Args:
        stream: the object.
        split: None, Line, RecordIO or TFRecord.
        limit: most bytes of a payload; 0 is unlimited, and only for single records or a split of None.
        single: one record in each payload.

    Raises:
        RecordTooLarge: a record, or with None the object, is above the limit.
        ObjectFailed: the framing is broken.
    """
    if split == "None":
        return _whole(stream, limit)
    if split == "Line":
        return _single(lines(stream, limit)) if single else _line_blocks(stream, limit)
    found = FRAMES[split](stream, limit)
    return _single(found) if single else _packed(found, limit)


def lines(stream: IO[bytes], limit: int = 0) -> Iterator[bytes]:
    """Lines without their ends.

    Raises:
        RecordTooLarge: a line has more bytes than the limit, if there is one.
    """
    number = 0
    while line := stream.readline(limit + 2 if limit else -1):
        number += 1
        record = line.removesuffix(b"\n").removesuffix(b"\r")
        if limit and len(record) > limit:
            raise too_large(number, limit)
        yield record


def too_large(number: int, limit: int) -> RecordTooLarge:
    """The error for a record over the limit."""
    return RecordTooLarge(
        f"record {number} is longer than a payload may be ({limit / (1 << 20):g} MiB); raise MaxPayloadInMB"
    )


def _whole(stream: IO[bytes], limit: int) -> Iterator[Payload]:
    body = stream.read(limit + 1) if limit else stream.read()
    if limit and len(body) > limit:
        raise RecordTooLarge(
            f"the object is longer than a payload may be ({limit / (1 << 20):g} MiB); "
            "set SplitType, raise MaxPayloadInMB, or set it to 0"
        )
    if body:
        yield Payload(1, 1, body)


def _line_blocks(stream: IO[bytes], limit: int) -> Iterator[Payload]:
    """As many lines as fit; found by looking for the last line end, not line by line."""
    first, buffer, more = 1, b"", True
    while True:
        while more and len(buffer) <= limit + 1:
            piece = stream.read(_BLOCK)
            more, buffer = bool(piece), buffer + piece
        if not buffer:
            return
        if not more and len(buffer.removesuffix(b"\n").removesuffix(b"\r")) <= limit:
            cut = len(buffer.removesuffix(b"\n"))
        elif (cut := buffer.rfind(b"\n", 0, limit + 1)) < 0:
            cut = limit + 1 if buffer[limit : limit + 2] == b"\r\n" else -1
        if cut < 0:
            raise too_large(first, limit)
        body, buffer = buffer[:cut], buffer[cut + 1 :]
        if b"\r" in body:
            body = body.replace(b"\r\n", b"\n").removesuffix(b"\r")
        count = body.count(b"\n") + 1
        yield Payload(first, count, body)
        first += count


def _single(records: Iterable[bytes]) -> Iterator[Payload]:
    return (Payload(number, 1, record) for number, record in enumerate(records, start=1))


def _packed(records: Iterable[bytes], limit: int) -> Iterator[Payload]:
    first, held, size = 1, list[bytes](), 0
    for record in records:
        if held and size + len(record) > limit:
            yield Payload(first, len(held), b"".join(held))
            first, held, size = first + len(held), [], 0
        held.append(record)
        size += len(record)
    if held:
        yield Payload(first, len(held), b"".join(held))


# --- framed records -------------------------------------------------------------------------------------


def recordio(stream: IO[bytes], limit: int = 0) -> Iterator[bytes]:
    """Records of MXNet's RecordIO, framing and padding included; one may be spread over several frames."""
    parts: list[bytes] = []
    number = 1
    while head := stream.read(8):
        if len(head) < 8:
            raise _broken("RecordIO", number)
        magic, word = struct.unpack("<II", head)
        flag, length = word >> 29, word & 0x1FFFFFFF
        opens = flag in {_WHOLE, _BEGIN}
        if magic != _RECORDIO_MAGIC or flag > _END or opens == bool(parts):
            raise _broken("RecordIO", number)
        padded = length + -length % 4
        if limit and sum(map(len, parts)) + 8 + padded > limit:
            raise too_large(number, limit)
        parts.append(head + _exactly(stream, padded, "RecordIO", number))
        if flag in {_WHOLE, _END}:
            yield b"".join(parts)
            parts, number = [], number + 1
    if parts:
        raise _broken("RecordIO", number)


def tfrecord(stream: IO[bytes], limit: int = 0) -> Iterator[bytes]:
    """Records of TensorFlow's TFRecord, framing included; the checksum of each length is verified."""
    number = 1
    while head := stream.read(12):
        if len(head) < 12 or struct.unpack("<I", head[8:])[0] != masked_crc32c(head[:8]):
            raise _broken("TFRecord", number)
        length = struct.unpack("<Q", head[:8])[0]
        if limit and length + 16 > limit:
            raise too_large(number, limit)
        yield head + _exactly(stream, length + 4, "TFRecord", number)
        number += 1


FRAMES: dict[str, Callable[[IO[bytes], int], Iterator[bytes]]] = {"RecordIO": recordio, "TFRecord": tfrecord}
"""Readers of framed records, by SplitType."""


def masked_crc32c(data: bytes) -> int:
    """The checksum that TFRecord stores: CRC-32C, rotated and shifted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _table()[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    values = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        values.append(value)
    return tuple(values)


def _exactly(stream: IO[bytes], length: int, framing: str, number: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise _broken(framing, number)
    return data


def _broken(framing: str, number: int) -> ObjectFailed:
    return ObjectFailed(f"record {number} is not {framing}; check SplitType and CompressionType")
