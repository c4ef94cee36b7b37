"""The footer and the page headers of a Parquet file, read before anything is unpacked: what will it take?"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from typing import Any

from serving.codecs.thrift import Struct, read_struct
from serving.errors import BadBody, PayloadTooLarge

LARGEST_FOOTER = 1024 * 1024
_MAGIC, _TAIL = b"PAR1", 8
_PREFIX_SHARING = 7
"""Encoding whose values repeat those before them: it alone can unpack to far more than its page."""


def check_pages(body: bytes, names: Collection[str], most: int) -> None:
    """Refuse a file whose pages of the named columns unpack to more than `most` bytes, or cannot be read.

    Raises:
        BadBody: a header is malformed, or uses an encoding that is not taken.
        PayloadTooLarge: the pages claim too much.
    """
    prefixes = tuple(f"{name}." for name in names)
    left = most
    for path, chunk in _chunks(body):
        if path in names or path.startswith(prefixes):
            left -= _claimed(body, chunk, left)


def _chunks(body: bytes) -> Iterator[tuple[str, Struct]]:
    """Path and description of every column chunk, as the footer has them."""
    if len(body) < len(_MAGIC) + _TAIL or not body.endswith(_MAGIC):
        raise BadBody("the body is not a Parquet file: it does not end like one")
    (length,) = struct.unpack_from("<I", body, len(body) - _TAIL)
    if length > min(LARGEST_FOOTER, len(body) - _TAIL):
        raise BadBody("the Parquet file has a footer that is too long; write fewer row groups")
    footer, _ = _read(body, len(body) - _TAIL - length)
    for group in _list(footer.get(4)):
        for column in _list(group.get(1)):
            chunk = column.get(3)
            if not isinstance(chunk, dict):
                raise BadBody("the Parquet file keeps columns in other files; send one that has them all")
            path = chunk.get(3)
            if not isinstance(path, list) or not all(isinstance(name, bytes) for name in path):
                raise BadBody("the Parquet file has a footer that cannot be read")
            yield b".".join(path).decode(errors="replace"), chunk


def _claimed(body: bytes, chunk: Struct, most: int) -> int:
    """Bytes that the pages of one column chunk say they unpack to."""
    wanted, position = _size(chunk.get(5)), _size(chunk.get(9))
    dictionary = chunk.get(11)
    if isinstance(dictionary, int) and 0 < dictionary < position:
        position = dictionary
    total = values = 0
    while values < wanted:
        header, position = _read(body, position)
        second = header.get(8)  # a data page of version 2
        data = second or header.get(5) or {}
        if not isinstance(data, dict):
            raise BadBody("the Parquet file has a page header that cannot be read")
        if data.get(4 if second else 2) == _PREFIX_SHARING:
            raise BadBody("the Parquet file uses the encoding DELTA_BYTE_ARRAY; write it with another")
        total += _size(header.get(2))
        if total > most:
            raise PayloadTooLarge("the Parquet file unpacks to too much; send fewer rows at a time")
        values += _size(data.get(1, 0))
        position += _size(header.get(3))
    return total


def _read(body: bytes, position: int) -> tuple[Struct, int]:
    try:
        return read_struct(body, position)
    except ValueError as error:
        raise BadBody(f"the Parquet file has a header that cannot be read: {error}") from None


def _list(value: Any) -> list[Struct]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadBody("the Parquet file has a footer that cannot be read")
    return value


def _size(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise BadBody("the Parquet file has a header without sizes")
    return value
