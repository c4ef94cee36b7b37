"""How often which text occurs: exact up to a cap, beyond it the frequent ones and an estimate of how many.

A text longer than `LONG` characters is counted under its beginning and a hash, so that memory is bounded by
the cap alone. The number of distinct texts beyond the cap comes from a HyperLogLog sketch of 4,096 registers
(standard error 1.6 %).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

CAP = 10_000
"""Texts that are counted exactly, at most."""
FEW = 50
"""Distinct numbers of a numeric column that are counted as categories too, at most."""
LONG = 256
"""Characters of a text that are kept at most."""
_REGISTERS = 12
"""Binary logarithm of the HyperLogLog's size."""


@dataclass(frozen=True, slots=True)
class Categories:
    """Counts of texts; the most frequent ones when there are too many."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """By text, most frequent first, then by text. Past the cap each may be too low by up to `missed`."""
    total: int = 0
    """Values that were counted."""
    missed: int = 0
    """How often a text may have occurred beyond what `counts` says of it; 0 while exact."""
    sketch: bytes | None = None
    """The HyperLogLog past the cap; None below it, and when a file listed only the frequent ones."""
    cap: int = CAP

    @classmethod
    def of(cls, counts: Mapping[str, int], cap: int = CAP) -> Categories:
        """From how often each text occurs."""
        return _bounded(dict(counts), sum(counts.values()), 0, None, cap)

    @property
    def exact(self) -> bool:
        """Every text is listed with its true count."""
        return self.sketch is None and not self.missed

    @property
    def distinct(self) -> int:
        """How many different texts occurred: estimated past the cap, never less than the listed ones."""
        if self.sketch is None:
            return len(self.counts)
        return max(
            len(self.counts), round(float(_hyperloglog().hll_sketch.deserialize(self.sketch).get_estimate()))
        )

    @property
    def others(self) -> int:
        """Values that `counts` does not list."""
        return self.total - sum(self.counts.values())

    def merge(self, other: Categories) -> Categories:
        """Counts of both together, under the smaller cap; the order of the two does not matter."""
        counts = dict(self.counts)
        for text, count in other.counts.items():
            counts[text] = counts.get(text, 0) + count
        missed, cap = self.missed + other.missed, min(self.cap, other.cap)
        sketch = self.sketch or other.sketch
        if self.sketch and other.sketch:
            sketch = union(self.sketch, other.sketch)
        elif sketch:
            sketch = union(sketch, distinct_sketch((other if self.sketch else self).counts))
        return _bounded(counts, self.total + other.total, missed, sketch, cap)


def _bounded(counts: dict[str, int], total: int, missed: int, sketch: bytes | None, cap: int) -> Categories:
    """Categories with at most `cap` counts."""
    if len(counts) > cap:
        sketch = sketch or distinct_sketch(counts)
        least = sorted(counts.values(), reverse=True)[cap]
        counts = {text: count for text, count in counts.items() if count > least}
        missed += least
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return Categories(dict(ordered), total, missed, sketch, cap)


def distinct_sketch(texts: Iterable[str]) -> bytes:
    """A HyperLogLog of texts; their order does not matter."""
    library = _hyperloglog()
    sketch = library.hll_sketch(_REGISTERS, library.tgt_hll_type.HLL_8, True)
    deque(map(sketch.update, texts), maxlen=0)
    return _unordered(sketch, sketch)


def union(one: bytes, other: bytes) -> bytes:
    """A HyperLogLog of what went into either."""
    read = _hyperloglog().hll_sketch.deserialize
    return _unordered(read(one), read(other))


def _unordered(one: Any, other: Any) -> bytes:
    """Union of two; it forgets in which order values came, which a single sketch remembers."""
    library = _hyperloglog()
    both = library.hll_union(_REGISTERS)
    both.update(one)
    both.update(other)
    return bytes(both.get_result(library.tgt_hll_type.HLL_8).serialize_compact())


def _hyperloglog() -> Any:
    import datasketches  # type: ignore[import-untyped]  # it ships no types

    return datasketches


def short(text: str) -> str:
    """The text itself, or when it is long its beginning and a hash of it."""
    if len(text) <= LONG:
        return text
    return f"{text[: LONG - 18]}… {hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
