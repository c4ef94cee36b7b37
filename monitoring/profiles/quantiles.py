"""A quantile sketch that is deterministic: equal numbers in equal order give equal bytes.

The structure is KLL's (Karnin, Lang, Liberty, 2016): items of level i stand for 2^i numbers each, and a level
that is too full is sorted and every second item goes one level up. Two things are ours. A batch is sorted as
a whole and thinned at once, to the middle of blocks of equal size, which is more exact than feeding items one
by one. And where KLL tosses a coin, a hash of level and count decides, because the package that holds a
baseline must be reproducible byte for byte; see docs/adr/0016-quantile-sketch.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitoring.profiles.selection import at_ranks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

K = 2048
"""Capacity of the highest level, as `sketch.parameters.k`."""
C = 0.64
"""How much smaller each level below is, as `sketch.parameters.c`."""
SIZE = 5760
"""Items that a sketch keeps at most: somewhat above k / (1 - c)."""
BATCH = 4096
"""Items that a batch too large to be kept is thinned to, at most."""
RISK = 0.01
"""Probability, at most, with which the rank of one value is off by more than `Quantiles.error`."""


@dataclass(frozen=True, slots=True, eq=False)
class Quantiles:
    """Where `n` finite numbers lie, within `error`; exact up to 5,760 of them."""

    compactors: tuple[NDArray[Any], ...] = ()
    """Ascending float64 items by level; one of level i stands for 2^i numbers."""
    minimum: float = math.inf
    """Exact."""
    maximum: float = -math.inf
    """Exact."""
    worst: float = 0.0
    """Numbers by which a rank can be off at most."""
    spread: float = 0.0
    """Sum of the squares of the single errors that ranks can have, each of either sign."""
    pending: tuple[int, ...] = ()
    """By level, which half the next compaction must keep: 1 or 2, or 0 when a coin shall say."""

    @classmethod
    def of(cls, values: ArrayLike) -> Quantiles:
        """Sketch of the finite ones among `values`."""
        import numpy as np

        given = np.asarray(values, dtype=np.float64).ravel()
        return cls.of_finite(given[np.isfinite(given)] + 0.0)  # + 0.0: one zero, so that equal is equal bytes

    @classmethod
    def of_finite(cls, values: NDArray[Any]) -> Quantiles:
        """As `of`, for float64 values that are known to be finite and without a negative zero."""
        import numpy as np

        n = int(values.size)
        if not n:
            return cls()
        low, high = float(values.min()), float(values.max())
        if n <= SIZE:
            return cls((np.sort(values),), low, high)
        level = max(0, (n // BATCH).bit_length() - 1)
        level += (n >> level) > BATCH
        half = (1 << level) / 2
        return cls(_thinned(values, level), low, high, half, half * half)

    @property
    def n(self) -> int:
        """Numbers that went in."""
        return sum(items.size << level for level, items in enumerate(self.compactors))

    @property
    def error(self) -> float:
        """Bound of a rank's error as a share of n, which any one value keeps with probability 99 %."""
        if not self.n:
            return 0.0
        return min(self.worst, math.sqrt(2 * math.log(2 / RISK) * self.spread)) / self.n

    def merge(self, other: Quantiles) -> Quantiles:
        """Sketch of both sets together; the order of the two does not matter."""
        return union((self, other))

    def points(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Items, ascending, and how many numbers lie at or below each; the last of these is n."""
        import numpy as np

        if not self.compactors:
            return np.empty(0), np.empty(0, dtype=np.int64)
        values = np.concatenate(self.compactors)
        weights = np.repeat(
            [1 << level for level in range(len(self.compactors))], [items.size for items in self.compactors]
        )
        order = np.argsort(values, kind="stable")
        return values[order], np.cumsum(weights[order])

    def cdf(self, x: ArrayLike) -> NDArray[Any]:
        """Share of the numbers at or below each x, from 0 to 1; NaN for an empty sketch."""
        import numpy as np

        asked = np.asarray(x, dtype=np.float64)
        values, below = self.points()
        if not values.size:
            return np.full(asked.shape, np.nan)
        ranks = np.concatenate([[0], below])[np.searchsorted(values, asked, side="right")] / below[-1]
        return np.asarray(np.where(asked >= self.maximum, 1.0, np.where(asked < self.minimum, 0.0, ranks)))

    def quantile(self, q: float) -> float:
        """The smallest item with at least a share `q` at or below it; NaN for an empty sketch.

        0 and 1 give the exact minimum and maximum.
        """
        import numpy as np

        if not self.compactors:
            return math.nan
        if q <= 0 or q >= 1:
            return self.minimum if q <= 0 else self.maximum
        values, below = self.points()
        return float(values[np.searchsorted(below, q * below[-1], side="left")])

    def buckets(self, lower: float, upper: float, count: int = 10) -> tuple[tuple[float, float, float], ...]:
        """Buckets of equal width as (lower bound, upper bound, numbers inside).

        Each holds its lower bound and not its upper one, but for the last, which holds both.
        """
        import numpy as np

        values, below = self.points()
        width = upper - lower
        if math.isfinite(width):
            edges = [lower + width / count * i for i in range(count)] + [upper]
        else:
            edges = [lower * (1 - i / count) + upper * (i / count) for i in range(count)] + [upper]
        if not values.size:
            return tuple((edges[i], edges[i + 1], 0.0) for i in range(count))
        before = np.concatenate([[0], below])
        ranks = before[np.searchsorted(values, edges[:-1], side="left")].tolist()
        ranks.append(int(before[np.searchsorted(values, upper, side="right")]))
        return tuple((edges[i], edges[i + 1], float(ranks[i + 1] - ranks[i])) for i in range(count))

    def levels(self) -> list[list[float]]:
        """Items by level, as `sketch.data` lists them."""
        return [items.tolist() for items in self.compactors]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Quantiles):
            return NotImplemented
        import numpy as np

        mine, theirs = self.compactors, other.compactors
        alike = self._state() == other._state() and len(mine) == len(theirs)
        return alike and all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))

    def __hash__(self) -> int:
        return hash(self._state())

    def _state(self) -> tuple[object, ...]:
        return self.n, self.minimum, self.maximum, self.worst, self.spread, self.pending


def union(sketches: Sequence[Quantiles]) -> Quantiles:
    """Sketch of all sets together, in any order; more exact than merging one after another."""
    import numpy as np

    filled = [sketch for sketch in sketches if sketch.compactors]
    if len(filled) < 2:
        return filled[0] if filled else Quantiles()
    deep = max(len(sketch.compactors) for sketch in filled)
    at = [[each.compactors[i] for each in filled if i < len(each.compactors)] for i in range(deep)]
    levels = [np.sort(np.concatenate(items), kind="stable") for items in at]
    pending = [_together([each.pending[i] for each in filled if i < len(each.pending)]) for i in range(deep)]
    worst, spread = _compact(levels, pending, sum(sketch.n for sketch in filled))
    return Quantiles(
        tuple(levels),
        min(sketch.minimum for sketch in filled),
        max(sketch.maximum for sketch in filled),
        math.fsum([worst, *(sketch.worst for sketch in filled)]),
        math.fsum([spread, *(sketch.spread for sketch in filled)]),
        tuple(pending) if any(pending) else (),
    )


def _together(pending: Sequence[int]) -> int:
    """What is due after a merge: opposite dues have cancelled each other."""
    balance = pending.count(1) - pending.count(2)
    return 0 if not balance else 1 if balance > 0 else 2


def _thinned(values: NDArray[Any], level: int) -> tuple[NDArray[Any], ...]:
    """Middles of blocks of 2^level neighbours in order, and of ever smaller blocks for the rest at the end.

    Every rank falls into one block only, so it is off by at most half of the largest block.
    """
    import numpy as np

    width = 1 << level
    whole = values.size >> level
    rest = [low for low in range(level - 1, -1, -1) if values.size >> low & 1]
    ends, at = [], whole * width
    for low in rest:
        ends.append(at + (1 << low) // 2)
        at += 1 << low
    items = at_ranks(values, np.concatenate([np.arange(whole) * width + width // 2, ends]).astype(np.int64))
    levels = [np.empty(0)] * level + [items[:whole]]
    for place, low in enumerate(rest, start=whole):
        levels[low] = items[place : place + 1]
    return tuple(levels)


def _compact(levels: list[NDArray[Any]], pending: list[int], n: int) -> tuple[float, float]:
    """Shrinks levels in place until all fit; how far a rank can be off by it, and the sum of squares.

    Each second compaction of a level keeps the half that the one before it threw away: what a rank gained
    by the one it tends to lose by the other, so that the two together are not off by more than one.
    """
    import numpy as np

    worst = spread = 0.0
    while sum(items.size for items in levels) > SIZE:
        height = len(levels) - 1
        low = next(i for i, items in enumerate(levels) if items.size > _capacity(height - i))
        if low == height:
            levels.append(np.empty(0))
            pending.append(0)
        items = levels[low]
        odd = items.size & 1
        worst += 1 << low
        if pending[low]:
            half, pending[low] = pending[low] - 1, 0
        else:
            half = _coin(low, n, items.size)
            pending[low] = 2 - half
            spread += float(1 << low) ** 2
        levels[low] = items[items.size - odd :].copy()
        risen = items[: items.size - odd][half::2]
        levels[low + 1] = np.sort(np.concatenate([levels[low + 1], risen]), kind="stable")  # of two runs
    return worst, spread


def _capacity(depth: int) -> int:
    """Items of a level `depth` levels below the highest."""
    return max(1, math.floor(K * C**depth))


def _coin(level: int, n: int, size: int) -> int:
    """0 or 1, as if by a coin (the finisher of splitmix64)."""
    mask = (1 << 64) - 1
    z = (n * 0x9E3779B97F4A7C15 + level * 0xD1B54A32D192ED03 + size) & mask
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    return (z ^ (z >> 31)) & 1


def restored(levels: Sequence[ArrayLike], minimum: float, maximum: float, off: float = 0.0) -> Quantiles:
    """A sketch from levels that somebody else wrote, in any order within a level.

    Args:
        levels: items by level; one of level i stands for 2^i numbers.
        minimum: the exact one, when it is known; else the smallest item.
        maximum: likewise.
        off: numbers by which its ranks may be off.
    """
    import numpy as np

    made = [np.sort(np.asarray(items, dtype=np.float64).ravel() + 0.0) for items in levels]
    while made and not made[-1].size:
        made.pop()
    return Quantiles(tuple(made), minimum, maximum, off, off * off) if made else Quantiles()
