"""Distances between two samples: of numbers, of categories, of shares.

Formulas and defaults are those of Amazon Deequ, on which Model Monitor stands, and of the peers where Model
Monitor has none. Two of Deequ's errors are not copied: equal numbers keep their full weight, and bounds do
not start from 32-bit integers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from monitoring.drift.distribution import Floats

ROBUST = 1.8
"""Deequ's constant: c of `correction`, a test at about alpha 0.003."""
FLOOR = 0.0001
"""What Evidently puts in place of a share of zero in PSI and KL divergence."""

Counts = Mapping[str, float]


def linf_categorical(a: Counts, b: Counts) -> float:
    """Largest difference of a category's shares; a category that one side lacks has share 0 there."""
    n, m = sum(a.values()), sum(b.values())
    if not n or not m:
        return math.nan
    return max(abs(a.get(k, 0) / n - b.get(k, 0) / m) for k in {*a, *b})


def correction(n: float, m: float, alpha: float | None = None) -> float:
    """What two samples of one distribution may differ by chance: `c sqrt((n + m) / (n m))`.

    Args:
        n: rows of one sample, more than 0.
        m: rows of the other.
        alpha: gives `c = sqrt(-ln(alpha / 2) / 2)`; None is Deequ's constant 1.8.
    """
    c = ROBUST if alpha is None else math.sqrt(-math.log(alpha / 2) / 2)
    return c * math.sqrt((n + m) / (n * m))


def robust(distance: float, n: float, m: float, alpha: float | None = None) -> float:
    """The part of a distance that chance does not explain (Model Monitor's `Robust`)."""
    return max(0.0, distance - correction(n, m, alpha))


def chi_squared(
    sample: Counts, expected: Counts, *, yates: float = 5, share: float = 0.2, cochran: float = 10
) -> tuple[float, float]:
    """Deequ's goodness of fit of a sample to expected counts: (statistic, p-value).

    While too many expected counts are small, the smallest category joins the second smallest: with two
    categories none may be below `cochran`, with more at most a `share` of them below `yates`. Categories
    that only the sample has do not count. (NaN, NaN) when fewer than two categories remain.
    """
    from scipy.special import chdtrc

    seen = sum(count for key, count in sample.items() if key in expected)
    total = sum(expected.values())
    if not total:
        return math.nan, math.nan
    wanted = {key: count / total * seen for key, count in expected.items()}
    found = {key: float(count) for key, count in sample.items()}
    _regroup(wanted, found, yates, share, cochran)
    if len(wanted) < 2 or not sum(wanted.values()):
        return math.nan, math.nan
    o = np.array([found.get(key, 0.0) for key in wanted])
    e = np.array(list(wanted.values()))
    e *= o.sum() / e.sum()
    statistic = float(((o - e) ** 2 / e).sum())
    return statistic, float(chdtrc(len(wanted) - 1, statistic))


def _regroup(
    wanted: dict[str, float], found: dict[str, float], yates: float, share: float, cochran: float
) -> None:
    while len(wanted) >= 2:
        limit, allowed = (cochran, 0) if len(wanted) == 2 else (yates, int(share * len(wanted)))
        if sum(value < limit for value in wanted.values()) <= allowed:
            return
        smallest = min(wanted, key=lambda key: wanted[key])
        moved, seen = wanted.pop(smallest), found.pop(smallest, 0.0)
        second = min(wanted, key=lambda key: wanted[key])
        wanted[second] += moved
        found[second] = found.get(second, 0.0) + seen


def homogeneity(a: Counts, b: Counts, *, least: float = 0.0) -> tuple[float, float]:
    """Pearson's test that two samples of categories have one distribution: (statistic, p-value).

    Both samples count as random, as they are; a goodness-of-fit test takes the baseline for the truth and
    rejects too often.

    Args:
        a: one sample.
        b: the other.
        least: categories whose expected count is smaller on either side are taken together.
    """
    from scipy.special import chdtrc

    table = _table(a, b, least)
    if table.shape[1] < 2:
        return math.nan, math.nan
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, float(chdtrc(table.shape[1] - 1, statistic))


def _table(a: Counts, b: Counts, least: float) -> Floats:
    keys = sorted(key for key in {*a, *b} if a.get(key, 0) + b.get(key, 0) > 0)
    table = np.array([[side.get(key, 0) for key in keys] for side in (a, b)], dtype=float)
    if not keys or not table.sum(axis=1).all():
        return np.zeros((2, 0))
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    order = np.argsort(expected.min(axis=0), kind="stable")
    rare = int((expected.min(axis=0) < least).sum())
    while 0 < rare < len(keys) and expected[:, order[:rare]].sum(axis=1).min() < least:
        rare += 1
    if rare < 2:
        return table
    joined = table[:, order[:rare]].sum(axis=1, keepdims=True)
    return np.hstack((joined, table[:, order[rare:]]))


def aligned(a: Counts, b: Counts) -> tuple[Floats, Floats]:
    """Shares of both samples over the union of their categories, in the order of their names."""
    keys = sorted({*a, *b})
    left, right = (shares([side.get(key, 0) for key in keys]) for side in (a, b))
    return left, right


def shares(counts: ArrayLike) -> Floats:
    """Counts as shares of their sum; all NaN when it is 0."""
    flat = np.asarray(counts, dtype=float)
    total = flat.sum()
    return flat / total if total else np.full(flat.shape, math.nan)


def psi(actual: ArrayLike, expected: ArrayLike, floor: float | None = None) -> float:
    """Population stability index, `sum (a - e) ln(a / e)`.

    Args:
        actual: shares of the window.
        expected: shares of the baseline.
        floor: put in place of a share of 0; None leaves it, and the index is infinite when one side has none.
    """
    a, e = _floored(actual, floor), _floored(expected, floor)
    both = (a > 0) | (e > 0)
    with np.errstate(divide="ignore"):
        return float(((a - e)[both] * (np.log(a[both]) - np.log(e[both]))).sum())


def kl(p: ArrayLike, q: ArrayLike, floor: float | None = None) -> float:
    """Kullback-Leibler divergence of q from p in nats; infinite where q lacks what p has."""
    a, b = _floored(p, floor), _floored(q, floor)
    has = a > 0
    with np.errstate(divide="ignore"):
        return float((a[has] * (np.log(a[has]) - np.log(b[has]))).sum())


def _floored(values: ArrayLike, floor: float | None) -> Floats:
    flat = np.asarray(values, dtype=float)
    return flat if floor is None else np.where(flat == 0, floor, flat)


def js_divergence(p: ArrayLike, q: ArrayLike, base: float = math.e) -> float:
    """Jensen-Shannon divergence; at most 1 in base 2, ln 2 in nats."""
    a, b = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    middle = (a + b) / 2
    return max(0.0, (kl(a, middle) + kl(b, middle)) / 2 / math.log(base))


def js_distance(p: ArrayLike, q: ArrayLike, base: float = math.e) -> float:
    """Square root of the divergence: a metric. Evidently takes base e, NannyML base 2."""
    return math.sqrt(js_divergence(p, q, base))


def hellinger(p: ArrayLike, q: ArrayLike) -> float:
    """Hellinger distance, from 0 to 1."""
    a, b = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    return float(np.sqrt(((np.sqrt(a) - np.sqrt(b)) ** 2).sum() / 2))


def tvd(p: ArrayLike, q: ArrayLike) -> float:
    """Total variation distance, half the sum of absolute differences, from 0 to 1."""
    return float(np.abs(np.asarray(p, dtype=float) - np.asarray(q, dtype=float)).sum() / 2)
