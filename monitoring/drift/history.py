"""Anomalies in the history of one metric: is today's figure unlike those before it?

Every rule reads a series, oldest first, and names the places that stand out. None and NaN are gaps: they are
never anomalies and teach nothing. Places count from 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Series = Sequence[float | None]
LEVEL = 0.01
"""Probability, at most, that a healthy window has an anomaly in any of the series looked at together."""


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


def newest(series: Series, tests: int = 1, level: float = LEVEL, *, learn: int = 10) -> Anomaly | None:
    """The newest figure, when it is unlike those before it; None also while these are too few or all equal.

    Held against the prediction interval of a normal figure (Student's t), shared out over all series that are
    looked at together, so that a healthy window shows any with probability `level` at most.

    Args:
        series: the history, the newest figure last.
        tests: series that are looked at together.
        level: of all of them.
        learn: figures before it at least.
    """
    from scipy.special import stdtrit

    known = [value for _, value in _known(series[:-1])]
    if len(known) < max(2, learn) or min(known) == max(known):
        return None
    factor = float(stdtrit(len(known) - 1, 1 - level / 2 / tests))
    found = online_normal(series, factor, learn=learn)
    return found[-1] if found and found[-1].place == len(series) - 1 else None


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
