"""Rows drawn again without touching them: a resample of rows is a random draw of the counts they make.

A subsample without replacement of rows that fall into cells has multivariate hypergeometric counts, and a
bootstrap sample multinomial ones. So a million rows cost no more than a hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality.metric import CONFIDENCE, Metric

SUBSAMPLES = 5
SHARE = 0.8
FEWEST = 200
"""Rows from which on a standard deviation is given; as SageMaker has it."""
BOOTSTRAPS = 1000
_EXACT = 1_000_000_000
"""Rows up to which numpy can draw without replacement."""
_NUMBERS = 10_000_000
"""Numbers that a bootstrap may draw."""
_HELD = 2_000_000
"""Numbers that it holds at a time."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Formulas = Callable[[NDArray[Any]], Mapping[str, Floats]]
"""Counts, whose last axes are the cells, to metrics by name; NaN where one is not defined."""


def subsamples(cells: Ints, rng: np.random.Generator) -> Ints | None:
    """Five draws of 80 % of the rows without replacement, on a new first axis; None for few rows."""
    total = int(cells.sum())
    if total < FEWEST:
        return None
    flat, keep = cells.ravel(), int(SHARE * total)
    if total >= _EXACT:
        drawn = rng.binomial(flat, SHARE, (SUBSAMPLES, flat.size))
    elif 8 * flat.size > total:
        drawn = rng.multivariate_hypergeometric(flat, keep, SUBSAMPLES, method="count")
    else:
        drawn = rng.multivariate_hypergeometric(flat, keep, SUBSAMPLES, method="marginals")
    return np.asarray(drawn, dtype=np.int64).reshape(SUBSAMPLES, *cells.shape)


def deviation(draws: Floats) -> float | None:
    """Standard deviation of the metric over subsamples; None where it is not defined in all of them."""
    return float(np.std(draws)) if len(draws) and np.isfinite(draws).all() else None


def bootstrap(
    cells: NDArray[Any], formulas: Formulas, rng: np.random.Generator, *, most: int
) -> dict[str, Floats]:
    """Metrics of bootstrap samples of the rows, a bounded number of counts at a time.

    Args:
        cells: counts, or expected counts, of rows.
        formulas: metrics of the counts.
        rng: where draws come from.
        most: samples; large tables get fewer, but at least a hundred.
    """
    flat = np.clip(cells.astype(np.float64).ravel(), 0.0, None)
    total, shares = round(float(flat.sum())), flat / flat.sum()
    count, size = int(np.clip(_NUMBERS // flat.size, 100, most)), max(1, _HELD // flat.size)
    found: list[Mapping[str, Floats]] = []
    for begin in range(0, count, size):
        drawn = rng.multinomial(total, shares, min(size, count - begin))
        found.append(formulas(drawn.reshape(-1, *cells.shape)))
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def interval(draws: Floats) -> tuple[float, float] | None:
    """Percentile interval; None where the metric is not defined in a tenth of the draws."""
    defined = draws[np.isfinite(draws)]
    if len(defined) < max(1.0, 0.9 * len(draws)):
        return None
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def metrics(
    cells: Ints,
    formulas: Formulas,
    rng: np.random.Generator,
    *,
    better: Mapping[str, tuple[float, float] | None],
) -> dict[str, Metric]:
    """Metrics of a table of counts with their standard deviations and intervals.

    Args:
        cells: counts of rows.
        formulas: metrics of the counts.
        rng: where draws come from.
        better: intervals that are known more exactly than by bootstrap, by metric.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = formulas(cells)
        if cells.sum() == 0:
            return {name: Metric(None) for name in exact}
        few = subsamples(cells, rng)
        spread = {} if few is None else formulas(few)
        drawn = bootstrap(cells, formulas, rng, most=BOOTSTRAPS)
    found = {}
    for name, value in exact.items():
        if not np.isfinite(value):
            found[name] = Metric(None)
            continue
        low, high = better.get(name) or interval(drawn[name]) or (None, None)
        found[name] = Metric(float(value), deviation(spread[name]) if name in spread else None, low, high)
    return found
