"""Constraints of model quality, as `constraints.json` holds them, and whether a window meets them.

The suggested threshold is the baseline's own value, as SageMaker has it. Compared number with number, an
unchanged model misses it every other time. So by default a metric violates only when it is worse by more than
chance explains: the difference to the threshold is set against the uncertainty of the window and, where the
file tells it, of the baseline (method of variance estimates recovery, Zou and Donner, Statistics in Medicine
2008), one-sided and shared out over the metrics (Bonferroni), so that an unchanged model raises an alarm in
at most a share `alpha` of the windows. `mode="sagemaker"` compares the bare numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal

from monitoring.findings import Violation
from monitoring.quality.metric import Measured, Metric, Task, Z

Operator = Literal["LessThanThreshold", "GreaterThanThreshold"]
Mode = Literal["evidence", "sagemaker"]

KEYS: Mapping[str, str] = {
    "regression": "regression_constraints",
    "binary": "binary_classification_constraints",
    "multiclass": "multiclass_classification_constraints",
}
WORSE_ABOVE = frozenset(
    {"mae", "mse", "rmse", "false_positive_rate", "false_negative_rate", "log_loss", "brier"}
)
"""Metrics that are worse when greater: `GreaterThanThreshold`."""
_SAME = {
    "true_positive_rate": "recall",
    "false_negative_rate": "recall",
    "false_positive_rate": "true_negative_rate",
    "rmse": "mse",
    "weighted_recall": "accuracy",
}
"""Metrics that say the same thing twice count as one question."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound for one metric."""

    threshold: float
    operator: Operator
    """When the metric is in violation."""
    low: float | None = None
    """Lower end of the baseline's 95 % interval; None for a threshold that somebody set."""
    high: float | None = None

    @property
    def firm(self) -> bool:
        """Somebody set it: a figure beyond it is a violation, whatever chance may do."""
        return self.low is None and self.high is None

    def record(self) -> dict[str, Any]:
        """One entry of `constraints.json`; the interval is among the additional properties."""
        known = {"low": self.low, "high": self.high}
        added = None if self.low is None or self.high is None else known
        return {
            "threshold": self.threshold,
            "comparison_operator": self.operator,
            "additional_properties": added,
        }


@dataclass(frozen=True, slots=True)
class Constraints:
    """Bounds for the metrics of a task."""

    task: Task
    metrics: Mapping[str, Constraint] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """`constraints.json` of model quality."""
        return {"version": 0.0, KEYS[self.task]: {name: one.record() for name, one in self.metrics.items()}}


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of the constraints."""

    violations: tuple[Violation, ...]
    notes: tuple[str, ...]


def suggest(measured: Measured) -> Constraints:
    """Constraints from the metrics of a baseline: the value itself, with its interval beside it."""
    found = {}
    for name, metric in measured.scalars.items():
        if metric.value is not None and not name.endswith("best_constant_classifier"):
            operator: Operator = "GreaterThanThreshold" if name in WORSE_ABOVE else "LessThanThreshold"
            found[name] = Constraint(metric.value, operator, metric.low, metric.high)
    return Constraints(measured.task, found)


def read(document: Mapping[str, Any]) -> Constraints:
    """Constraints of a file, whoever wrote it.

    Raises:
        ValueError: the file holds no constraints of model quality, or one that cannot be understood.
    """
    for task, key in KEYS.items():
        if isinstance(found := document.get(key), Mapping):
            metrics = {str(name): _constraint(str(name), one) for name, one in found.items()}
            return Constraints(task, metrics)  # type: ignore[arg-type]
    raise ValueError(f"the constraints hold none of {', '.join(KEYS.values())}; give a model quality file")


def check(
    constraints: Constraints, measured: Measured, *, mode: Mode = "evidence", alpha: float = 0.05
) -> Checked:
    """Compare the metrics of a window with their constraints.

    Args:
        constraints: of the same task.
        measured: the window's metrics.
        mode: `evidence` asks for more than chance, `sagemaker` for a worse number.
        alpha: share of windows of an unchanged model in which `evidence` may raise an alarm.
    """
    if constraints.task != measured.task:
        told = f"The constraints are for {constraints.task}, the window is {measured.task}"
        return Checked((), (f"{told}; nothing was compared.",))
    everything = {**measured.extra, **measured.scalars}
    questions = len({_SAME.get(name, name) for name in constraints.metrics}) or 1
    needed = NormalDist().inv_cdf(1 - alpha / questions)
    violations, notes, close = [], [], []
    for name, constraint in constraints.metrics.items():
        metric = everything.get(name)
        if metric is None or metric.value is None:
            notes.append(f"Metric {name} has a constraint but could not be computed.")
        elif _beyond(metric.value, constraint):
            if mode == "sagemaker" or constraint.firm or _evident(metric, metric.value, constraint, needed):
                violations.append(_violation(name, metric, constraint))
            else:
                close.append(f"{name} ({metric.value:.4g}, threshold {constraint.threshold:.4g})")
    if close:
        notes.append(f"Beyond their thresholds, but not by more than chance: {', '.join(close)}.")
    return Checked(tuple(violations), tuple(notes))


def _beyond(value: float, constraint: Constraint) -> bool:
    if constraint.operator == "GreaterThanThreshold":
        return value > constraint.threshold
    return value < constraint.threshold


def _evident(metric: Metric, value: float, constraint: Constraint, needed: float) -> bool:
    """Whether the distance to the threshold is more than `needed` standard errors."""
    above = constraint.operator == "GreaterThanThreshold"
    ours, theirs = (metric.low, constraint.high) if above else (metric.high, constraint.low)
    if ours is None:
        return True
    errors = ((ours - value) / Z, 0.0 if theirs is None else (theirs - constraint.threshold) / Z)
    return abs(value - constraint.threshold) > needed * math.hypot(*errors)


def _violation(name: str, metric: Metric, constraint: Constraint) -> Violation:
    spread = "" if metric.standard_deviation is None else f" +/- {metric.standard_deviation}"
    told = f"Metric {name} with {metric.value}{spread} was {constraint.operator} '{constraint.threshold}'"
    return Violation(constraint.operator, told, (("metric_name", name),))


def _constraint(name: str, record: Any) -> Constraint:
    if not isinstance(record, Mapping):
        raise ValueError(f"constraint {name} is no object; give threshold and comparison_operator")  # noqa: TRY004
    threshold, operator = record.get("threshold"), record.get("comparison_operator")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
        raise ValueError(f"constraint {name}: threshold {threshold!r} is no number; give one")
    if operator not in ("LessThanThreshold", "GreaterThanThreshold"):
        raise ValueError(
            f"constraint {name}: comparison_operator {operator!r} is unknown; "
            "use LessThanThreshold or GreaterThanThreshold"
        )
    added = record.get("additional_properties")
    added = added if isinstance(added, Mapping) else {}
    ends = [added.get(key) for key in ("low", "high")]
    low, high = (float(one) if isinstance(one, int | float) else None for one in ends)
    return Constraint(float(threshold), operator, low, high)
