"""Executions of monitors, their figures, alerts and what these ask for: values, as the store keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from configs.monitor import Kind
from flows.monitoring.windows import Window
from monitoring.findings import Figure, Violation

NO_DATA = "Job inputs had no data"
"""SageMaker's failure reason for a window without rows."""
FAILURE = 1024
"""Longest failure reason."""


class Status(StrEnum):
    """SageMaker's ExecutionStatus."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    VIOLATED = "CompletedWithViolations"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"

    @property
    def final(self) -> bool:
        """It has ended."""
        return self not in {Status.PENDING, Status.IN_PROGRESS, Status.STOPPING}

    @property
    def judged(self) -> bool:
        """It says whether the window meets its constraints."""
        return self in {Status.COMPLETED, Status.VIOLATED}


@dataclass(frozen=True, slots=True)
class Execution:
    """One look at one window."""

    endpoint: str
    schedule: str
    """For example `data-quality`, or `now-data-quality` when somebody asked for it."""
    kind: Kind
    window: Window
    status: Status
    created: datetime
    """When it was first asked for."""
    modified: datetime
    """When its status changed last."""
    variant: str = ""
    """Who answered what was looked at."""
    model: str = ""
    version: str = ""
    rows: int = 0
    violations: tuple[Violation, ...] = ()
    reason: str = ""
    """Why it failed or was stopped."""
    notes: tuple[str, ...] = ()
    report: str = ""
    """Folder of its files."""
    flow_run: str = ""
    """Prefect's id of the run that did it."""
    hours: Mapping[str, str] = field(default_factory=dict)
    """What it has read: a digest by hour. Another digest later means labels or captures that came late."""
    revision: int = 0
    """How often it was done; 0 before it ended for the first time."""
    holder: str = ""
    """Token of the run that looks at it, or looked last; what another one brings is not kept."""

    @property
    def exit_message(self) -> str:
        """What SageMaker's processing job says."""
        match self.status:
            case Status.VIOLATED:
                count = len(self.violations)
                return f"CompletedWithViolations: Job completed successfully with {count} violations."
            case Status.COMPLETED:
                return "Completed: Job completed successfully with no violations."
            case _:
                return self.reason

    @property
    def judged(self) -> bool:
        """It says something about rows; alerts look at no other. A window without labels yet has none."""
        return self.status.judged and self.rows > 0

    @property
    def key(self) -> tuple[str, str, datetime]:
        """What there is one of."""
        return self.endpoint, self.schedule, self.window.scheduled


@dataclass(frozen=True, slots=True)
class Datapoint:
    """A figure of one window."""

    endpoint: str
    schedule: str
    kind: Kind
    window: Window
    figure: Figure
    variant: str = ""
    version: int = 1
    """Counts how often the window was looked at; labels that come late make a new one."""


class AlertStatus(StrEnum):
    """SageMaker's AlertStatus."""

    OK = "OK"
    IN_ALERT = "InAlert"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alarm as it stands, or, in its history, as it became."""

    endpoint: str
    alarm: str
    status: AlertStatus
    since: datetime
    kind: Kind = "DataQuality"
    schedule: str = ""
    reason: str = ""
    """How many of which executions breach."""
    scheduled: datetime | None = None
    """The execution that decided."""
    version: str = ""
    """Model version that was looked at."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that an alarm asked for when it began, or ended."""

    id: str
    """The same transition and action always give the same one."""
    alert: Alert
    name: str
    """`notify`, `retrain` or `rollback`."""
    outcome: str = ""
    """What came of it; empty while it is still to be done."""


@dataclass(frozen=True, slots=True)
class Watch:
    """An endpoint that is watched, or was."""

    endpoint: str
    status: str
    """SageMaker's ScheduleStatus: Pending, Failed, Scheduled or Stopped."""
    since: datetime
    """Nothing scheduled before is made up for."""
    settings: str = ""
    """Settings as JSON that somebody gave; those of the version that serves when empty."""
    effective: str = ""
    """Those that hold, whoever gave them."""
    reason: str = ""
    """Why it failed."""
