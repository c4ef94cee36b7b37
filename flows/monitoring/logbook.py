"""What monitoring keeps in the store of an installation: one handle on all of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from flows.monitoring.alerting import Alerts
from flows.monitoring.chains import Chains
from flows.monitoring.decisions import Decisions
from flows.monitoring.executions import Execution
from flows.monitoring.exporting import Deed, exposition
from flows.monitoring.history import History


@dataclass(frozen=True, slots=True)
class Logbook:
    """Schedules, executions, figures, alerts and actions."""

    history: History
    alerts: Alerts
    decisions: Decisions
    chains: Chains

    @classmethod
    def of(cls, engine: sa.Engine) -> Logbook:
        """The logbook in a database; its tables are made if need be."""
        history = History(engine)
        history.create()
        return cls(history, Alerts(engine), Decisions(engine), Chains(engine))

    def latest(self) -> tuple[Execution, ...]:
        """The latest execution of every recurring schedule, whatever became of it."""
        return self.history.latest()

    def metrics(self, now: datetime) -> bytes:
        """Everything that stands, for Prometheus."""
        deeds = tuple(self.deeds())
        return exposition(self.history.newest(), self.latest(), self.alerts.alerts(), now, deeds)

    def deeds(self) -> Iterator[Deed]:
        """What was lately done, or left, for every endpoint: by alarms, the guard and retraining."""
        for endpoint in dict.fromkeys(watch.endpoint for watch in self.history.watches()):
            for action in self.alerts.taken(endpoint):
                yield Deed.of_alarm(action)
            for decision in self.decisions.latest(endpoint):
                done = "rollback" if decision.about == "guard" else decision.about
                yield Deed(endpoint, decision.about, done, decision.acted, decision.at)
