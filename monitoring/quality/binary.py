"""Quality of a classifier of two classes, the second of which is the positive one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality import confusion, ranking, resample
from monitoring.quality.metric import Measured, Metric, Z, wilson
from monitoring.quality.ranking import Ranked
from monitoring.quality.resample import Floats, Ints

_TINY = 1e-15
_BEST = ("recall", "precision", "accuracy", *confusion.BETAS)
"""Metrics that the best constant classifier has too."""


def decide(scores: NDArray[Any], threshold: float = 0.5) -> NDArray[np.int64]:
    """The predicted class of each score: 1 above the threshold, 0 at it and below."""
    return np.asarray(scores > threshold, dtype=np.int64)


def measure(
    table: Ints,
    given: Ranked | None,
    classes: Sequence[str],
    rng: np.random.Generator,
    *,
    constant_class: str | None = None,
) -> Measured:
    """All metrics of two classes.

    Args:
        table: the confusion matrix.
        given: rows by score; None when the model gives no scores.
        classes: two, the positive one last.
        rng: where subsamples and resamples come from.
        constant_class: what the best constant classifier says; the majority of the rows when None.
    """
    chosen = confusion.majority(table, constant_class, classes)

    def formulas(cells: NDArray[Any]) -> Mapping[str, Floats]:
        best = confusion.binary(confusion.constant(cells, chosen))
        return {**confusion.binary(cells), **{f"{name}_{confusion.CONSTANT}": best[name] for name in _BEST}}

    scalars = resample.metrics(table, formulas, rng, better=_better(table, chosen))
    drawn = None if given is None else ranking.draws(given, rng)
    scalars["auc"] = Metric(None) if given is None else ranking.auc(given, drawn)
    shapes: dict[str, Any] = {
        "confusion_matrix": confusion.record(table, classes),
        "best_constant_class": classes[chosen],
    }
    extra = {}
    if given is not None:
        shapes["receiver_operating_characteristic_curve"] = ranking.roc(given)
        shapes["precision_recall_curve"] = ranking.precision_recall(given)
        extra = {"average_precision": ranking.average_precision(given, drawn), **losses(given)}
    return Measured("binary", int(table.sum()), scalars, shapes, extra)


def losses(given: Ranked) -> dict[str, Metric]:
    """`brier` (mean squared error of the score) and `log_loss`, of probabilities at their exact values."""
    rows = given.positive + given.negative
    total = int(rows.sum())
    if not given.exact or not total or given.scores[0] < 0 or given.scores[-1] > 1:
        return {"brier": Metric(None), "log_loss": Metric(None)}
    clipped = np.clip(given.scores, _TINY, 1 - _TINY)
    return {
        "brier": _mean(given, (1 - given.scores) ** 2, given.scores**2, total),
        "log_loss": _mean(given, -np.log(clipped), -np.log1p(-clipped), total),
    }


def _mean(given: Ranked, of_positive: Floats, of_negative: Floats, total: int) -> Metric:
    value = float((given.positive @ of_positive + given.negative @ of_negative) / total)
    square = float(given.positive @ (of_positive - value) ** 2 + given.negative @ (of_negative - value) ** 2)
    half = Z * math.sqrt(square / max(1, total - 1) / total)
    return Metric(value, None, max(0.0, value - half), value + half)


def _better(table: Ints, chosen: int) -> dict[str, tuple[float, float] | None]:
    """Wilson intervals of proportions, and of F-scores where a bootstrap sees nothing but 0 or 1."""
    (passed, false), (missed, hits) = ((int(one) for one in row) for row in table)
    negative, positive = passed + false, missed + hits
    recall = wilson(hits, positive)
    share = wilson((negative, positive)[chosen], negative + positive)
    found = {
        "recall": recall,
        "true_positive_rate": recall,
        "precision": wilson(hits, hits + false),
        "accuracy": wilson(hits + passed, negative + positive),
        "true_negative_rate": wilson(passed, negative),
        "false_positive_rate": wilson(false, negative),
        "false_negative_rate": wilson(missed, positive),
        f"accuracy_{confusion.CONSTANT}": share,
        f"precision_{confusion.CONSTANT}": share if chosen == 1 else None,
    }
    if hits == 0 or hits == hits + false + missed:
        found.update({name: _f_interval(hits, false, missed, beta) for name, beta in confusion.BETAS.items()})
    return found


def _f_interval(hits: int, false: int, missed: int, beta: float) -> tuple[float, float] | None:
    """From the interval of hits among all rows but the true negatives, of which F is a rising function."""
    bounds = wilson(hits, hits + false + missed)
    if bounds is None:
        return None
    lost = missed / (missed + false) if missed + false else 0.5
    cost = beta**2 * lost + 1 - lost

    def score(share: float) -> float:
        gained = (1 + beta**2) * share
        return gained / (gained + (1 - share) * cost)

    return score(bounds[0]), score(bounds[1])
