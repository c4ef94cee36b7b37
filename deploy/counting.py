"""From running totals to what happened since the last look."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime

from deploy.port import Counters, Totals
from monitoring.alarms import Sample, merge

UNMET = "upstream_cx_none_healthy"
"""The gateway's counter of requests for which there was no healthy instance."""


def increase(before: Totals, after: Totals, at: datetime) -> Sample:
    """What was answered between two looks, by all gateways; an absent one tells its part later."""
    parts = [_increase(before.get(gateway), counters, at) for gateway, counters in after.items()]
    further: Counter[str] = Counter()
    for part in parts:
        further.update(part.other)  # keeps zeros, which alarms need: a sum of counters would drop them
    return Sample(
        at=at,
        requests=sum(part.requests for part in parts),
        errors_4xx=sum(part.errors_4xx for part in parts),
        errors_5xx=sum(part.errors_5xx for part in parts),
        latency=merge([part.latency for part in parts]),
        other=dict(further),
    )


def without_unmet(sample: Sample) -> Sample:
    """The sample without requests that found no instance: an asynchronous call stays in its queue then."""
    unmet = sample.other.get(UNMET, 0)
    return replace(
        sample, requests=max(0, sample.requests - unmet), errors_5xx=max(0, sample.errors_5xx - unmet)
    )


def _increase(before: Counters | None, after: Counters, at: datetime) -> Sample:
    """One gateway's part. A total that fell means that it restarted from zero.

    What a gateway refused is no answer of a model: it is the further counter `refused`.
    """
    start = before if before is not None and not _restarted(before, after) else Counters()
    refused = after.refused - start.refused  # read an instant apart from the totals, so it may be ahead
    earlier = dict(start.latency)
    return Sample(
        at=at,
        requests=max(0, after.requests - start.requests - refused),
        errors_4xx=after.errors_4xx - start.errors_4xx,
        errors_5xx=max(0, after.errors_5xx - start.errors_5xx - refused),
        latency=tuple((bound, count - earlier.get(bound, 0)) for bound, count in after.latency),
        other={name: value - start.other.get(name, 0) for name, value in after.other.items()}
        | {"refused": refused},
    )


def _restarted(before: Counters, after: Counters) -> bool:
    totals = zip(_totals(before), _totals(after), strict=True)
    return after.uptime < before.uptime or any(new < old for old, new in totals)


def _totals(counters: Counters) -> tuple[int, ...]:
    answered = counters.latency[-1][1] if counters.latency else 0
    return counters.requests, counters.errors_4xx, counters.errors_5xx, answered
