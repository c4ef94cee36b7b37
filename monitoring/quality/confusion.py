"""Metrics of decisions as functions of a confusion matrix; any number of matrices at a time.

Rows are what happened, columns what was predicted, on the last two axes. NaN means not defined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality.resample import Floats, Ints

BETAS: Mapping[str, float] = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}
CONSTANT = "best_constant_classifier"


def cells(truth: NDArray[Any], predicted: NDArray[Any], classes: int) -> Ints:
    """Count rows by the index of their true and of their predicted class."""
    flat = truth.astype(np.int64) * classes + predicted
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def binary(table: NDArray[Any]) -> dict[str, Floats]:
    """Rates of two classes, of which the second is the positive one."""
    negative, positive = table[..., 0, :].sum(-1), table[..., 1, :].sum(-1)
    false, hits = table[..., 0, 1], table[..., 1, 1]
    missed = table[..., 1, 0]
    found = {
        "recall": ratio(hits, positive),
        "precision": ratio(hits, hits + false),
        "accuracy": ratio(hits + table[..., 0, 0], negative + positive),
        "true_positive_rate": ratio(hits, positive),
        "true_negative_rate": ratio(table[..., 0, 0], negative),
        "false_positive_rate": ratio(false, negative),
        "false_negative_rate": ratio(missed, positive),
    }
    for name, beta in BETAS.items():
        gained = (1 + beta**2) * hits
        found[name] = ratio(gained, gained + beta**2 * missed + false)
    return found


def weighted(table: NDArray[Any]) -> dict[str, Floats]:
    """Accuracy, and one-vs-rest metrics averaged by how often each class happened.

    A class that is never predicted has precision 0, as scikit-learn has it.
    """
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    support, called = table.sum(-1), table.sum(-2)
    total = support.sum(-1)
    recall, precision = _or_zero(hits, support), _or_zero(hits, called)
    found = {
        "accuracy": ratio(hits.sum(-1), total),
        "weighted_recall": ratio((support * recall).sum(-1), total),
        "weighted_precision": ratio((support * precision).sum(-1), total),
    }
    for name, beta in BETAS.items():
        score = _or_zero((1 + beta**2) * precision * recall, beta**2 * precision + recall)
        found[f"weighted_{name}"] = ratio((support * score).sum(-1), total)
    return found


def constant(table: NDArray[Any], chosen: int) -> NDArray[Any]:
    """The matrix of a classifier that always says the class with the index `chosen`."""
    made = np.zeros_like(table)
    made[..., chosen] = table.sum(-1)
    return made


def majority(table: Ints, chosen: str | None, classes: Sequence[str]) -> int:
    """Index of the best constant class: the most frequent of the window, or the one that is asked for."""
    return classes.index(chosen) if chosen is not None and chosen in classes else int(table.sum(-1).argmax())


def record(table: Ints, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """As `statistics.json` writes it: by true, then by predicted class."""
    rows = zip(classes, table.tolist(), strict=True)
    return {name: dict(zip(classes, row, strict=True)) for name, row in rows}


def ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """The quotient, NaN where nothing is below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(below > 0, above / below, np.nan), dtype=np.float64)


def _or_zero(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    return np.asarray(np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0))
