"""What a model answered, whatever ran it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.manifest import Label, Manifest


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Scores of all rows, and the labels they mean.

    `scores` has one number per row for binary (probability of the second class) and regression,
    and one row of class probabilities, in the order of the manifest's classes, for multiclass.
    """

    scores: npt.NDArray[np.floating]
    labels: tuple[Label, ...] | None
    """None for regression."""

    def __len__(self) -> int:
        return len(self.scores)


def from_probabilities(manifest: Manifest, table: npt.NDArray[np.floating]) -> Predictions:
    """Predictions of a classifier from its table of rows by classes."""
    classes = manifest.classes or ()
    if manifest.task == "binary":
        scores = np.ascontiguousarray(table[:, 1])
        chosen = (scores > table[:, 0]).tolist()
        return Predictions(scores, tuple([classes[second] for second in chosen]))
    return Predictions(table, tuple(classes[n] for n in table.argmax(axis=1).tolist()))
