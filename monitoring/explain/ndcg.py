"""NDCG of attributions: does live traffic rank the features as the baseline did?

Features are put in the order of their live attribution, and each counts with its baseline attribution,
discounted by the logarithm of its place:

    DCG = Σ_i a(f'_i) / log2(i + 1)      NDCG = DCG / (the same sum in the order of the baseline)

1 when the order is the same; SageMaker Clarify alarms below 0.90. It looks at the live *order* alone and is
near 1 whenever the baseline is flat, hence the further figures in `monitoring.explain.shares`.

Features that tie in live traffic have no order. Here they share the discount of the places they take, which
is what scikit-learn does and what makes the figure independent of the order of columns. `ties="order"` takes
them in the order of the live mapping instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Literal

Ties = Literal["average", "order"]


def ndcg(baseline: Mapping[str, float], live: Mapping[str, float], *, ties: Ties = "average") -> float | None:
    """NDCG of live attributions against the baseline's; None where the baseline relies on nothing at all.

    Only the size of an attribution counts, so that signed aggregates have a meaning too. A feature that one
    side lacks has attribution 0 there. None too when a number is not finite.
    """
    names = list(dict.fromkeys((*live, *baseline)))
    gains = {name: abs(baseline.get(name, 0.0)) for name in names}
    sizes = {name: abs(live.get(name, 0.0)) for name in names}
    if not all(map(math.isfinite, (*gains.values(), *sizes.values()))):
        return None
    best = sum(gain * discount(place) for place, gain in enumerate(sorted(gains.values(), reverse=True)))
    if best <= 0:
        return None
    order = sorted(names, key=lambda name: -sizes[name])
    if ties == "order":
        return sum(gains[name] * discount(place) for place, name in enumerate(order)) / best
    return _averaged(order, gains, sizes) / best


def discount(place: int) -> float:
    """What the feature in a place counts, the first place being 0."""
    return 1 / math.log2(place + 2)


def _averaged(order: list[str], gains: Mapping[str, float], sizes: Mapping[str, float]) -> float:
    total, place = 0.0, 0
    for _, group in groupby(order, key=lambda name: sizes[name]):
        tied = list(group)
        shared = sum(discount(place + more) for more in range(len(tied))) / len(tied)
        total += shared * sum(gains[name] for name in tied)
        place += len(tied)
    return total
