"""Threshold alarms with CloudWatch's rules for periods, datapoints and missing data."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from configs.rollout import Alarm


class AlarmState(StrEnum):
    """As CloudWatch names them."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one fleet answered in one short stretch of time that ended at `at`."""

    at: datetime
    requests: int = 0
    errors_4xx: int = 0
    errors_5xx: int = 0
    latency: tuple[tuple[float, int], ...] = ()
    """(upper bound in milliseconds, answers within it), cumulative, last bound infinite."""
    other: dict[str, int] = field(default_factory=dict)
    """Increments of any further counter."""


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def evaluate(alarm: Alarm, samples: Sequence[Sample], start: datetime, now: datetime) -> AlarmState:
    """State of an alarm at `now`, from samples taken after `start`.

    Periods are counted back from `now`. Only periods that lie wholly after `start` are looked at, so that an
    alarm never speaks about traffic from before the new version existed. CloudWatch's table for missing data
    applies: `breaching` and `notBreaching` fill the gap, `ignore` and `missing` leave it out; with nothing
    left the state is INSUFFICIENT_DATA.
    """
    values = _periods(alarm, samples, start, now)
    if not values:
        return AlarmState.INSUFFICIENT_DATA
    breaches = [_breach(alarm, value) for value in values]
    known = [breach for breach in breaches if breach is not None]
    needed = alarm.datapoints_to_alarm or alarm.evaluation_periods
    if sum(known) >= needed:
        return AlarmState.ALARM
    return AlarmState.OK if known else AlarmState.INSUFFICIENT_DATA


def _periods(alarm: Alarm, samples: Sequence[Sample], start: datetime, now: datetime) -> list[float | None]:
    whole = int((now - start) / alarm.period)
    values = []
    for back in range(min(alarm.evaluation_periods, whole)):
        end = now - back * alarm.period
        inside = [s for s in samples if end - alarm.period < s.at <= end]
        values.append(statistic(alarm.metric, alarm.statistic, inside))
    return values


def _breach(alarm: Alarm, value: float | None) -> bool | None:
    if value is None:
        return {"breaching": True, "notBreaching": False}.get(alarm.treat_missing_data)
    return _COMPARISONS[alarm.comparison](value, alarm.threshold)


def statistic(metric: str, name: str, samples: Sequence[Sample]) -> float | None:
    """One number for a set of samples, or None when there is nothing to compute it from.

    Rates are fractions from 0 to 1, latency is in milliseconds, other metrics are counts.
    """
    requests = sum(s.requests for s in samples)
    if metric == "requests":
        return float(requests) if samples else None
    if metric == "latency":
        return _latency(name, samples)
    errors = {
        "error_rate": sum(s.errors_4xx + s.errors_5xx for s in samples),
        "error_4xx_rate": sum(s.errors_4xx for s in samples),
        "error_5xx_rate": sum(s.errors_5xx for s in samples),
    }
    if metric in errors:
        if name == "sum":
            return float(errors[metric]) if requests else None
        return errors[metric] / requests if requests else None
    values = [s.other[metric] for s in samples if metric in s.other]
    if not values:
        return None
    return float(sum(values)) if name == "sum" else sum(values) / len(values)


def _latency(name: str, samples: Sequence[Sample]) -> float | None:
    buckets = merge(tuple(s.latency for s in samples))
    if not buckets or not buckets[-1][1]:
        return None
    if name in _QUANTILES:
        return quantile(buckets, _QUANTILES[name])
    total, below, low = 0.0, 0, 0.0
    for bound, count in buckets:
        high = bound if math.isfinite(bound) else low
        total += (count - below) * (low + high) / 2
        below, low = count, high
    return total if name == "sum" else total / below


def merge(histograms: Sequence[tuple[tuple[float, int], ...]]) -> tuple[tuple[float, int], ...]:
    """Add cumulative histograms that share their bounds; empty ones are skipped."""
    filled = [h for h in histograms if h]
    if not filled:
        return ()
    return tuple((bound, sum(h[i][1] for h in filled)) for i, (bound, _) in enumerate(filled[0]))


def quantile(buckets: tuple[tuple[float, int], ...], q: float) -> float | None:
    """Quantile of a cumulative histogram, linear inside its bucket; None when it is empty."""
    if not buckets or not buckets[-1][1]:
        return None
    rank = q * buckets[-1][1]
    below, low = 0, 0.0
    for bound, count in buckets:
        if count >= rank and count > below:
            return low if math.isinf(bound) else low + (bound - low) * (rank - below) / (count - below)
        below, low = count, bound
    return low


def slower_than(buckets: tuple[tuple[float, int], ...], milliseconds: float) -> int:
    """Answers that took longer than a bound of the histogram (the next bound upwards when it is none)."""
    if not buckets:
        return 0
    within = next((count for bound, count in buckets if bound >= milliseconds), buckets[-1][1])
    return buckets[-1][1] - within


def bound_at(buckets: tuple[tuple[float, int], ...], q: float) -> float | None:
    """The smallest bound of the histogram that at least a share `q` of the answers keep; None when empty."""
    if not buckets or not buckets[-1][1]:
        return None
    total = buckets[-1][1]
    return next(bound for bound, count in buckets if count >= q * total)
