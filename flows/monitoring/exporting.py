"""Figures for other systems: Prometheus, the JSON lines of SageMaker's monitoring containers, and tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.monitoring.executions import Action, Alert, AlertStatus, Datapoint, Execution
from monitoring.findings import Figure
from steps.pages.view import Point

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

    from flows.monitoring.history import History

CLOUDWATCH = "opt/ml/output/metrics/cloudwatch"
"""Where a SageMaker container writes its lines."""
INFINITE = 2.348543e108
"""What CloudWatch gets for an infinite figure, which it does not take."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OF = ("endpoint", "monitoring_schedule")


def cloudwatch_lines(execution: Execution, figures: Iterable[Figure]) -> str:
    """JSON lines for `/opt/ml/output/metrics/cloudwatch`; figures that could not be computed are left out.

    An estimate has the dimension `Estimated`, so that it is another metric than what is measured once labels
    are known.
    """
    stamp = execution.window.end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    own = (("Endpoint", execution.endpoint), ("MonitoringSchedule", execution.schedule))
    return "".join(
        json.dumps(
            {
                "MetricName": figure.name,
                "Timestamp": stamp,
                "Dimensions": [{"Name": name, "Value": value} for name, value in (*own, *_told(figure))],
                **measured,
            }
        )
        + "\n"
        for figure in figures
        if (measured := _measured(figure))
    )


def _told(figure: Figure) -> tuple[tuple[str, str], ...]:
    return (*figure.dimensions, ("Estimated", "true")) if figure.estimated else figure.dimensions


def _measured(figure: Figure) -> dict[str, Any]:
    """A value, or the statistics of a column's values; never both."""
    if figure.value is None or math.isnan(figure.value):
        return {}
    known = figure.low is not None and figure.high is not None
    if figure.name.startswith("feature_data_") and figure.n and known:
        return {
            "StatisticValues": {
                "SampleCount": figure.n,
                "Sum": _finite(figure.value * figure.n),
                "Minimum": _finite(figure.low or 0.0),
                "Maximum": _finite(figure.high or 0.0),
            }
        }
    return {"Value": _finite(figure.value)}


def _finite(value: float) -> float:
    return math.copysign(INFINITE, value) if math.isinf(value) else value


ALL = 10_000_000
"""Figures and executions that an export takes at most."""


def write(
    history: History, endpoint: str, out: Path, form: str, *, schedule: str = "", every_version: bool = False
) -> tuple[Path, ...]:
    """Write the history of an endpoint: figures, executions and violations.

    Args:
        history: where it is kept.
        endpoint: whose.
        out: folder, made if need be.
        form: `csv`, `parquet` or `tensorboard`.
        schedule: only of this one.
        every_version: also figures that were replaced when labels came late.

    Raises:
        steps.errors.DataRefused: the format is unknown, or needs a package that is missing.
    """
    from steps.exports import Judged, export

    figures = history.figures(endpoint, "", schedule, every_version=every_version, last=ALL)
    judged = [
        Judged(
            one.window.end,
            one.schedule,
            one.kind,
            one.status.value,
            one.rows,
            one.variant,
            one.version,
            one.violations,
            one.notes,
        )
        for one in history.executions(endpoint, schedule, last=ALL)
    ]
    return export(tuple(points(figures)), judged, out, form)


def points(measured: Iterable[Datapoint]) -> Iterator[Point]:
    """Figures as the store keeps them, for pages and exports."""
    for one in measured:
        figure = one.figure
        yield Point(
            at=one.window.end,
            name=figure.name,
            value=figure.value,
            low=figure.low,
            high=figure.high,
            n=figure.n,
            estimated=figure.estimated,
            dimensions=figure.dimensions,
            variant=one.variant,
            schedule=one.schedule,
            look=one.version,
        )


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that monitoring did, or decided to leave."""

    endpoint: str
    source: str
    """Name of the alarm, or `guard`, or `retrain`."""
    action: str
    """`notify`, `retrain` or `rollback`."""
    acted: bool
    """Something was set going."""
    at: datetime

    @classmethod
    def of_alarm(cls, action: Action) -> Deed:
        """An action that an alarm asked for."""
        left = not action.outcome or action.outcome.startswith(_LEFT)
        return cls(action.alert.endpoint, action.alert.alarm, action.name, not left, action.alert.since)


_LEFT = ("not ", "nobody ", "failed ")
"""How outcomes of actions begin that came to nothing."""


def exposition(
    newest: Sequence[tuple[Execution, Sequence[Datapoint]]],
    latest: Sequence[Execution],
    alerts: Sequence[Alert],
    now: datetime,
    deeds: Sequence[Deed] = (),
) -> bytes:
    """What Prometheus scrapes.

    Args:
        newest: the latest execution of each schedule that has a verdict, with its figures.
        latest: the latest execution of each schedule, whatever became of it.
        alerts: as they stand.
        now: for ages.
        deeds: what was done, or left.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    class Collector:
        def collect(self) -> Iterator[GaugeMetricFamily]:
            yield from _figures(newest)
            yield from _executions(newest, latest, now)
            yield _alerts(alerts)
            yield _deeds(deeds, now)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return generate_latest(registry)


def _figures(newest: Sequence[tuple[Execution, Sequence[Datapoint]]]) -> Iterator[GaugeMetricFamily]:
    labels = (*_OF, "metric_name", "variant", "estimated", "dimensions")
    value = _gauge("figure", "A figure of the latest window, by SageMaker's metric name.", labels)
    low = _gauge("figure_low", "Lower end of its interval.", labels)
    high = _gauge("figure_high", "Upper end of its interval.", labels)
    count = _gauge("figure_rows", "Rows behind it.", labels)
    for execution, points in newest:
        for point in points:
            figure = point.figure
            dimensions = ",".join(f"{name}={text}" for name, text in figure.dimensions)
            own = (execution.endpoint, execution.schedule, figure.name, point.variant)
            told = [*own, str(figure.estimated).lower(), dimensions]
            for family, number in ((value, figure.value), (low, figure.low), (high, figure.high)):
                if number is not None:
                    family.add_metric(told, number)
            count.add_metric(told, figure.n)
    yield from (value, low, high, count)


def _executions(
    newest: Sequence[tuple[Execution, Sequence[Datapoint]]], latest: Sequence[Execution], now: datetime
) -> Iterator[GaugeMetricFamily]:
    violations = _gauge("violations", "Constraints that the latest window violates.", _OF)
    rows = _gauge("rows", "Rows of the latest window.", _OF)
    for execution, _ in newest:
        of = [execution.endpoint, execution.schedule]
        violations.add_metric(of, len(execution.violations))
        rows.add_metric(of, execution.rows)
    status = _gauge("execution_status", "1 for the status of the latest execution.", (*_OF, "status"))
    age = _gauge("execution_age_seconds", "Time since the latest execution changed its status.", _OF)
    for execution in latest:
        of = [execution.endpoint, execution.schedule]
        status.add_metric([*of, execution.status.value], 1)
        age.add_metric(of, (now - execution.modified).total_seconds())
    yield from (violations, rows, status, age)


def _alerts(alerts: Sequence[Alert]) -> GaugeMetricFamily:
    family = _gauge("alert", "1 while an alarm is in alert.", ("endpoint", "alarm", "monitoring_type"))
    for alert in alerts:
        family.add_metric([alert.endpoint, alert.alarm, alert.kind], alert.status is AlertStatus.IN_ALERT)
    return family


def _deeds(deeds: Sequence[Deed], now: datetime) -> GaugeMetricFamily:
    family = _gauge(
        "action_age_seconds", "Time since it last happened.", ("endpoint", "source", "action", "acted")
    )
    latest: dict[tuple[str, ...], datetime] = {}
    for one in deeds:
        key = (one.endpoint, one.source, one.action, str(one.acted).lower())
        latest[key] = max(one.at, latest.get(key, one.at))
    for named, at in latest.items():
        family.add_metric(named, (now - at).total_seconds())
    return family


def _gauge(name: str, told: str, labels: Sequence[str]) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(f"seaway_monitoring_{name}", told, labels=list(labels))
