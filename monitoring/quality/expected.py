"""Quality of a classifier without labels: what its own calibrated probabilities let expect (CBPE).

A row with the probability p of the positive class that was called positive is a true positive with
probability p and a false one with 1 - p; so the expected confusion matrix is a sum of probabilities, and
every metric follows from it. Valid while the relation between inputs and outcome is the one of the reference:
a changed world (concept drift) is not seen.

The band is three standard errors wide to both sides, of the figure that as many labelled rows would show:
rows are drawn again and their labels drawn by their probabilities.

Source: NannyML's confidence-based performance estimation; results of its functions are among the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality import confusion, ranking, resample
from monitoring.quality.resample import Floats

DRAWS = 200
WIDTH = 3.0
"""Standard errors to each side."""
_BINS = 500
"""Groups of rows with similar probability that draws are made from."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric without labels."""

    value: float
    low: float
    high: float
    standard_error: float


def binary(shares: NDArray[Any], predicted: NDArray[Any], *, seed: int) -> dict[str, Estimate]:
    """Expected metrics of two classes.

    Args:
        shares: calibrated probability of the positive class, without NaN.
        predicted: 1 where the model says the positive class, else 0.
        seed: of the draws behind the band.
    """
    if not len(shares):
        return {}
    ascending = np.sort(shares)
    values = _figures(_table(shares, predicted), *_ordered(ascending))
    edges = np.unique(ascending[np.arange(1, _BINS) * len(shares) // _BINS])
    drawn = _drawn(shares, predicted, edges, np.random.default_rng(seed))
    return _banded(values, drawn)


def multiclass(shares: NDArray[Any], predicted: NDArray[Any], *, seed: int) -> dict[str, Estimate]:
    """Expected accuracy and weighted metrics of several classes.

    Args:
        shares: calibrated probabilities, one column a class.
        predicted: index of the predicted class.
        seed: of the draws behind the band.
    """
    if not len(shares):
        return {}
    count = shares.shape[1]
    table = np.zeros((count, count))
    np.add.at(table.T, predicted, shares)
    drawn = resample.bootstrap(table, confusion.weighted, np.random.default_rng(seed), most=DRAWS)
    return _banded(confusion.weighted(table), drawn)


def banded(value: float, error: float) -> Estimate:
    """An estimate of something that is not negative."""
    return Estimate(value, max(0.0, value - WIDTH * error), value + WIDTH * error, error)


def _figures(table: Floats, positive: NDArray[Any], negative: NDArray[Any]) -> dict[str, Floats]:
    found = confusion.binary(table)
    rates = {
        "accuracy": found["accuracy"],
        "precision": found["precision"],
        "recall": found["recall"],
        "specificity": found["true_negative_rate"],
        "f1": found["f1"],
    }
    area, precise = ranking.area(positive, negative), ranking.precise(positive, negative)
    return {**rates, "roc_auc": area, "average_precision": precise}


def _table(shares: NDArray[Any], predicted: NDArray[Any]) -> Floats:
    """Expected confusion matrix."""
    called = predicted == 1
    hits, found = float(shares[called].sum()), int(called.sum())
    missed = float(shares[~called].sum())
    return np.array([[len(shares) - found - missed, found - hits], [missed, hits]])


def _ordered(ascending: NDArray[Any]) -> tuple[Floats, Floats]:
    """Expected rows of both classes at each distinct probability."""
    starts = np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1]])
    positive = np.add.reduceat(ascending, starts)
    return positive, np.diff(np.r_[starts, len(ascending)]) - positive


def _drawn(
    shares: NDArray[Any], predicted: NDArray[Any], edges: NDArray[Any], rng: np.random.Generator
) -> dict[str, Floats]:
    """The metrics of labels drawn by their probabilities, for rows drawn again."""
    places = np.searchsorted(edges, shares, side="right") * 2 + (predicted == 1)
    size = 2 * (len(edges) + 1)
    rows = np.bincount(places, minlength=size)
    mean = np.bincount(places, weights=shares, minlength=size) / np.maximum(rows, 1)
    counts = rng.multinomial(len(shares), rows / len(shares), DRAWS)
    positive = rng.binomial(counts, np.clip(mean, 0.0, 1.0))
    split = (DRAWS, -1, 2)
    ups, downs = positive.reshape(split), (counts - positive).reshape(split)
    table = np.stack([downs.sum(axis=1), ups.sum(axis=1)], axis=1)
    return _figures(table, ups.sum(axis=2), downs.sum(axis=2))


def _banded(values: Mapping[str, Any], drawn: Mapping[str, Floats]) -> dict[str, Estimate]:
    """Metrics with their bands; a metric that is hardly ever defined in so few rows may be anything."""
    found = {}
    for name, value in values.items():
        defined = drawn[name][np.isfinite(drawn[name])]
        if np.isfinite(value):
            error = float(np.std(defined)) if len(defined) else 0.5
            wide = 1.0 if len(defined) < 0.9 * len(drawn[name]) else WIDTH * error
            low, high = max(0.0, float(value) - wide), min(1.0, float(value) + wide)
            found[name] = Estimate(float(value), low, high, error)
    return found
