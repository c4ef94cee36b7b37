"""What monitoring keeps in the store of an installation: one handle on all of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from flows.monitoring.alerting import Alerts
from flows.monitoring.executions import Execution
from flows.monitoring.exporting import exposition
from flows.monitoring.history import History


@dataclass(frozen=True, slots=True)
class Logbook:
    """Schedules, executions, figures, alerts and actions."""

    history: History
    alerts: Alerts

    @classmethod
    def of(cls, engine: sa.Engine) -> Logbook:
        """The logbook in a database; its tables are made if need be."""
        history = History(engine)
        history.create()
        return cls(history, Alerts(engine))

    def latest(self) -> tuple[Execution, ...]:
        """The latest execution of every recurring schedule, whatever became of it."""
        return self.history.latest()

    def metrics(self, now: datetime) -> bytes:
        """Everything that stands, for Prometheus."""
        return exposition(self.history.newest(), self.latest(), self.alerts.alerts(), now)
