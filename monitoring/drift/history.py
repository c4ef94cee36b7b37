"""Anomalies in the history of one metric: is today's figure unlike those before it?

Every rule reads a series, oldest first, and names the places that stand out. None and NaN are gaps: they are
never anomalies and teach nothing. Places count from 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Series = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One figure that stands out."""

    place: int
    value: float
    low: float
    """What was expected at least."""
    high: float
    """What was expected at most."""


def online_normal(
    series: Series, factor: float = 3.0, *, learn: int = 10, keep: bool = False
) -> tuple[Anomaly, ...]:
    """Figures more than `factor` standard deviations from the mean of those before (Deequ's OnlineNormal).

    Deequ takes the figure itself into the mean that judges it, which blunts short histories. Here it is held
    against the n earlier ones only, their sample deviation widened by sqrt(1 + 1 / n) for their own chance.

    Args:
        series: the history.
        factor: standard deviations that are allowed.
        learn: figures at the beginning that are not judged; at least 2.
        keep: whether anomalies teach too; by default they leave mean and deviation as they are.
    """
    count, mean, squares = 0, 0.0, 0.0
    found = []
    for place, value in _known(series):
        ready = count >= max(2, learn)
        reach = factor * math.sqrt(squares / (count - 1) * (1 + 1 / count)) if ready else math.inf
        strange = abs(value - mean) > reach
        if strange:
            found.append(Anomaly(place, value, mean - reach, mean + reach))
        if not strange or keep:
            count += 1
            apart = value - mean
            mean += apart / count
            squares += apart * (value - mean)
    return tuple(found)


def ewma(series: Series, weight: float = 0.2, factor: float = 3.0, *, learn: int = 10) -> tuple[Anomaly, ...]:
    """Places where an exponentially weighted mean leaves its control limits: small shifts that last.

    Mean and deviation come from the first `learn` figures and stay. The limit after t figures is
    `factor` sigma sqrt(weight / (2 - weight) (1 - (1 - weight)^(2 t)) + 1 / learn) (Roberts, 1959); the last
    term is what a mean from so few figures may itself be off.

    Args:
        series: the history.
        weight: of the newest figure, above 0 and at most 1.
        factor: standard deviations of the weighted mean that are allowed.
        learn: figures that count as normal; at least 2.
    """
    known, first = _known(series), max(2, learn)
    mean, deviation = _level([value for _, value in known[:first]])
    found, smooth = [], mean
    for t, (place, value) in enumerate(known[first:], start=1):
        smooth += weight * (value - smooth)
        own = weight / (2 - weight) * (1 - (1 - weight) ** (2 * t))
        reach = factor * deviation * math.sqrt(own + 1 / first)
        if abs(smooth - mean) > reach:
            found.append(Anomaly(place, value, mean - reach, mean + reach))
    return tuple(found)


def page_hinkley(
    series: Series, tolerance: float = 0.5, threshold: float = 8.0, *, learn: int = 10
) -> tuple[Anomaly, ...]:
    """Places where the level has changed, upwards or downwards; after each the rule learns anew.

    Sums of deviations from the level, less a tolerance, are held against their own extreme (Page, 1954).

    Args:
        series: the history.
        tolerance: a change that does not count, in standard deviations.
        threshold: of the sums, in standard deviations; more than the usual 5, for the level is itself learnt.
        learn: figures from which level and deviation are learnt, at the start and after each change.
    """
    found: list[Anomaly] = []
    known, start = _known(series), 0
    while len(known) - start > max(2, learn):
        mean, deviation = _level([value for _, value in known[start : start + max(2, learn)]])
        at = _change(known, start + max(2, learn), (mean, deviation), tolerance, threshold)
        if at is None:
            break
        reach = tolerance * deviation
        found.append(Anomaly(*known[at], mean - reach, mean + reach))
        start = at
    return tuple(found)


def _change(
    known: Sequence[tuple[int, float]],
    first: int,
    level: tuple[float, float],
    tolerance: float,
    threshold: float,
) -> int | None:
    mean, deviation = level
    up = down = 0.0
    for at in range(first, len(known)):
        apart = known[at][1] - mean
        up = max(0.0, up + apart - tolerance * deviation)
        down = max(0.0, down - apart - tolerance * deviation)
        if max(up, down) > threshold * deviation:
            return at
    return None


def k_of_n(breaches: Sequence[bool | None], k: int, n: int) -> tuple[bool, ...]:
    """Whether at each place at least k of the last n known figures breached (CloudWatch's `M out of N`).

    Args:
        breaches: oldest first; None is a gap, which is passed over.
        k: SageMaker's `DatapointsToAlert`.
        n: SageMaker's `EvaluationPeriod`.
    """
    states: list[bool] = []
    recent: list[bool] = []
    for breach in breaches:
        if breach is not None:
            recent = [*recent, breach][-n:]
        states.append(sum(recent) >= k)
    return tuple(states)


def _known(series: Series) -> list[tuple[int, float]]:
    return [
        (place, value) for place, value in enumerate(series) if value is not None and math.isfinite(value)
    ]


def _level(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; the latter 0 for fewer than two."""
    if len(values) < 2:
        return (values[0] if values else 0.0), 0.0
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
