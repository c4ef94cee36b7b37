"""How long labels take, from those that came and those that have not come yet.

Rows that still wait say that their label takes at least as long as they have waited. Leaving them out makes
labels look faster than they are; the Kaplan-Meier estimator counts them for as long as they were watched.

Source: Kaplan and Meier (JASA 1958), Greenwood's variance on the log-log scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.quality.metric import Z

POINTS = 200
"""Points of the curve that are kept."""


@dataclass(frozen=True, slots=True)
class Point:
    """Labels some time after the prediction."""

    seconds: float
    arrived: float
    """Share of all rows whose label is there by then."""
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """The delay of labels."""

    rows: int
    labelled: int
    points: tuple[Point, ...]
    """The estimated distribution, ascending."""
    median: float | None
    """Seconds by which half of all labels are there; None while that is not known."""
    p90: float | None
    outstanding: float
    """Share of the rows that have no label now."""
    never: float
    """Share without a label after the longest time that could be watched, as estimated."""
    expected: float
    """Share of the outstanding rows whose label is still to come within that time."""

    def by(self, seconds: float) -> float:
        """Share of the labels that are there this long after the prediction."""
        return max((point.arrived for point in self.points if point.seconds <= seconds), default=0.0)


def arrival(delays: NDArray[np.float64], waiting: NDArray[np.float64]) -> Arrival | None:
    """The distribution of delays; None without any row.

    Args:
        delays: seconds from prediction to label; a negative one (clocks differ) counts as 0.
        waiting: seconds that each row without a label has waited so far.
    """
    delays, waiting = np.sort(np.maximum(delays, 0.0)), np.sort(np.maximum(waiting, 0.0))
    rows = len(delays) + len(waiting)
    if not rows:
        return None
    times, events = np.unique(delays, return_counts=True)
    at_risk = rows - np.searchsorted(delays, times) - np.searchsorted(waiting, times)
    left = np.cumprod(1 - events / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.cumsum(events / (at_risk * (at_risk - events).astype(np.float64))))
        apart = np.exp(Z * error / np.log(left))
        low, high = 1 - left**apart, 1 - left ** (1 / apart)
    points = [
        Point(float(times[k]), 1 - float(left[k]), *_ordered(low[k], high[k], 1 - float(left[k])))
        for k in _kept(1 - left)
    ]
    return Arrival(
        rows,
        len(delays),
        tuple(points),
        _quantile(times, left, 0.5),
        _quantile(times, left, 0.1),
        len(waiting) / rows,
        float(left[-1]) if len(left) else 1.0,
        _expected(times, left, waiting),
    )


def _expected(times: NDArray[np.float64], left: NDArray[np.float64], waiting: NDArray[np.float64]) -> float:
    """Mean over waiting rows of the chance that the label comes, given that it has not come yet."""
    if not len(waiting) or not len(times):
        return 0.0
    still = np.r_[1.0, left][np.searchsorted(times, waiting, side="right")]
    come = np.divide(still - left[-1], still, out=np.zeros(len(still)), where=still > 0)
    return float(come.mean())


def _quantile(times: NDArray[np.float64], left: NDArray[np.float64], share: float) -> float | None:
    reached = np.flatnonzero(left <= share + 1e-12)
    return float(times[reached[0]]) if len(reached) else None


def _kept(arrived: NDArray[np.float64]) -> NDArray[np.intp]:
    if len(arrived) <= POINTS:
        return np.arange(len(arrived))
    picked = np.searchsorted(arrived, np.linspace(arrived[0], arrived[-1], POINTS)).clip(max=len(arrived) - 1)
    return np.unique(np.r_[0, picked, len(arrived) - 1])


def _ordered(low: float, high: float, value: float) -> tuple[float, float]:
    found = sorted(float(one) if math.isfinite(one) else value for one in (low, high))
    return found[0], found[1]
