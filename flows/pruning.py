"""Removal of step folders and packages that nobody uses, and of traffic and labels by age."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from configs.monitor import Monitor, following
from configs.retention import Item, Retention, Watching, expired_hours
from deploy import packages
from flows.wiring import Wiring
from serving.capture.settings import Settings as CaptureSettings
from steps import ageing, hours, job, labels
from steps.hour import SEAL

if TYPE_CHECKING:
    from flows.monitoring.executions import Watch
    from flows.monitoring.history import History


def prune_steps(
    wiring: Wiring, now: datetime, rule: Retention | None = None, *, dry_run: bool = False
) -> tuple[Item, ...]:
    """Step folders of former builds; by the settings without a rule. Returns what went, or would go."""
    settings = wiring.settings
    return job.prune(settings.home / "runs", rule or settings.retention, now, dry_run=dry_run)


def prune_packages(
    wiring: Wiring, now: datetime, rule: Retention | None = None, *, dry_run: bool = False
) -> tuple[Item, ...]:
    """Packages that no endpoint, rollout or fleet refers to; arguments and result as in `prune_steps`."""
    in_use, settings = wiring.store.packages(), wiring.settings
    return packages.prune(settings.home, in_use, rule or settings.retention, now, dry_run=dry_run)


def prune_monitoring(
    wiring: Wiring, now: datetime, rule: Retention | None = None, *, dry_run: bool = False
) -> tuple[Item, ...]:
    """Decoded hours and label files that are old; arguments and result as in `prune_steps`."""
    settings = wiring.settings
    by = rule or settings.retention
    return tuple(
        item
        for remove in (hours.prune, labels.prune)
        for item in remove(settings.home, by, now, dry_run=dry_run)
    )


def prune_captures(
    wiring: Wiring, now: datetime, age: timedelta | None = None, *, dry_run: bool = False
) -> tuple[Item, ...]:
    """Captured hours and their outcomes in the home that are old and that no monitor needs any more.

    Args:
        wiring: of the installation.
        now: the present moment.
        age: how long ago an hour must have ended; by the settings when not given.
        dry_run: remove nothing.

    Returns what went, or would go. Captures that a project keeps elsewhere are its own.
    """
    settings = wiring.settings
    kept = CaptureSettings(str(settings.home / "captures"))
    found = [
        hour
        for folder, kind in ((kept.destination, "captures"), (kept.outcomes, "outcomes"))
        for hour in ageing.captured_hours(Path(folder), kind)
    ]
    by = settings.captures_age if age is None else age
    old = expired_hours(found, {}, by, now)
    if not old:
        return ()
    endpoints = {hour.endpoint for hour in found}
    watching = dict(_watching(wiring, endpoints, now))
    return ageing.clear_hours(expired_hours(found, watching, by, now), dry_run=dry_run)


def _watching(wiring: Wiring, endpoints: Iterable[str], now: datetime) -> Iterator[tuple[str, Watching]]:
    """What monitors still have to read of these endpoints; nothing of those that nobody watches."""
    from flows.monitoring.logbook import Logbook
    from flows.monitoring.watching import SCHEDULED

    history = Logbook.of(wiring.engine).history
    for watch in history.watches():
        if watch.endpoint not in endpoints or watch.status != SCHEDULED:
            continue
        root = wiring.settings.home / "monitoring" / watch.endpoint
        read = {one.name: ageing.latest_hour(one, SEAL) for one in root.glob("*") if one.is_dir()}
        known = {variant: at for variant, at in read.items() if at is not None}
        yield watch.endpoint, Watching(watch.since, _needed(history, watch, now), known)


def _needed(history: History, watch: Watch, now: datetime) -> datetime:
    """Where the earliest window begins that a monitor will look at, looks at now, or may look at again."""
    from flows.monitoring import windows
    from flows.monitoring.running import LATE

    if not watch.effective:
        return watch.since
    settings, endpoint = Monitor.model_validate_json(watch.effective), watch.endpoint
    waiting = max(settings.label_wait, LATE)
    starts = [now - waiting]
    for kind in settings.kinds:
        name = windows.SCHEDULES[kind]
        starts += [
            one.start for one in windows.due(settings, kind, now, watch.since, _done(history, endpoint, name))
        ]
        if coming := following(settings.when(kind), now):
            starts.append(windows.window(settings, kind, coming).start)
        late = history.executions(endpoint, name, since=now - waiting, last=None)
        asked = history.executions(endpoint, f"{windows.ON_DEMAND}{name}")
        starts += [one.window.start for one in late]
        starts += [one.window.start for one in asked if not one.status.final]
    return min(starts)


def _done(history: History, endpoint: str, schedule: str) -> Callable[[datetime], bool]:
    def done(scheduled: datetime) -> bool:
        found = history.execution(endpoint, schedule, scheduled)
        return found is not None and found.status.final

    return done
