"""An empirical distribution as a step function: what an array and a sketch have in common.

Distances, quantiles and counts are read off it, so every one of them exists once, for raw values and for
profiles alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """Values in ascending order with the weight at or below each."""

    values: Floats
    cumulative: Floats
    """Rows at or below the value; the last one is the number of rows."""

    @property
    def n(self) -> float:
        """Rows."""
        return float(self.cumulative[-1]) if self.cumulative.size else 0.0

    @property
    def weights(self) -> Floats:
        """Rows at each value."""
        return np.diff(self.cumulative, prepend=0.0)

    def below(self, at: ArrayLike, *, strictly: bool = False) -> Floats:
        """Rows at or below each of the given values; rows below them when `strictly`."""
        place = np.searchsorted(self.values, np.asarray(at, dtype=float), "left" if strictly else "right")
        return np.asarray(np.concatenate(([0.0], self.cumulative))[place], dtype=float)

    def cdf(self, at: ArrayLike) -> Floats:
        """Share of rows at or below each of the given values."""
        return np.asarray(self.below(at) / self.n, dtype=float)

    def quantile(self, q: ArrayLike) -> Floats:
        """Quantiles, linear between neighbouring ranks as numpy's default."""
        rank = np.asarray(q, dtype=float) * max(self.n - 1.0, 0.0)
        whole = np.floor(rank)
        low, high = self._ranked(whole), self._ranked(whole + 1.0)
        with np.errstate(invalid="ignore"):
            between = low * (1 - rank + whole) + high * (rank - whole)  # low + (high - low) could overflow
        return np.asarray(np.where(low == high, low, between), dtype=float)

    def _ranked(self, rank: Floats) -> Floats:
        place = np.searchsorted(self.cumulative, rank, "right")
        return np.asarray(self.values[np.minimum(place, self.values.size - 1)], dtype=float)


def of(values: ArrayLike) -> Distribution:
    """The distribution of raw values; NaN counts as missing and is left out."""
    flat = np.asarray(values, dtype=float).ravel()
    kept = np.sort(flat[~np.isnan(flat)])
    return Distribution(kept, np.arange(1.0, kept.size + 1.0))


def weighted(values: ArrayLike, cumulative: ArrayLike) -> Distribution:
    """The distribution that a sketch stands for.

    Args:
        values: ascending.
        cumulative: weight at or below each.
    """
    return Distribution(np.asarray(values, dtype=float), np.asarray(cumulative, dtype=float))


def linf(a: Distribution, b: Distribution) -> float:
    """Largest difference of the distribution functions, the Kolmogorov-Smirnov statistic; NaN when empty."""
    if not a.n or not b.n:
        return float("nan")
    at = np.union1d(a.values, b.values)
    return float(np.abs(a.cdf(at) - b.cdf(at)).max())


def wasserstein(a: Distribution, b: Distribution) -> float:
    """Area between the two distribution functions, in the unit of the values (W1). NaN when empty."""
    if not a.n or not b.n:
        return float("nan")
    at = np.union1d(a.values, b.values)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sum(np.abs(a.cdf(at[:-1]) - b.cdf(at[:-1])) * np.diff(at)))
