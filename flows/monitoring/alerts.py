"""When executions become an alarm: so many that breach among the latest so many. Decisions only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from configs.monitor import MonitorAlarm
from flows.monitoring.executions import Action, Alert, AlertStatus, Execution
from flows.monitoring.windows import SCHEDULES
from monitoring.drift import components, isolation, over_time
from monitoring.findings import Figure, Violation

Figures = Mapping[datetime, Sequence[Figure]]
"""Figures of executions, by the time they were scheduled for."""


@dataclass(frozen=True, slots=True)
class Counted:
    """How the latest executions look to an alarm."""

    breaching: int
    seen: int
    alarm: MonitorAlarm

    @property
    def status(self) -> AlertStatus:
        """In alert when enough of them breach, also while there are fewer than the period asks for."""
        enough = self.breaching >= self.alarm.datapoints_to_alert
        return AlertStatus.IN_ALERT if enough else AlertStatus.OK

    @property
    def reason(self) -> str:
        """For people."""
        about = f" of {self.alarm.figure}" if self.alarm.figure else ""
        return f"{self.breaching} of the latest {self.seen} executions of {self.alarm.monitor} breach{about}"


def breaches(alarm: MonitorAlarm, execution: Execution, figures: Sequence[Figure]) -> bool:
    """Whether an execution counts against the endpoint."""
    if not alarm.figure:
        return bool(execution.violations)
    if alarm.min is None and alarm.max is None:
        return any(concerns(violation, alarm.figure) for violation in execution.violations)
    low, high = alarm.min, alarm.max
    return any(
        (low is not None and value < low) or (high is not None and value > high)
        for value in _values(alarm.figure, figures)
    )


def _values(name: str, figures: Sequence[Figure]) -> list[float]:
    """What was measured, or, while nothing was, what is estimated; the parts of a distance are left out."""
    named = [one for one in figures if one.name == name and "Distance" not in dict(one.dimensions)]
    known = [(one.value, one.estimated) for one in named if one.value is not None]
    return [value for value, estimated in known if not estimated] or [value for value, _ in known]


def concerns(violation: Violation, figure: str) -> bool:
    """Whether a violation is about what a figure measures: its column, its metric, or the whole model."""
    if figure in _WHOLE:
        return violation.check == _WHOLE[figure]
    subject = dict(violation.subject)
    if column := subject.get("feature_name"):
        return figure in {f"{name}_{column}" for name in _OF_COLUMNS}
    metric = subject.get("metric_name", "")
    return figure in {metric, f"bias_metric_{metric}"} or (metric == "shap" and figure == "ndcg")


_WHOLE = {
    over_time.FIGURE: over_time.CHECK,
    isolation.FIGURE: isolation.CHECK,
    components.FIGURE: components.CHECK,
}
_OF_COLUMNS = (
    "feature_baseline_drift",
    "feature_non_null",
    "feature_data",
    "feature_type_match",
    "feature_in_domain",
)


def count(alarm: MonitorAlarm, executions: Sequence[Execution], figures: Figures) -> Counted:
    """Count the latest executions of an alarm's schedule that have a verdict.

    Only those of one version count, the one that was looked at last: a new version starts without a past.

    Args:
        alarm: how many of how many.
        executions: newest first; those of other schedules, and those without a verdict, are passed over.
        figures: of these executions.
    """
    schedule = SCHEDULES[alarm.monitor]
    judged = [one for one in executions if one.schedule == schedule and one.judged]
    newest = judged[0].version if judged else ""
    latest = [one for one in judged if one.version == newest][: alarm.evaluation_period]
    bad = sum(breaches(alarm, one, figures.get(one.window.scheduled, ())) for one in latest)
    return Counted(bad, len(latest), alarm)


def change(before: Alert | None, counted: Counted, execution: Execution, now: datetime) -> Alert | None:
    """The alert as it becomes; None while it stays as it is. One that never was counts as OK.

    An alarm that goes on with another version begins anew, so that its actions are taken for that one too.
    """
    known = before.status if before else AlertStatus.OK
    goes_on = known is AlertStatus.IN_ALERT and before is not None and before.version == execution.version
    if counted.status is known and (known is AlertStatus.OK or goes_on):
        return None
    return Alert(
        endpoint=execution.endpoint,
        alarm=counted.alarm.name,
        status=counted.status,
        since=now,
        kind=execution.kind,
        schedule=execution.schedule,
        reason=counted.reason,
        scheduled=execution.window.scheduled,
        version=execution.version,
    )


def actions(alarm: MonitorAlarm, became: Alert) -> tuple[Action, ...]:
    """What a change asks for: everything when an alarm begins, a message when it ends."""
    begun = became.status is AlertStatus.IN_ALERT
    names = [name for name in dict.fromkeys(alarm.actions) if begun or name == "notify"]
    stamp = f"{became.endpoint}:{became.alarm}:{became.since:%Y%m%dT%H%M%S.%f}"
    return tuple(Action(f"monitor:{stamp}:{name}", became, name) for name in names)
