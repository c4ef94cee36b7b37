"""From running totals to what happened since the last look."""

from __future__ import annotations

from datetime import datetime

from deploy.port import Counters
from monitoring.alarms import Sample


def increase(before: Counters | None, after: Counters, at: datetime) -> Sample:
    """What was answered between two looks. A total that fell means that the gateway restarted from zero."""
    start = before if before is not None and not _restarted(before, after) else Counters()
    earlier = dict(start.latency)
    return Sample(
        at=at,
        requests=after.requests - start.requests,
        errors_4xx=after.errors_4xx - start.errors_4xx,
        errors_5xx=after.errors_5xx - start.errors_5xx,
        latency=tuple((bound, count - earlier.get(bound, 0)) for bound, count in after.latency),
        other={name: value - start.other.get(name, 0) for name, value in after.other.items()},
    )


def _restarted(before: Counters, after: Counters) -> bool:
    return any(new < old for old, new in zip(_totals(before), _totals(after), strict=True))


def _totals(counters: Counters) -> tuple[int, ...]:
    answered = counters.latency[-1][1] if counters.latency else 0
    return counters.requests, counters.errors_4xx, counters.errors_5xx, answered
