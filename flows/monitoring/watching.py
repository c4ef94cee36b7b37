"""Starting and stopping to watch an endpoint, and calling for a run whenever something is due.

The controller calls: Prefect's own scheduler does not work on SQLAlchemy 2.1.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from configs.monitor import Monitor, following
from deploy.errors import RolloutRefused
from flows.monitoring.executions import Watch
from flows.monitoring.logbook import Logbook
from flows.monitoring.subject import watched
from flows.monitoring.windows import SETTLE, call

if TYPE_CHECKING:
    from flows.wiring import Wiring

log = logging.getLogger(__name__)

DEPLOYMENT = "monitor/monitor"
SCHEDULED, STOPPED = "Scheduled", "Stopped"


def start(wiring: Wiring, endpoint: str, now: datetime, settings: Monitor | None = None) -> Watch:
    """Watch an endpoint from now on; one that is watched gets the new settings and misses nothing.

    Args:
        wiring: of the installation.
        endpoint: its name.
        now: the present.
        settings: instead of those of the version that serves.

    Raises:
        RolloutRefused: the endpoint cannot be watched, or nobody said how.
        registry.errors.RegistryError: the registry does not have, or give, what the version is.
    """
    history = Logbook.of(wiring.engine).history
    before = history.watched(endpoint)
    goes_on = before is not None and before.status == SCHEDULED
    given = settings.model_dump_json() if settings else ""
    watch = Watch(endpoint, SCHEDULED, before.since if before and goes_on else now, given)
    found = watched(wiring, endpoint, watch)
    kept = replace(watch, effective=found.settings.model_dump_json())
    history.watch(kept)
    return kept


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


def ended(wiring: Wiring, endpoint: str, now: datetime) -> bool:
    """End the watch of an endpoint that was removed; tells whether it was."""
    if wiring.store.endpoint(endpoint) is not None:
        return False
    watch = Logbook.of(wiring.engine).history.watched(endpoint)
    if watch is not None and watch.status == SCHEDULED:
        stop(wiring, endpoint, now)
    return True


def next_run(watch: Watch, now: datetime) -> datetime | None:
    """When something is looked at next."""
    settings = Monitor.model_validate_json(watch.effective)
    times = [following(settings.when(kind), now) for kind in settings.kinds]
    return min((time + SETTLE for time in times if time), default=None)


class Caller:
    """Starts a run of the monitor flow for every scheduled time, once; made anew it forgets nothing.

    Args:
        wiring: of the installation.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._history = Logbook.of(wiring.engine).history
        self._called: dict[str, datetime] = {}

    def look(self, now: datetime) -> int:
        """Start the runs that are due; returns how many were asked for.

        Raises:
            flows.trigger.TriggerError: Prefect does not answer, or refuses.
        """
        count = 0
        for watch in self._history.watches():
            if watch.status != SCHEDULED or not watch.effective:
                continue
            moment = call(Monitor.model_validate_json(watch.effective), now, watch.since)
            if moment is None or self._called.get(watch.endpoint) == moment:
                continue
            key = f"monitor:{watch.endpoint}:{watch.since:%Y%m%dT%H%M%S}:{moment:%Y%m%dT%H%M}"
            self._wiring.trigger.create(
                DEPLOYMENT, {"endpoint": watch.endpoint}, key, tags=("monitor", watch.endpoint)
            )
            self._called[watch.endpoint] = moment
            count += 1
        return count
