"""Scores as probabilities: isotonic calibration, used only where it makes scores more honest.

A calibration is two lists of numbers, so that it can be kept in a JSON file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality.resample import Floats

BINS = 10
FOLDS = 3
FEWEST = 30
"""Rows of each class in the reference without which scores are taken as they are."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A rising step-free function from score to probability; scores themselves when it has no points."""

    scores: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    def __call__(self, scores: NDArray[Any]) -> Floats:
        """The probability of each score, between 0 and 1."""
        if not self.scores:
            return np.clip(scores.astype(np.float64), 0.0, 1.0)
        return np.asarray(np.interp(scores, self.scores, self.shares), dtype=np.float64)

    def record(self) -> dict[str, list[float]]:
        """Values that JSON can hold."""
        return {"scores": list(self.scores), "shares": list(self.shares)}


def read(record: Mapping[str, Any]) -> Calibration:
    """The calibration of a record."""
    return Calibration(tuple(map(float, record["scores"])), tuple(map(float, record["shares"])))


def calibrate(scores: NDArray[Any], truth: NDArray[Any], *, seed: int) -> Calibration:
    """Isotonic calibration when it lowers the calibration error in every fold it was not fitted on.

    Args:
        scores: of reference rows that the model did not learn from.
        truth: 1 for the positive class, else 0.
        seed: of the split into folds.
    """
    scores, truth = scores.astype(np.float64), truth.astype(np.float64)
    if min(truth.sum(), len(truth) - truth.sum()) < FEWEST:
        return Calibration()
    folds = _folds(truth, np.random.default_rng(seed))
    for fold in range(FOLDS):
        own, rest = folds == fold, folds != fold
        fitted = _fit(scores[rest], truth[rest])
        plain = error(np.clip(scores[own], 0.0, 1.0), truth[own])
        if error(fitted(scores[own]), truth[own]) >= plain:
            return Calibration()
    return _fit(scores, truth)


def error(shares: NDArray[Any], truth: NDArray[Any]) -> float:
    """Expected calibration error: mean distance of score and observed share over ten groups of equal size."""
    if not len(shares):
        return 0.0
    order = np.argsort(shares, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    gaps = [abs(float(shares[part].mean() - truth[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(shares)


def _fit(scores: Floats, truth: Floats) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, truth)
    return Calibration(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))


def _folds(truth: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """A fold for each row, with the classes spread evenly over the folds."""
    folds = np.empty(len(truth), dtype=np.int64)
    for one in (0, 1):
        members = rng.permutation(np.flatnonzero(truth == one))
        folds[members] = np.arange(len(members)) % FOLDS
    return folds
