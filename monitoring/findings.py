"""What an analysis of a window says: figures, violated constraints, and the documents it leaves.

Every kind of monitor ends here, so that reports, alarms, metrics and schedules know one shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["DataQuality", "ModelQuality", "ModelBias", "ModelExplainability"]
"""SageMaker's MonitoringType."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A constraint that the window does not meet, as `constraint_violations.json` tells it."""

    check: str
    """`constraint_check_type`, for example `baseline_drift_check`."""
    description: str
    """SageMaker's sentence; parsers rely on it."""
    subject: tuple[tuple[str, str], ...]
    """What it is about, in the order of the file: `("feature_name", "age")`, or facet and metric."""

    def record(self) -> dict[str, str]:
        """One entry of `violations`."""
        return {**dict(self.subject), "constraint_check_type": self.check, "description": self.description}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number worth following over time."""

    name: str
    """SageMaker's where it has one, for example `feature_baseline_drift_age`, `f1`, `bias_metric_CI`."""
    value: float | None
    """None when it could not be computed."""
    low: float | None = None
    """Lower end of its interval."""
    high: float | None = None
    """Upper end of its interval."""
    n: int = 0
    """Rows behind it."""
    estimated: bool = False
    """Computed without labels."""
    dimensions: tuple[tuple[str, str], ...] = ()
    """What further tells it apart, for example `("Facet", "sex")`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one analysis over one window."""

    kind: Kind
    rows: int
    """Rows that were analysed."""
    violations: tuple[Violation, ...] = ()
    figures: tuple[Figure, ...] = ()
    documents: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able content of files to leave, by name: `statistics.json`, `analysis.json` and so on."""
    notes: tuple[str, ...] = ()
    """What a reader must know: a column that could not be judged, and why."""
    details: Any = None
    """The analysis' own value, for the report page."""

    @property
    def status(self) -> Literal["Completed", "CompletedWithViolations"]:
        """SageMaker's execution status."""
        return "CompletedWithViolations" if self.violations else "Completed"

    def violations_document(self) -> dict[str, Any]:
        """`constraint_violations.json`."""
        shown = [violation.record() for violation in self.violations]
        bias = self.kind in {"ModelBias", "ModelExplainability"}
        return {**({"version": "1.0"} if bias else {}), "violations": shown}
