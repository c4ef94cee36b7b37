"""How good predictions are, in the words of Clarify's model performance report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.bias.text import shown

_WORDS: Mapping[str, str] = {
    "Accuracy": "Proportion of inputs assigned the correct predicted label by the model.",
    "Proportion of Positive Predictions in Labels": (
        "Proportion of input assigned in positive predicted label."
    ),
    "Proportion of Negative Predictions in Labels": (
        "Proportion of input assigned the negative predicted label."
    ),
    "True Positive Rate / Recall": (
        "Proportion of inputs with positive observed label correctly assigned the positive predicted label."
    ),
    "True Negative Rate / Specificity": (
        "Proportion of inputs with negative observed label correctly assigned the negative predicted label."
    ),
    "Acceptance Rate / Precision": (
        "Proportion of inputs with positive predicted label that actually have a positive observed label."
    ),
    "Rejection Rate": (
        "Proportion of inputs with negative predicted label that actually have a negative observed label."
    ),
    "Conditional Acceptance": ("Ratio between the positive observed labels and positive predicted labels."),
    "Conditional Rejection": ("Ratio between the negative observed labels and negative predicted labels."),
    "F1 Score": "Harmonic mean of precision and recall.",
}


def performance(
    label: str, outcomes: NDArray[np.int64], confusion: Mapping[tuple[str, str], int]
) -> dict[str, Any]:
    """The model performance block.

    0/0 is 0, as Clarify has it.

    Args:
        label: name of the label column.
        outcomes: rows by label and prediction, those without a prediction last.
        confusion: rows by label and prediction as in the data; left out when some are missing.
    """
    (tn, fp), (fn, tp) = ((int(row[0]), int(row[1])) for row in outcomes)
    n = tn + fp + fn + tp
    recall, precision = _over(tp, tp + fn), _over(tp, tp + fp)
    values = (
        _over(tp + tn, n),
        _over(tp + fp, n),
        _over(tn + fn, n),
        recall,
        _over(tn, tn + fp),
        precision,
        _over(tn, tn + fn),
        _over(tp + fn, tp + fp),
        _over(tn + fp, tn + fn),
        _over(2 * precision * recall, precision + recall),
    )
    block: dict[str, Any] = {
        "label": label,
        "model_performance_metrics": [
            {"name": name, "description": words, "value": shown(value)}
            for (name, words), value in zip(_WORDS.items(), values, strict=True)
        ],
        "binary_confusion_matrix": [_over(cell, n) for cell in (tp, fp, fn, tn)],
    }
    if confusion and sum(confusion.values()) == n:
        block["confusion_matrix"] = _matrix(confusion)
    return block


def _matrix(confusion: Mapping[tuple[str, str], int]) -> dict[str, dict[str, float]]:
    """By label, then by prediction; every outcome on both sides."""
    names = sorted({name for pair in confusion for name in pair})
    return {label: {said: float(confusion.get((label, said), 0)) for said in names} for label in names}


def _over(above: float, below: float) -> float:
    if below:
        return above / below
    return float("inf") if above else 0.0
