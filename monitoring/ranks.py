"""Bounds for a quantile from the values themselves, whatever their distribution.

Of n independent values the number below the quantile q of share p is Bin(n, p). So the l-th smallest lies
above q with probability P(Bin(n, p) <= l - 1) and the u-th smallest below it with at most
P(Bin(n, p) >= u); the largest l and the smallest u that keep both within half the risk bound q.
Few values have no such rank: of 100 no value bounds their 99th percentile from above.

Source: David and Nagaraja, "Order Statistics" (2003), section 7.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_WIDE = 12
"""Standard deviations around the mean beyond which the binomial has no mass that counts."""


def ranks(count: int, share: float, risk: float) -> tuple[int | None, int | None]:
    """Ranks, from 1, of the values that bound the quantile; None where no value does.

    Args:
        count: of the values.
        share: of the quantile, between 0 and 1.
        risk: probability, at most, that the quantile lies outside.
    """
    mean, spread = count * share, math.sqrt(count * share * (1 - share))
    first = max(0, math.floor(mean - _WIDE * spread - 25))
    last = min(count, math.ceil(mean + _WIDE * spread + 25))
    low = high = None
    below = 0.0
    for k in range(first, last + 1):
        below += _mass(count, k, share)
        if below <= risk / 2:
            low = k + 1
        if below >= 1 - risk / 2:
            high = k + 1
            break
    return low, high if high is not None and high <= count else None


def bounds(ascending: Sequence[float], share: float, risk: float) -> tuple[float | None, float | None]:
    """The values that bound the quantile; None where none does.

    Args:
        ascending: the values, sorted.
        share: as of `ranks`.
        risk: as of `ranks`.
    """
    low, high = ranks(len(ascending), share, risk)
    return (
        None if low is None else float(ascending[low - 1]),
        None if high is None else float(ascending[high - 1]),
    )


def _mass(count: int, k: int, share: float) -> float:
    """P(Bin(count, share) = k)."""
    choose = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
    return math.exp(choose + k * math.log(share) + (count - k) * math.log1p(-share))
