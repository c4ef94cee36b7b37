"""Normal bootstrap intervals: value ± z times the standard deviation over resamples.

A resample of rows is a multinomial draw of the counts they make: a million rows cost no more than a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from monitoring.bias.catalogue import POST, PRE, Metric
from monitoring.bias.metrics import Floats, Side
from monitoring.bias.settings import Mode

MOST_CELLS = 20_000
"""Counts of a facet up to which intervals respect the group variable."""
_NUMBERS = 4_000_000
"""Numbers that are held at a time."""
_DEFINED = 0.9
"""Share of the resamples in which a metric must be a finite number."""

Interval = tuple[float, float]


def spreads(
    cells: NDArray[np.int64],
    keys: Sequence[int],
    metrics: Sequence[Metric],
    mode: Mode,
    rng: np.random.Generator,
    resamples: int,
) -> dict[tuple[int, str], float | None]:
    """Standard deviation over resamples by key and metric; None where it is not defined.

    Args:
        cells: rows by key, group, label and prediction.
        keys: those that are compared with everybody else.
        metrics: those that are functions of counts.
        mode: see `monitoring.bias.metrics`.
        rng: where resamples come from.
        resamples: how many.
    """
    wide = cells.shape[1] > 1 and np.count_nonzero(cells) > MOST_CELLS
    used = cells.sum(1, keepdims=True) if wide else cells
    wanted = [metric for metric in metrics if metric.formula and not (wide and metric.grouped)]
    found: dict[tuple[int, str], list[Floats]] = {(key, one.name): [] for key in keys for one in wanted}
    if resamples and used.sum():
        for drawn in _draws(used, rng, resamples):
            everybody = drawn.sum(1)
            for key in keys:
                sides = Side(drawn[:, key]), Side(everybody - drawn[:, key])
                for name, values in _values(*sides, wanted, mode):
                    found[key, name].append(values)
    return {at: _spread(np.concatenate(blocks)) if blocks else None for at, blocks in found.items()}


def _values(d: Side, a: Side, metrics: Sequence[Metric], mode: Mode) -> Iterator[tuple[str, Floats]]:
    parts = {(PRE, True): (d, a), (POST, True): (d.known, a.known)}
    parts |= {(stage, False): (one.together, other.together) for (stage, _), (one, other) in parts.items()}
    for metric in metrics:
        if metric.formula:
            yield metric.name, metric.formula(*parts[metric.stage, metric.grouped], mode)


def interval(value: float | None, spread: float | None, z: float) -> Interval | None:
    """The interval around a value; None where one of them is not known."""
    if value is None or spread is None or not math.isfinite(value):
        return None
    return value - z * spread, value + z * spread


def _draws(cells: NDArray[np.int64], rng: np.random.Generator, resamples: int) -> Iterator[Floats]:
    filled = np.flatnonzero(cells)
    flat = cells.ravel()[filled]
    size = max(1, min(resamples, _NUMBERS // cells.size))
    for start in range(0, resamples, size):
        number = min(size, resamples - start)
        drawn = np.zeros((number, cells.size))
        drawn[:, filled] = rng.multinomial(int(flat.sum()), flat / flat.sum(), number)
        yield drawn.reshape(number, *cells.shape)


def _spread(values: Floats) -> float | None:
    defined = values[np.isfinite(values)]
    if len(defined) < max(2.0, _DEFINED * len(values)):
        return None
    return float(np.std(defined, ddof=1))
