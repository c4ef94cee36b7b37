"""Which windows of time an execution looks at, and which are due. Decisions only; times are UTC."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from configs.monitor import Every, Kind, Monitor, cron_of, latest

HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)
SCHEDULES: dict[Kind, str] = {
    "DataQuality": "data-quality",
    "ModelQuality": "model-quality",
    "ModelBias": "bias",
    "ModelExplainability": "explainability",
}
"""Name of the recurring schedule of each kind; reports and figures are kept by it."""
ON_DEMAND = "now-"
"""How the names of schedules begin that run once, because somebody asked."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A stretch of time to look at, from `start` up to and without `end`."""

    scheduled: datetime
    """When it is due; reports are filed under this time."""
    start: datetime
    end: datetime

    def hours(self) -> Iterator[datetime]:
        """Every hour that the window touches."""
        hour = hour_of(self.start)
        while hour < self.end:
            yield hour
            hour += HOUR

    def covers(self, hour: datetime) -> bool:
        """The whole hour lies inside."""
        return self.start <= hour and hour + HOUR <= self.end

    @property
    def folder(self) -> str:
        """`yyyy/mm/dd/hh`, and the minute when it is not zero."""
        minute = f"/{self.scheduled:%M}" if self.scheduled.minute else ""
        return f"{self.scheduled:%Y/%m/%d/%H}{minute}"


def hour_of(moment: datetime) -> datetime:
    """The beginning of its hour, UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def window(settings: Monitor, kind: Kind, scheduled: datetime) -> Window:
    """What an execution due at a moment looks at: since the one before, unless offsets say otherwise."""
    start, end = settings.offsets(kind)
    if start is not None:
        return Window(scheduled, scheduled - start, scheduled - end)
    before = latest(settings.when(kind), scheduled - TICK) or scheduled - HOUR
    return Window(scheduled, before - end, scheduled - end)


def due(
    settings: Monitor, kind: Kind, now: datetime, since: datetime, done: Callable[[datetime], bool]
) -> tuple[Window, ...]:
    """Windows that should have been looked at and were not, oldest first: the present one and some missed.

    Args:
        settings: of the endpoint.
        kind: of monitor.
        now: the present.
        since: when watching began; nothing scheduled before it, or at it, is due.
        done: tells whether the window scheduled at a moment was looked at.
    """
    return tuple(
        reversed(
            [
                window(settings, kind, moment)
                for moment in _recent(settings.when(kind), now, since, settings.catch_up + 1)
                if not done(moment)
            ]
        )
    )


def _recent(schedule: str | Every, now: datetime, since: datetime, most: int) -> Iterator[datetime]:
    """The latest scheduled times, newest first; bounded, so that a long downtime is not made up for."""
    moment = latest(schedule, now)
    for _ in range(most):
        if moment is None or moment <= since:
            return
        yield moment
        moment = latest(schedule, moment - TICK)


def on_demand(start: datetime, end: datetime) -> Window:
    """What somebody asks for now: filed under its end.

    Raises:
        ValueError: it ends before it begins.
    """
    if start >= end:
        raise ValueError("the window ends before it begins; give --from a longer time than --to")
    return Window(end, start, end)


def prefect_schedules(settings: Monitor) -> list[dict[str, object]]:
    """The schedules of a Prefect deployment, which wake the flow whenever something may be due.

    Prefect's cron knows neither years nor the last working day of a month: it wakes the flow too often then,
    and the flow finds nothing due.
    """
    found = {_prefect(settings.when(kind)) for kind in settings.kinds}
    return [
        {"interval": seconds, "anchor_date": "1970-01-01T00:00:00+00:00", "timezone": "UTC"}
        if seconds
        else {"cron": cron, "timezone": "UTC"}
        for cron, seconds in sorted(found)
    ]


def _prefect(schedule: str | Every) -> tuple[str, float]:
    if isinstance(schedule, Every):
        return "", schedule.every.total_seconds()
    cron = cron_of(schedule)
    days = "*" if isinstance(cron.days, str) else _listed(cron.days, 31)
    weekdays = cron.weekdays if isinstance(cron.weekdays, str) else {day - 1 for day in cron.weekdays}
    in_week = "*" if isinstance(weekdays, str) else _listed(weekdays, 7)
    clock = f"{_listed(cron.minutes, 60)} {_listed(cron.hours, 24)}"
    return f"{clock} {days} {_listed(cron.months, 12)} {in_week}", 0.0


def _listed(values: Collection[int], whole: int) -> str:
    return "*" if len(values) == whole else ",".join(map(str, sorted(values)))
