"""How well scores order rows: areas and curves from counts of positive and negative rows at each score.

Counts may stand at every distinct score, then everything is exact; or in bins, then rows that share a bin
count as tied and the area under the ROC curve is off by at most `Ranked.bound`.

Sources: DeLong, DeLong and Clarke-Pearson (Biometrics 1988) for the variance of the area; Boyd, Eng and Page
(ECML 2013) for the interval of average precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality.metric import Metric, logistic_interval, wilson
from monitoring.quality.resample import Floats, Ints, deviation, subsamples

POINTS = 1000
"""Points of a curve that are published."""
_MANY = 20_000
"""Distinct scores from which on subsamples are drawn from bins."""
_LARGEST = 3e38
_DROPPED = 15
"""Bits of a 32-bit float's 23 that a bin forgets: a bin is at most 1/256 of its distance to 0 or 1 wide."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rows by score, ascending."""

    scores: Floats
    positive: Ints
    """Rows of the positive class with this score, or in this bin."""
    negative: Ints
    exact: bool = True
    """Every row of an entry has its very score."""

    @property
    def bound(self) -> float:
        """The area is within this of the one from the rows themselves."""
        pairs = float(self.positive.sum()) * float(self.negative.sum())
        if self.exact or not pairs:
            return 0.0
        return float(self.positive.astype(np.float64) @ self.negative) / (2 * pairs)


def ranked(scores: NDArray[Any], truth: NDArray[Any]) -> Ranked:
    """Count the rows at each distinct score; truth is 1 for the positive class, else 0."""
    order = np.argsort(scores)
    ordered, hits = scores[order].astype(np.float64), truth[order].astype(np.int64)
    if not len(ordered):
        return Ranked(ordered, hits, hits)
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    positive = np.add.reduceat(hits, starts)
    return Ranked(ordered[starts], positive, np.diff(np.r_[starts, len(ordered)]) - positive)


def binned(given: Ranked) -> Ranked:
    """The same rows in fixed bins, narrow near 0 and 1, so that hours share them; any real score has one."""
    if not given.exact or not len(given.scores):
        return Ranked(given.scores, given.positive, given.negative, exact=False)
    places = _place(given.scores)
    starts = np.flatnonzero(np.r_[True, places[1:] != places[:-1]])
    return Ranked(
        _score(places[starts]),
        np.add.reduceat(given.positive, starts),
        np.add.reduceat(given.negative, starts),
        exact=False,
    )


def merge(one: Ranked, other: Ranked) -> Ranked:
    """The rows of both. Two exact counts stay exact; else both are put into bins."""
    exact = one.exact and other.exact
    if not exact:
        one, other = binned(one), binned(other)
    scores, places = np.unique(np.r_[one.scores, other.scores], return_inverse=True)
    positive, negative = np.zeros(len(scores), np.int64), np.zeros(len(scores), np.int64)
    np.add.at(positive, places, np.r_[one.positive, other.positive])
    np.add.at(negative, places, np.r_[one.negative, other.negative])
    return Ranked(scores, positive, negative, exact)


def area(positive: NDArray[Any], negative: NDArray[Any]) -> Floats:
    """Area under the ROC curve of counts by ascending score (last axis): ties count half."""
    ups, downs = positive.astype(np.float64), negative.astype(np.float64)
    won = (ups * (np.cumsum(downs, -1) - downs / 2)).sum(-1)
    pairs = ups.sum(-1) * downs.sum(-1)
    return np.asarray(np.divide(won, pairs, out=np.full(np.shape(won), np.nan), where=pairs > 0))


def precise(positive: NDArray[Any], negative: NDArray[Any]) -> Floats:
    """Average precision of counts by ascending score (last axis), as scikit-learn defines it."""
    ups = positive[..., ::-1].astype(np.float64)
    hits, taken = np.cumsum(ups, -1), np.cumsum(ups + negative[..., ::-1], -1)
    share = np.divide(hits, taken, out=np.zeros(hits.shape), where=taken > 0)
    total = ups.sum(-1)
    return np.asarray(
        np.divide((ups * share).sum(-1), total, out=np.full(np.shape(total), np.nan), where=total > 0)
    )


def draws(given: Ranked, rng: np.random.Generator) -> Ints | None:
    """Subsamples of the rows: draw, positive or negative, score; many scores in bins, which says the same."""
    if len(given.scores) > _MANY:
        given = binned(given)
    return subsamples(np.stack([given.positive, given.negative]), rng)


def auc(given: Ranked, drawn: Ints | None) -> Metric:
    """Area under the ROC curve with DeLong's interval; not defined for one class."""
    ups, downs = int(given.positive.sum()), int(given.negative.sum())
    if not ups or not downs:
        return Metric(None)
    value = float(area(given.positive, given.negative))
    spread = None if drawn is None else deviation(area(drawn[:, 0], drawn[:, 1]))
    low, high = _auc_interval(given, value, ups, downs)
    return Metric(value, spread, max(0.0, low - given.bound), min(1.0, high + given.bound))


def average_precision(given: Ranked, drawn: Ints | None) -> Metric:
    """Average precision with the binomial interval in log-odds; not defined without a positive row."""
    ups = int(given.positive.sum())
    if not ups:
        return Metric(None)
    value = float(precise(given.positive, given.negative))
    spread = None if drawn is None else deviation(precise(drawn[:, 0], drawn[:, 1]))
    if not 0 < value < 1:
        return Metric(value, spread, *(wilson(value * ups, ups) or ()))
    return Metric(value, spread, *logistic_interval(value, math.sqrt(value * (1 - value) / ups)))


def roc(given: Ranked) -> dict[str, list[float]]:
    """`receiver_operating_characteristic_curve`, from the highest score down; empty for one class."""
    ups, downs = int(given.positive.sum()), int(given.negative.sum())
    if not ups or not downs:
        return {"false_positive_rates": [], "true_positive_rates": []}
    false = np.r_[0, np.cumsum(given.negative[::-1])] / downs
    true = np.r_[0, np.cumsum(given.positive[::-1])] / ups
    shown = _spread(false + true)
    return {"false_positive_rates": false[shown].tolist(), "true_positive_rates": true[shown].tolist()}


def precision_recall(given: Ranked) -> dict[str, list[float]]:
    """`precision_recall_curve`, from the lowest score up to the end at precision 1 and recall 0."""
    ups = int(given.positive.sum())
    if not ups:
        return {"precisions": [], "recalls": []}
    hits = np.cumsum(given.positive[::-1])
    precisions = np.r_[1.0, hits / np.cumsum((given.positive + given.negative)[::-1])]
    recalls = np.r_[0.0, hits / ups]
    shown = _spread(np.cumsum(np.r_[0.0, np.abs(np.diff(precisions)) + np.diff(recalls)]))[::-1]
    return {"precisions": precisions[shown].tolist(), "recalls": recalls[shown].tolist()}


def _auc_interval(given: Ranked, value: float, ups: int, downs: int) -> tuple[float, float]:
    if not 0 < value < 1 or min(ups, downs) < 2:
        few = min(ups, downs)
        return wilson(value * few, few) or (0.0, 1.0)
    below = np.cumsum(given.negative) - given.negative / 2
    above = ups - np.cumsum(given.positive) + given.positive / 2
    of_positive = given.positive @ (below / downs - value) ** 2 / (ups - 1)
    of_negative = given.negative @ (above / ups - value) ** 2 / (downs - 1)
    return logistic_interval(value, math.sqrt(of_positive / ups + of_negative / downs))


def _spread(length: Floats) -> NDArray[np.intp]:
    """Indices of at most `POINTS` points, evenly along the curve, both ends among them."""
    if len(length) <= POINTS:
        return np.arange(len(length))
    wanted = np.linspace(length[0], length[-1], POINTS)
    picked = np.searchsorted(length, wanted).clip(max=len(length) - 1)
    return np.unique(np.r_[0, picked, len(length) - 1])


def _place(scores: Floats) -> Ints:
    """Number of the bin, ascending: the leading bits of the distance to 0, or from one half on to 1."""
    half = int(_leading(np.array([0.5]))[0])
    return np.asarray(np.where(scores <= 0.5, _leading(scores), 2 * half + 1 - _leading(1 - scores)))


def _score(places: Ints) -> Floats:
    """A score inside each bin: its end towards 0 or 1."""
    half = int(_leading(np.array([0.5]))[0])
    low, high = _value(places), 1 - _value(2 * half + 1 - places)
    return np.asarray(np.where(places <= half, low, high))


def _leading(values: Floats) -> Ints:
    bits = np.clip(values, -_LARGEST, _LARGEST).astype(np.float32).view(np.int32).astype(np.int64)
    size = (bits & 0x7FFFFFFF) >> _DROPPED
    return np.where(bits < 0, -size, size)


def _value(leading: Ints) -> Floats:
    size = (np.abs(leading) << _DROPPED).astype(np.int32).view(np.float32).astype(np.float64)
    return np.asarray(np.where(leading < 0, -size, size))
