"""JSON as clients really send it: behind a byte order mark, and with the NaN that Python's `json` writes."""

from __future__ import annotations

import re
from typing import Any

import orjson

BOM = b"\xef\xbb\xbf"
"""UTF-8's byte order mark, which some editors and Windows tools write first."""

_WORDS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|-?Infinity|NaN', re.DOTALL)
"""A text, up to the end where it is not closed; or one of the words that are no JSON."""


def loads(body: bytes) -> Any:
    """The value of a JSON document; NaN is null, infinity the text "Infinity", which no number may be.

    Raises:
        orjson.JSONDecodeError: it is not valid.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        plain = body.removeprefix(BOM)
        if b"NaN" in plain or b"Infinity" in plain:
            plain = _WORDS.sub(_replaced, plain)
        if plain == body:
            raise
        return orjson.loads(plain)


def _replaced(found: re.Match[bytes]) -> bytes:
    word = found[0]
    if word[:1] == b'"':
        return word
    return b"null" if word == b"NaN" else b'"%b"' % word
