"""A profile as bytes: a magic word, a JSON head, numbers as little-endian float64, and a checksum.

Nothing is compressed, because libraries of different age compress differently, and equal profiles must give
equal bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from monitoring.profiles.categories import Categories
from monitoring.profiles.columns import ColumnProfile, Numeric
from monitoring.profiles.errors import ProfileUnreadable
from monitoring.profiles.moments import Moments
from monitoring.profiles.quantiles import Quantiles
from monitoring.profiles.typecounts import TypeCounts

_MAGIC = b"SEAWAYPROFILE"
VERSION = 1
_START = struct.Struct("<13sBQ")
"""Magic word, version, bytes of the head."""
_DIGEST = 16
_SINGLE = 9
"""Numbers that stand before the items of a sketch."""


def encode(rows: int, columns: Sequence[ColumnProfile]) -> bytes:
    """The bytes of a profile."""
    numbers: list[bytes] = []
    head = {"rows": rows, "columns": [_head(column, numbers) for column in columns]}
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    content = _START.pack(_MAGIC, VERSION, len(text)) + text + b"".join(numbers)
    return content + _digest(content)


def decode(content: bytes) -> tuple[int, tuple[ColumnProfile, ...]]:
    """Rows and columns of a profile.

    Raises:
        ProfileUnreadable: the bytes are no profile, are damaged, or of a version that this one cannot read.
    """
    if len(content) < _START.size + _DIGEST or not content.startswith(_MAGIC):
        raise ProfileUnreadable("these bytes are not a profile; make one from the rows again")
    _, version, length = _START.unpack_from(content)
    if version != VERSION:
        raise ProfileUnreadable(
            f"the profile has version {version} and this release reads {VERSION}; make it from the rows again"
        )
    if _digest(content[:-_DIGEST]) != content[-_DIGEST:]:
        raise ProfileUnreadable("the profile is damaged or cut short; make it from the rows again")
    try:
        head = json.loads(content[_START.size : _START.size + length].decode("utf-8", "surrogatepass"))
        numbers = _Numbers(content[_START.size + length : -_DIGEST])
        return int(head["rows"]), tuple(_column(item, numbers) for item in head["columns"])
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        told = f"the profile cannot be read ({error}); make it from the rows again"
        raise ProfileUnreadable(told) from error


class _Numbers:
    """The numbers of a profile, taken one run after another."""

    def __init__(self, content: bytes) -> None:
        import numpy as np

        self._left = np.frombuffer(content, dtype="<f8").astype(np.float64)
        self._at = 0

    def take(self, count: int) -> Any:
        """The next `count` numbers, as an array."""
        self._at += count
        if count < 0 or self._at > self._left.size:
            raise ValueError("numbers are missing")
        return self._left[self._at - count : self._at].copy()


def _head(column: ColumnProfile, numbers: list[bytes]) -> dict[str, Any]:
    types = column.types
    head: dict[str, Any] = {
        "name": column.name,
        "present": column.present,
        "missing": column.missing,
        "types": [types.integral, types.fractional, types.boolean, types.string],
    }
    if column.numeric is not None:
        head["numeric"] = _numeric_head(column.numeric, numbers)
    if column.categories is not None:
        head["categories"] = _categories_head(column.categories)
    return head


def _numeric_head(numeric: Numeric, numbers: list[bytes]) -> dict[str, Any]:
    moments, sketch = numeric.moments, numeric.quantiles
    of_moments = (moments.mean, moments.m2, moments.minimum, moments.maximum, moments.rest)
    of_sketch = (sketch.minimum, sketch.maximum, sketch.worst, sketch.spread)
    numbers.append(struct.pack(f"<{_SINGLE}d", *of_moments, *of_sketch))
    numbers.extend(items.astype("<f8").tobytes() for items in sketch.compactors)
    levels = [int(items.size) for items in sketch.compactors]
    pending = list(sketch.pending)
    return {"n": moments.n, "infinite": numeric.infinite, "levels": levels, "pending": pending}


def _categories_head(categories: Categories) -> dict[str, Any]:
    sketch = categories.sketch
    return {
        "counts": dict(categories.counts),
        "total": categories.total,
        "missed": categories.missed,
        "cap": categories.cap,
        "sketch": None if sketch is None else base64.b64encode(sketch).decode(),
    }


def _column(item: Mapping[str, Any], numbers: _Numbers) -> ColumnProfile:
    numeric, categories = item.get("numeric"), item.get("categories")
    return ColumnProfile(
        name=item["name"],
        present=item["present"],
        missing=item["missing"],
        types=TypeCounts(*item["types"]),
        numeric=None if numeric is None else _numeric(numeric, numbers),
        categories=None if categories is None else _categories(categories),
    )


def _numeric(item: Mapping[str, Any], numbers: _Numbers) -> Numeric:
    mean, m2, minimum, maximum, rest, low, high, worst, spread = numbers.take(_SINGLE).tolist()
    levels = tuple(numbers.take(count) for count in item["levels"])
    return Numeric(
        Moments(item["n"], mean, m2, minimum, maximum, rest),
        Quantiles(levels, low, high, worst, spread, tuple(item["pending"])),
        item["infinite"],
    )


def _categories(item: Mapping[str, Any]) -> Categories:
    sketch = item["sketch"]
    return Categories(
        item["counts"],
        item["total"],
        item["missed"],
        None if sketch is None else base64.b64decode(sketch, validate=True),
        item["cap"],
    )


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()
