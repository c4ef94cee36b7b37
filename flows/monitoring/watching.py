"""Starting and stopping to watch an endpoint: a row in the store, and a deployment with schedules."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from configs.monitor import Monitor, following
from deploy.errors import RolloutRefused
from flows.monitoring.executions import Watch
from flows.monitoring.logbook import Logbook
from flows.monitoring.subject import Watched, watched
from flows.monitoring.windows import prefect_schedules
from flows.trigger import TriggerRefused

if TYPE_CHECKING:
    from flows.wiring import Wiring

SOURCE = "monitor/monitor"
"""The deployment that the worker offers; it runs when somebody asks."""
SCHEDULED, STOPPED, FAILED = "Scheduled", "Stopped", "Failed"


def deployment(endpoint: str) -> str:
    """Name of the scheduled deployment of an endpoint; no endpoint's name has a dot."""
    return f"{endpoint}.schedule"


def start(wiring: Wiring, endpoint: str, now: datetime, settings: Monitor | None = None) -> Watch:
    """Watch an endpoint from now on; one that is watched gets the new settings and misses nothing.

    Args:
        wiring: of the installation.
        endpoint: its name.
        now: the present.
        settings: instead of those of the version that serves.

    Raises:
        RolloutRefused: the endpoint cannot be watched, or nobody said how.
        flows.trigger.TriggerError: Prefect does not answer, or refuses.
    """
    history = Logbook.of(wiring.engine).history
    before = history.watched(endpoint)
    goes_on = before is not None and before.status == SCHEDULED
    given = settings.model_dump_json() if settings else ""
    watch = Watch(endpoint, SCHEDULED, before.since if before and goes_on else now, given)
    found = watched(wiring, endpoint, watch)
    _offer(wiring, found, watch, paused=False)
    history.watch(watch)
    return watch


def stop(wiring: Wiring, endpoint: str, now: datetime) -> int:
    """Watch an endpoint no more; returns how many executions were under way and will stop.

    Raises:
        RolloutRefused: nobody watches it.
    """
    history = Logbook.of(wiring.engine).history
    before = history.watched(endpoint)
    if before is None or before.status != SCHEDULED:
        raise RolloutRefused(f"endpoint {endpoint} is not watched; `seaway monitor status` shows what is")
    history.watch(replace(before, status=STOPPED))
    wiring.trigger.withdraw(f"monitor/{deployment(endpoint)}")
    return history.stop(endpoint, now)


def follow(wiring: Wiring, endpoint: str, now: datetime) -> Watch | None:
    """After a promotion: watch the endpoint as the version that serves wants it.

    What a person stopped, or gave settings for, stays as it is. None when nothing is to be watched.
    """
    before = Logbook.of(wiring.engine).history.watched(endpoint)
    if before is not None and (before.status == STOPPED or before.settings):
        return before
    try:
        return start(wiring, endpoint, now)
    except RolloutRefused:
        return None


def next_run(found: Watched, now: datetime) -> datetime | None:
    """When something is due next."""
    settings = found.settings
    times = [following(settings.when(kind), now) for kind in settings.kinds]
    return min((time for time in times if time), default=None)


def _offer(wiring: Wiring, found: Watched, watch: Watch, *, paused: bool) -> None:
    history = Logbook.of(wiring.engine).history
    try:
        wiring.trigger.offer(
            SOURCE,
            deployment(found.endpoint),
            {"endpoint": found.endpoint},
            prefect_schedules(found.settings),
            paused=paused,
            tags=("monitor", found.endpoint),
        )
    except TriggerRefused as refusal:
        history.watch(replace(watch, status=FAILED, reason=str(refusal)))
        raise
