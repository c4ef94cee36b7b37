"""The proof on real rows that a compiled model answers as the trained one does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from serving.errors import ServingError
from serving.manifest import ParityRecord, Task
from serving.predictor import OnnxPredictor
from steps.errors import Permanent
from steps.reference import columns_of, kinds, labels_of, reference_scores, signature

UNSEEN = "\N{REPLACEMENT CHARACTER}unseen"
"""A category that no training data holds."""
PROBES = 200
"""Rows repeated with an unseen category, or with a missing value, per column."""
RANKED = 2000
"""Most rows, spread over the hold-out, whose order is compared pair by pair."""


class NotComparable(Permanent):
    """The trained model refuses rows that the compiled one would answer; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a compiled model may be from the trained one."""

    difference: float = 1e-4
    """Largest difference of scores; for regression times the largest absolute score, when that is above 1."""
    rank_agreement: float = 0.0
    """Smallest rank agreement."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How closely the compiled model follows the trained one."""

    rows: int
    """Real rows compared; probes with unseen categories and missing values come on top."""
    max_abs_difference: float | None
    """Largest difference of scores; None when they could not be compared."""
    rank_agreement: float | None
    """See `rank_agreement`."""
    passed: bool
    reason: str | None = None
    """Why it did not pass."""

    @property
    def record(self) -> ParityRecord:
        """What the manifest keeps."""
        return ParityRecord(self.rows, self.max_abs_difference, self.passed, self.reason, self.rank_agreement)


def check_parity(
    onnx: bytes,
    model: Any,
    frame: pd.DataFrame,
    task: Task,
    *,
    limits: Limits = Limits(),
    optional: Collection[str] = (),
) -> Parity:
    """Compare the compiled model with scikit-learn on real rows.

    Args:
        onnx: result of `to_onnx` for the columns of `frame`, in their order.
        model: the fitted pipeline.
        frame: real rows, the model's input columns only.
        task: what is predicted.
        limits: what passes.
        optional: columns that may be missing; they are probed with missing values.
    """
    manifest = signature("onnx", task, labels_of(model, task), kinds(frame))
    try:
        compiled = OnnxPredictor(manifest, onnx)
        probes = _probes(model, frame, task, optional)
        rows = pd.concat([frame, *probes], ignore_index=True)
        expected = reference_scores(model, rows, task)
        found = compiled.predict(columns_of(rows, manifest)).scores
    except (ServingError, NotComparable) as error:
        return Parity(len(frame), None, None, passed=False, reason=str(error))
    difference = float(np.abs(found - expected).max())
    scale = max(1.0, float(np.abs(expected).max())) if task == "regression" else 1.0
    agreement = rank_agreement(found[: len(frame)], expected[: len(frame)], scale * 1e-4)
    reason = None
    if difference > limits.difference * scale:
        reason = f"scores differ by {difference:.3g}, above the tolerance {limits.difference * scale:.3g}"
    elif agreement is not None and agreement < limits.rank_agreement:
        reason = f"the rank agreement is {agreement:.4f}, below {limits.rank_agreement:g}"
    return Parity(len(frame), difference, agreement, reason is None, reason)


def rank_agreement(
    found: npt.NDArray[np.floating], expected: npt.NDArray[np.floating], tie: float = 1e-4
) -> float | None:
    """How far two models rank rows alike, from 0 to 1; None when the trained model ranks nothing.

    With one score per row: of all pairs that the trained model sets apart by more than `tie`, the share that
    the compiled model orders the same way, `#{e_i > e_j + tie and f_i > f_j} / #{e_i > e_j + tie}`. Equal
    scores of the compiled model count as disagreement. At most `RANKED` rows, evenly spread, are paired.
    With a table of classes: the share of rows with the same most probable class.
    """
    if found.ndim == 2:
        return float(np.mean(found.argmax(axis=1) == expected.argmax(axis=1)))
    chosen = spread(len(found), RANKED)
    trained, compiled = expected[chosen], found[chosen]
    apart = trained[:, None] > trained[None, :] + tie
    if not apart.any():
        return None
    return float((compiled[:, None] > compiled[None, :])[apart].mean())


def spread(rows: int, most: int) -> npt.NDArray[np.int64]:
    """Positions of at most `most` rows, evenly spread over all."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).round().astype(np.int64))


def _probes(model: Any, frame: pd.DataFrame, task: Task, optional: Collection[str]) -> list[pd.DataFrame]:
    """Rows with an unseen category, or with a missing value, in one column each.

    Raises:
        NotComparable: scikit-learn refuses unseen categories, which ONNX would answer.
    """
    few, probes = frame.head(PROBES), []
    for name, kind in kinds(frame):
        if kind == "string":
            probe = few.assign(**{name: UNSEEN})
            try:
                reference_scores(model, probe, task)
            except ValueError as error:
                problem = f"scikit-learn refuses unseen values of {name!r}; set handle_unknown on its encoder"
                raise NotComparable(problem) from error
            probes.append(probe)
        if name in optional:
            probes.append(few.assign(**{name: "" if kind == "string" else np.nan}))
    return probes
