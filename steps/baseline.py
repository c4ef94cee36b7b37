"""What a package knows of its own baseline, so that live traffic can be held against it.

Each part is a pure function from hold-out rows to documents; the caller writes them into the package's
`baseline/` folder. The same rows and seed give the same documents.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import polars as pl

QUALITY = "model_quality.json"
ESTIMATOR = "estimator.json"


@dataclass(frozen=True, slots=True)
class Part:
    """Documents of one part of the baseline."""

    documents: dict[str, Any]
    """JSON-able content by file name."""
    notes: tuple[str, ...] = ()
    """What could not be said, and why."""

    def files(self) -> dict[str, bytes]:
        """The documents as bytes, the same for the same content."""
        return {name: encoded(document) for name, document in self.documents.items()}


def encoded(document: Any) -> bytes:
    """A document as it is written: sorted keys, no NaN."""
    return (json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n").encode()


def quality_baseline(
    rows: pl.DataFrame,
    task: Literal["binary", "multiclass", "regression"],
    classes: Sequence[Any] | None,
    *,
    features: Sequence[str] = (),
    seed: int,
) -> Part:
    """How good the model is on rows it never saw, as `model_quality.json` and `estimator.json`.

    `model_quality.json` has `statistics` and `constraints`, each exactly what SageMaker's file of that name
    holds. `estimator.json` is what estimates quality without labels; it is left out where it cannot be
    learned, with a note.

    Args:
        rows: hold-out rows with inputs and the columns `@predicted_label`, `@score` and `@label`.
        task: what is predicted.
        classes: of the model, the positive one last; None for a regression.
        features: inputs of the model; all inputs of the rows when empty.
        seed: of subsamples, folds and trees.
    """
    from monitoring.quality import analysis, constraints, estimate

    found = analysis.analyse(rows, task, classes, None, seed=seed)
    suggested = constraints.suggest(found.details.measured)
    learned, told = estimate.learn(rows, task, classes, features, seed=seed)
    documents: dict[str, Any] = {
        QUALITY: {"statistics": found.documents["statistics.json"], "constraints": suggested.document()}
    }
    if learned is not None:
        documents[ESTIMATOR] = learned.record()
    return Part(documents, tuple(dict.fromkeys((*found.notes, *told))))
