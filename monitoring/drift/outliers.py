"""Values that lie outside what the baseline holds for usual, counted from profiles alone.

Three rules, each a pair of bounds read off the baseline: its range; Tukey's fences, one and a half
interquartile ranges beyond the quartiles; and the robust z of Iglewicz and Hoaglin, 3.5 median absolute
deviations (scaled by 0.6745) from the median. The plain z of three standard deviations is left out: one
large outlier widens it until it hides itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitoring.drift.comparison import curve
from monitoring.drift.distribution import Distribution, weighted
from monitoring.profiles import Numeric, Profile

Rule = Literal["range", "tukey", "robust z"]
REACH = 1.5
"""Interquartile ranges from a quartile to Tukey's fence."""
SCALE = 0.6745
"""What makes the median absolute deviation of a normal distribution its standard deviation."""
FAR = 3.5
"""Robust z beyond which a value is an outlier."""


@dataclass(frozen=True, slots=True)
class Outliers:
    """The values of one column outside one rule's bounds."""

    name: str
    rule: Rule
    low: float
    high: float
    below: int
    """Values of the window under the lower bound."""
    above: int
    share: float
    """Of the window's values outside."""
    usual: float
    """Of the baseline's values outside: what is normal for this column."""
    smallest: float
    """The window's smallest value."""
    largest: float


def tukey(values: Distribution) -> tuple[float, float]:
    """Tukey's fences."""
    first, third = values.quantile((0.25, 0.75)).tolist()
    reach = REACH * (third - first)
    return first - reach, third + reach


def median_deviation(values: Distribution) -> tuple[float, float]:
    """Median, and median absolute deviation from it."""
    median = float(values.quantile(0.5))
    with np.errstate(over="ignore"):
        apart = np.abs(values.values - median)
    order = np.argsort(apart, kind="stable")
    return median, float(weighted(apart[order], np.cumsum(values.weights[order])).quantile(0.5))


def robust_bounds(values: Distribution) -> tuple[float, float] | None:
    """Where the robust z is 3.5; None when half the values are one and the same."""
    median, deviation = median_deviation(values)
    reach = FAR * deviation / SCALE
    return (median - reach, median + reach) if deviation else None


def outliers(baseline: Profile, window: Profile) -> tuple[Outliers, ...]:
    """By column and rule, wherever at least one value of the window lies outside."""
    found = []
    for name, column in baseline.columns.items():
        now = window.columns.get(name)
        if column.kind == "numeric" and column.numeric and now is not None and now.numeric:
            found += _of_column(name, column.numeric, now.numeric)
    return tuple(found)


def _of_column(name: str, then: Numeric, now: Numeric) -> list[Outliers]:
    before, after = curve(then), curve(now)
    if not before.n or not after.n:
        return []
    rules: dict[Rule, tuple[float, float] | None] = {
        "range": (then.moments.minimum, then.moments.maximum),
        "tukey": tukey(before),
        "robust z": robust_bounds(before),
    }
    found = []
    for rule, bounds in rules.items():
        if bounds is None:
            continue
        below, above = _outside(after, now, bounds)
        if below or above:
            usual = 0.0 if rule == "range" else sum(_outside(before, then, bounds)) / before.n
            found.append(
                Outliers(
                    name,
                    rule,
                    *bounds,
                    below,
                    above,
                    (below + above) / after.n,
                    usual,
                    now.moments.minimum,
                    now.moments.maximum,
                )
            )
    return found


def _outside(rows: Distribution, numeric: Numeric, bounds: tuple[float, float]) -> tuple[int, int]:
    """Values under and over the bounds; at least one where the exact minimum or maximum says so."""
    below = round(float(rows.below(bounds[0], strictly=True)))
    above = round(rows.n - float(rows.below(bounds[1])))
    return (
        max(below, int(numeric.moments.minimum < bounds[0])),
        max(above, int(numeric.moments.maximum > bounds[1])),
    )
