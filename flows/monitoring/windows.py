"""Which windows of time an execution looks at, and which are due. Decisions only; times are UTC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from configs.monitor import Every, Kind, Monitor, latest

HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)
SETTLE = timedelta(minutes=2)
"""A window is looked at so long after it is due: the last captures are written by then."""
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

    def touches(self, hour: datetime) -> bool:
        """Some of the hour lies inside."""
        return hour < self.end and self.start < hour + HOUR

    def covers(self, hour: datetime) -> bool:
        """The whole hour lies inside."""
        return self.start <= hour and hour + HOUR <= self.end

    @property
    def folder(self) -> str:
        """`yyyy/mm/dd/hh`, and below it minute and second where they are not zero."""
        second = f"-{self.scheduled:%S}" if self.scheduled.second else ""
        minute = f"/{self.scheduled:%M}{second}" if self.scheduled.minute or second else ""
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


def call(settings: Monitor, now: datetime, since: datetime) -> datetime | None:
    """The latest scheduled time of any kind at which a run is to be started; None when nothing is due yet.

    Args:
        settings: of the endpoint.
        now: the present.
        since: when watching began.
    """
    times = [latest(settings.when(kind), now - SETTLE) for kind in settings.kinds]
    return max((time for time in times if time and time > since), default=None)
