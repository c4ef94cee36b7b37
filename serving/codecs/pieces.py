"""Large JSON bodies, some hundred rows at a time, so that other threads get their turn in between.

A body is cut where a row seems to end. Each piece must be a valid list by itself: a cut inside a text or a
row leaves one that is not, and then the body is read as a whole, as anything out of the ordinary is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from serving.codecs import lenient
from serving.codecs.columns import joined
from serving.codecs.layout import Block, Columns, Layout
from serving.errors import BadBody

PIECE = 128 * 1024
"""Bytes read at a time, and a row more."""
MANY = 4096
"""Predictions written at a time."""

_BEGIN = re.compile(
    rb'\s*(?:\{\s*"(?:instances|inputs|dataframe_records)"\s*:\s*'
    rb'|\{\s*"columns"\s*:\s*(?P<names>\[[^\[\]]*\])\s*,\s*"data"\s*:\s*'
    rb"|(?P<bare>))\[\s*(?=(?P<row>[\[{]))"
)
_BETWEEN = {b"{": re.compile(rb"\}\s*(,)\s*(?=\{)"), b"[": re.compile(rb"\]\s*(,)\s*(?=\[)")}
_BRACED, _BARE = re.compile(rb"\s*\]\s*\}\s*\Z"), re.compile(rb"\s*\]\s*\Z")
_TAIL = 256
"""Bytes in which the end is looked for."""

Read = Callable[[list[Any], list[str] | None, Layout], Columns]
"""Makes columns of rows; the texts are the names of the columns where they stand apart."""


class _Unusual(Exception):
    """The body must be looked at as a whole."""


def decode(body: bytes, layout: Layout, most: int, read: Read) -> Columns | None:
    """Columns of a body of rows; None when it must be read as a whole, to understand it or to refuse it."""
    begin = _BEGIN.match(body)
    if begin is None:
        return None
    try:
        names = _names(begin["names"])
        end = _end(body, braced=begin["bare"] is None)
        parts, count = list[Block](), 0
        for piece in _pieces(body, begin.end(), end, _BETWEEN[begin["row"]]):
            rows = lenient.loads(b"[%b]" % piece)
            count += len(rows)
            if not rows or count * len(layout.inputs) > most:
                return None
            parts.append(_block(rows, begin["row"], names, layout, read))
    except (_Unusual, BadBody, orjson.JSONDecodeError):
        return None
    return joined(parts, layout)


def _block(rows: list[Any], first: bytes, names: list[str] | None, layout: Layout, read: Read) -> Block:
    if type(rows[0]) is not (dict if first == b"{" else list) or (names is not None and first != b"["):
        raise _Unusual
    made = read(rows, names, layout)
    if not isinstance(made, Block):
        raise _Unusual
    return made


def _names(text: bytes | None) -> list[str] | None:
    if text is None:
        return None
    names = orjson.loads(text)
    if not all(type(name) is str for name in names):
        raise _Unusual
    return list(names)


def _end(body: bytes, *, braced: bool) -> int:
    """Where the last row has ended."""
    tail = body[-_TAIL:]
    found = (_BRACED if braced else _BARE).search(tail)
    if found is None:
        raise _Unusual
    return len(body) - len(tail) + found.start()


def _pieces(body: bytes, start: int, end: int, between: re.Pattern[bytes]) -> Iterator[bytes]:
    """Rows with commas between them."""
    while end - start > PIECE:
        cut = between.search(body, start + PIECE, min(start + 2 * PIECE, end))
        if cut is None:
            break
        yield body[start : cut.start(1)]
        start = cut.end(1)
    if end - start > 4 * PIECE:
        raise _Unusual
    yield body[start:end]


def encode(answers: list[dict[str, Any]], key: str) -> bytes:
    """A JSON object with one list, as `orjson` writes it as a whole."""
    parts = (
        orjson.dumps(answers[start : start + MANY], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        for start in range(0, len(answers), MANY)
    )
    return b"{%b:[%b]}" % (orjson.dumps(key), b",".join(parts))
