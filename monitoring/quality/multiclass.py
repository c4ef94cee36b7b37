"""Quality of a classifier of several classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality import confusion, resample
from monitoring.quality.metric import Measured, wilson
from monitoring.quality.resample import Floats, Ints


def measure(
    table: Ints, classes: Sequence[str], rng: np.random.Generator, *, constant_class: str | None = None
) -> Measured:
    """All metrics of several classes; means are weighted by how often each class happened.

    Args:
        table: the confusion matrix.
        classes: names of its rows and columns.
        rng: where subsamples and resamples come from.
        constant_class: what the best constant classifier says; the majority of the rows when None.
    """
    chosen = confusion.majority(table, constant_class, classes)

    def formulas(cells: NDArray[Any]) -> Mapping[str, Floats]:
        best = confusion.weighted(confusion.constant(cells, chosen))
        named = {f"{name}_{confusion.CONSTANT}": value for name, value in best.items()}
        return {**confusion.weighted(cells), **named}

    total = int(table.sum())
    right, share = wilson(int(np.trace(table)), total), wilson(int(table[chosen].sum()), total)
    better = {
        "accuracy": right,
        "weighted_recall": right,
        f"accuracy_{confusion.CONSTANT}": share,
        f"weighted_recall_{confusion.CONSTANT}": share,
    }
    shapes = {
        "confusion_matrix": confusion.record(table, classes),
        "best_constant_class": classes[chosen],
    }
    return Measured("multiclass", total, resample.metrics(table, formulas, rng, better=better), shapes)
