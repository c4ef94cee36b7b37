"""One number of a model's quality, what it is worth, and the file that holds all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any, Literal

Task = Literal["regression", "binary", "multiclass"]

CONFIDENCE = 0.95
"""Of every interval from `low` to `high`."""
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
CONTAINERS: Mapping[str, str] = {
    "regression": "regression_metrics",
    "binary": "binary_classification_metrics",
    "multiclass": "multiclass_classification_metrics",
}
"""Key of the metrics in `statistics.json`."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of some rows."""

    value: float | None
    """None where it is not defined for these rows."""
    standard_deviation: float | None = None
    """SageMaker's: of five random subsamples of 80 %. About half of the standard error; see `low`, `high`."""
    low: float | None = None
    """Lower end of the 95 % confidence interval."""
    high: float | None = None
    """Upper end of it."""

    def record(self) -> dict[str, float | str]:
        """As in `statistics.json`; `low` and `high` are added to SageMaker's keys where they are known."""
        known = {"low": self.low, "high": self.high}
        return {
            "value": _number(self.value),
            "standard_deviation": _number(self.standard_deviation),
            **{name: value for name, value in known.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """All metrics of some labelled rows."""

    task: Task
    rows: int
    scalars: Mapping[str, Metric]
    """SageMaker's metrics by name."""
    shapes: Mapping[str, Any] = field(default_factory=dict)
    """Confusion matrix, curves, and the class of the best constant classifier."""
    extra: Mapping[str, Metric] = field(default_factory=dict)
    """Metrics that SageMaker does not have, for example `average_precision`."""

    def document(self, at: datetime | None = None) -> dict[str, Any]:
        """`statistics.json` of model quality.

        Args:
            at: when it was evaluated; left out of the file when it is not known.
        """
        dataset: dict[str, Any] = {"item_count": self.rows}
        if at is not None:
            dataset["evaluation_time"] = _instant(at)
        scalars = {name: metric.record() for name, metric in self.scalars.items()}
        return {"version": 0.0, "dataset": dataset, CONTAINERS[self.task]: {**self.shapes, **scalars}}


def read(document: Mapping[str, Any]) -> Measured:
    """The metrics of a `statistics.json`, whoever wrote it.

    Raises:
        ValueError: it is no statistics of model quality.
    """
    for task, key in CONTAINERS.items():
        if isinstance(found := document.get(key), Mapping):
            scalars = {
                name: _metric(one)
                for name, one in found.items()
                if isinstance(one, Mapping) and "value" in one
            }
            rows = document.get("dataset", {}).get("item_count", 0)
            shapes = {name: one for name, one in found.items() if name not in scalars}
            return Measured(task, int(rows), scalars, shapes)  # type: ignore[arg-type]
    raise ValueError(
        f"the statistics hold none of {', '.join(CONTAINERS.values())}; give a model quality file"
    )


def wilson(hits: float, trials: float, z: float = Z) -> tuple[float, float] | None:
    """Wilson's score interval of a proportion; None without trials."""
    if trials <= 0:
        return None
    share, weight = hits / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (0.0 if hits <= 0 else low), (1.0 if hits >= trials else high)


def logistic_interval(value: float, error: float) -> tuple[float, float]:
    """Interval of a value between 0 and 1 from its standard error, symmetric in its log-odds."""
    centre, half = math.log(value / (1 - value)), Z * error / (value * (1 - value))
    return 1 / (1 + math.exp(min(700.0, half - centre))), 1 / (1 + math.exp(max(-700.0, -half - centre)))


def _number(value: float | None) -> float | str:
    return "NaN" if value is None or not math.isfinite(value) else float(value)


def _metric(record: Mapping[str, Any]) -> Metric:
    return Metric(*(_read(record.get(key)) for key in ("value", "standard_deviation", "low", "high")))


def _read(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
