"""What NDCG does not see: how much of the explanation each feature has, and how that moved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitoring.drift.distances import js_divergence

UNUSED = 0.001
"""Largest share of a feature that the model does not rely on."""
USED = 0.01
"""Smallest share of a feature that the model does rely on."""

LEAST_ROWS = 100
"""Rows below which nobody can tell whether a share moved by chance."""


@dataclass(frozen=True, slots=True)
class Movement:
    """Baseline and live shares, compared."""

    l1: float
    """Sum of absolute differences, from 0 to 2."""
    js: float
    """Jensen-Shannon divergence in bits, from 0 to 1."""
    spearman: float | None
    """Rank correlation, from -1 to 1; None where one side ranks nothing."""
    new: tuple[str, ...]
    """Features that the baseline did not rely on and live traffic does."""
    vanished: tuple[str, ...]
    """The other way round."""


def moved(baseline: Mapping[str, float], live: Mapping[str, float]) -> Movement | None:
    """Compare two sets of attributions by their shares; None where one of them is all zero or not finite.

    Only sizes count. A feature that one side lacks has share 0 there.
    """
    names = list(dict.fromkeys((*baseline, *live)))
    then, now = normalised(baseline, names), normalised(live, names)
    if then is None or now is None:
        return None
    pairs = list(zip(names, then, now, strict=True))
    return Movement(
        l1=sum(abs(b - a) for a, b in zip(then, now, strict=True)),
        js=js_divergence(then, now, base=2),
        spearman=spearman(then, now),
        new=tuple(name for name, a, b in pairs if a <= UNUSED and b >= USED),
        vanished=tuple(name for name, a, b in pairs if a >= USED and b <= UNUSED),
    )


def normalised(values: Mapping[str, float], names: Sequence[str]) -> list[float] | None:
    """Shares in the order of names; None where there is nothing to share."""
    sizes = [abs(values.get(name, 0.0)) for name in names]
    total = sum(sizes)
    if not math.isfinite(total) or total <= 0:
        return None
    return [size / total for size in sizes]


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties with their mean rank; None where one side is constant."""
    left, right = ranks(a), ranks(b)
    left, right = left - left.mean(), right - right.mean()
    scale = math.sqrt(float(left @ left) * float(right @ right))
    return float(left @ right) / scale if scale > 0 else None


def ranks(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Ranks from 1 for the largest; equal values share their mean rank."""
    _, which, counts = np.unique(-np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[which], dtype=np.float64)


def shift_p_value(shift: float, errors: tuple[float, float], rows: tuple[int, int]) -> float | None:
    """Two-sided p-value of a share's shift being chance, by Welch's test.

    None where an error is not known, or a side has fewer than `LEAST_ROWS` rows: shares of so few rows are
    too skewed to say.

    Args:
        shift: live share minus baseline share.
        errors: standard errors of the two shares.
        rows: rows behind them.
    """
    from scipy import stats

    spread = math.hypot(*errors)
    if min(rows) < LEAST_ROWS or not math.isfinite(spread) or spread <= 0:
        return None
    freedom = spread**4 / sum(error**4 / (n - 1) for error, n in zip(errors, rows, strict=True))
    return float(2 * stats.t.sf(abs(shift) / spread, freedom))
