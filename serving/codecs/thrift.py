"""Structs in Thrift's compact protocol, which Parquet writes its footer and its page headers in.

Read by ourselves because pyarrow ends the process when it meets some malformed ones.
"""

from __future__ import annotations

from typing import Any

Struct = dict[int, Any]
"""Values by field number: whole numbers, bytes, lists and structs; other kinds are skipped and None."""

_DEPTH = 16
_LONGEST = 10
"""Bytes of the longest whole number."""
_TRUE, _FALSE, _BYTE, _SHORT, _INT, _LONG, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


def read_struct(body: bytes, position: int) -> tuple[Struct, int]:
    """The struct that begins at `position`, and the position after it.

    Raises:
        ValueError: it is malformed or cut short.
    """
    try:
        return _struct(body, position, _DEPTH)
    except IndexError:
        raise ValueError("a struct is cut short") from None


def _struct(body: bytes, position: int, depth: int) -> tuple[Struct, int]:
    if depth == 0 or position < 0:
        raise ValueError("structs are nested too deeply")
    found: Struct = {}
    field = 0
    while head := body[position]:
        position += 1
        if head >> 4:
            field += head >> 4
        else:
            field, position = _number(body, position)
        kind = head & 15
        if kind in {_TRUE, _FALSE}:  # the value is the kind itself
            found[field] = None
        else:
            found[field], position = _value(body, position, kind, depth)
    return found, position + 1


def _value(body: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in {_SHORT, _INT, _LONG}:
        return _number(body, position)
    if kind == _STRUCT:
        return _struct(body, position, depth - 1)
    if kind == _BINARY:
        length, position = _varint(body, position)
        return body[position : position + length], position + length
    if kind in {_LIST, _SET}:
        return _list(body, position, depth - 1)
    if kind in {_TRUE, _FALSE, _BYTE}:
        return None, position + 1
    if kind == _DOUBLE:
        return None, position + 8
    raise ValueError("a field has a kind that Parquet does not use")


def _list(body: bytes, position: int, depth: int) -> tuple[list[Any], int]:
    if depth == 0:
        raise ValueError("lists are nested too deeply")
    head = body[position]
    size, position = head >> 4, position + 1
    if size == 15:
        size, position = _varint(body, position)
    if size > len(body):
        raise ValueError("a list is cut short")
    found = []
    for _ in range(size):
        value, position = _value(body, position, head & 15, depth)
        found.append(value)
    return found, position


def _number(body: bytes, position: int) -> tuple[int, int]:
    value, position = _varint(body, position)
    return (value >> 1) ^ -(value & 1), position


def _varint(body: bytes, position: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST):
        byte = body[position + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, position + place + 1
    raise ValueError("a number is too long")
