"""Metrics on weighted rows, many resamples at a time. Pure.

A resample is a column of weights: how often each row was drawn. Every function takes a block of resamples,
`weights` of shape (rows, resamples), and returns one value each; all ones give the plain metric. Metrics that
share work are computed together. NaN means that a metric is not defined for these rows, for example the area
under a ROC curve of one class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
_TINY = 1e-15


@dataclass(frozen=True, slots=True)
class Scored:
    """Truth and prediction of some rows."""

    truth: NDArray[Any]
    """Index of the class, or the number."""
    scores: Floats
    """Binary: probability of the second class. Multiclass: one column a class. Regression: the number."""

    def part(self, rows: NDArray[np.intp]) -> Scored:
        """Some of the rows."""
        return Scored(self.truth[rows], self.scores[rows])


Family = Callable[[Scored, Floats], Mapping[str, Floats]]
"""Several metrics of the same rows by name."""


def ranking(scored: Scored, weights: Floats) -> Mapping[str, Floats]:
    """`roc_auc`: chance that a positive row scores higher than a negative one, ties counting half.

    `average_precision`: precision averaged over recall, as scikit-learn defines it.
    """
    order = np.argsort(-scored.scores, kind="stable")
    ranked = scored.scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    drawn = weights[order]
    positive = np.add.reduceat(drawn * (scored.truth[order] == 1)[:, None], starts, axis=0)
    everything = np.add.reduceat(drawn, starts, axis=0)
    hits, taken = np.cumsum(positive, axis=0), np.cumsum(everything, axis=0)
    won = np.einsum("gb,gb->b", hits - positive / 2, everything - positive)
    precise = np.einsum("gb,gb->b", positive, hits / np.maximum(taken, 1))
    total = hits[-1]
    return {
        "roc_auc": _ratio(won, total * (taken[-1] - total)),
        "average_precision": _ratio(precise, total),
    }


def losses(scored: Scored, weights: Floats) -> Mapping[str, Floats]:
    """`log_loss`: mean negative logarithm of the probability given to the true class.

    `brier`: mean squared difference between probability and outcome, summed over three and more classes.
    """
    if scored.scores.ndim == 1:
        given = np.where(scored.truth == 1, scored.scores, 1 - scored.scores)
        squares = (1 - given) ** 2
    else:
        given = scored.scores[np.arange(len(scored.truth)), scored.truth]
        squares = ((scored.scores - np.eye(scored.scores.shape[1])[scored.truth]) ** 2).sum(axis=1)
    return {"log_loss": _mean(-np.log(np.clip(given, _TINY, 1.0)), weights), "brier": _mean(squares, weights)}


def decisions(scored: Scored, weights: Floats) -> Mapping[str, Floats]:
    """Of the predicted class, with the second one as positive.

    `accuracy`: share of rows that are right. `balanced_accuracy`: recall averaged over the classes.
    `precision`: share of rows called positive that are. `recall`: share of positive rows that are found.
    `f1`: harmonic mean of these two.
    """
    cells = confusion(scored, weights)
    hits, true, called = cells[1, 1], cells[1].sum(axis=0), cells[:, 1].sum(axis=0)
    return {
        **_over_all(cells),
        "f1": _ratio(2 * hits, true + called),
        "precision": _ratio(hits, called),
        "recall": _ratio(hits, true),
    }


def classes(scored: Scored, weights: Floats) -> Mapping[str, Floats]:
    """`accuracy`, `balanced_accuracy`, and `macro_f1`: F1 of each class averaged over those that occur."""
    cells = confusion(scored, weights)
    hits = np.einsum("kkb->kb", cells)
    return {**_over_all(cells), "macro_f1": _average(_ratio(2 * hits, cells.sum(axis=1) + cells.sum(axis=0)))}


def errors(scored: Scored, weights: Floats) -> Mapping[str, Floats]:
    """`rmse` and `mae` in the target's unit; `r2`: share of the variance explained.

    `mape`: mean absolute error as a share of the truth, not defined when a true value is 0.
    """
    truth = scored.truth.astype(np.float64)
    off = scored.scores - truth
    centred = truth - truth.mean()
    spread = _mean(centred**2, weights) - _mean(centred, weights) ** 2
    mape = np.full(weights.shape[1], np.nan)
    if (truth != 0).all():
        mape = _mean(np.abs(off / truth), weights)
    squared = _mean(off**2, weights)
    return {
        "rmse": np.sqrt(squared),
        "mae": _mean(np.abs(off), weights),
        "r2": 1 - _ratio(squared, spread),
        "mape": mape,
    }


def chosen(scored: Scored) -> NDArray[Any]:
    """Index of the predicted class; binary scores from one half on are the second class."""
    return (scored.scores >= 0.5).astype(int) if scored.scores.ndim == 1 else scored.scores.argmax(axis=1)


def confusion(scored: Scored, weights: Floats) -> Floats:
    """Weight of each (true, predicted) pair, shape (classes, classes, resamples)."""
    count = 2 if scored.scores.ndim == 1 else scored.scores.shape[1]
    cells = scored.truth * count + chosen(scored)
    made = np.zeros((count * count, weights.shape[1]))
    for cell in np.unique(cells):
        made[cell] = (cells == cell).astype(np.float64) @ weights
    return made.reshape(count, count, -1)


def _over_all(cells: Floats) -> Mapping[str, Floats]:
    hits = np.einsum("kkb->kb", cells)
    return {
        "accuracy": _ratio(hits.sum(axis=0), cells.sum(axis=(0, 1))),
        "balanced_accuracy": _average(_ratio(hits, cells.sum(axis=1))),
    }


def _average(values: Floats) -> Floats:
    """Over classes, those left out for which nothing is defined."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))


def _ratio(above: Floats, below: Floats | NDArray[np.integer[Any]]) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(below > 0, above / below, np.nan))


def _mean(values: Floats, weights: Floats) -> Floats:
    return _ratio(values.astype(np.float64) @ weights, weights.sum(axis=0))


FAMILIES: Mapping[str, tuple[Family, ...]] = {
    "binary": (ranking, losses, decisions),
    "multiclass": (classes, losses),
    "regression": (errors,),
}
"""What is measured for each task."""

KNOWN: Mapping[str, tuple[str, ...]] = {
    "binary": (
        "roc_auc",
        "average_precision",
        "log_loss",
        "brier",
        "accuracy",
        "balanced_accuracy",
        "f1",
        "precision",
        "recall",
    ),
    "multiclass": ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier"),
    "regression": ("rmse", "mae", "r2", "mape"),
}
"""Names of the metrics of each task, in the order they are shown."""

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae", "mape"})
"""All others are better when higher."""


def measure(task: str, scored: Scored, weights: Floats) -> dict[str, Floats]:
    """All metrics of the task."""
    found: dict[str, Floats] = {}
    for family in FAMILIES[task]:
        found.update(family(scored, weights))
    return {name: found[name] for name in KNOWN[task]}
