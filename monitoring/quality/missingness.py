"""Whether labels are missing at random: do rows with some predictions get their label more often than others?

Where they do, metrics of the labelled rows are not those of all rows. The test is the generalised
Cochran-Mantel-Haenszel statistic: whether a label is there is set against the group of the prediction within
each hour, so that younger hours with fewer labels cannot feign a difference. With one hour it is Pearson's
chi-square times (n - 1) / n. The p-value becomes an e-value; e-values of several windows may be averaged, and
those of windows that share no rows multiplied.

Sources: Landis, Heyman and Koch (1978); Vovk and Wang, "E-values" (Annals of Statistics 2021), for the
calibrator (1 - p + p ln p) / (p (ln p)^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality.resample import Floats

EVIDENCE = 20.0
"""E-value from which on a difference is told; such a one comes by chance in at most 1 of 20 windows."""
RELEVANT = 0.05
"""Smallest difference of coverage that is told, however certain it is."""
_FEW = 5.0
"""Rows with and without a label that a group needs, as expected counts."""
GROUPS = 10


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with similar predictions."""

    name: str
    rows: int
    labelled: int

    @property
    def coverage(self) -> float:
        """Share of the rows that have a label."""
        return self.labelled / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Missingness:
    """The outcome of the test."""

    groups: tuple[Group, ...]
    statistic: float
    degrees: int
    p_value: float
    e_value: float
    spread: float
    """Largest minus smallest coverage of a group."""

    @property
    def selective(self) -> bool:
        """Labels are not missing at random, by enough to matter."""
        return self.e_value >= EVIDENCE and self.spread >= RELEVANT


def test(
    groups: NDArray[Any], labelled: NDArray[np.bool_], hours: NDArray[Any], names: Sequence[str]
) -> Missingness | None:
    """Compare the coverage of groups; None when there are fewer than two that have enough rows.

    Args:
        groups: index of the group of each row; negative leaves the row out.
        labelled: whether the row has a label.
        hours: any value that says which rows are of one age.
        names: of the groups.
    """
    inside = groups >= 0
    counts = _counts(groups[inside], labelled[inside], hours[inside], len(names))
    rows, known = counts.sum(axis=(0, 2)), counts[:, :, 1].sum(axis=0)
    share = known.sum() / max(1, rows.sum())
    kept = np.flatnonzero(rows * min(share, 1 - share) >= _FEW).tolist()
    if len(kept) < 2:
        return None
    statistic, degrees = _statistic(counts[:, kept])
    if not degrees:
        return None
    from scipy.stats import chi2

    p = float(chi2.sf(statistic, degrees))
    found = tuple(Group(names[k], int(rows[k]), int(known[k])) for k in kept)
    covered = [group.coverage for group in found]
    return Missingness(found, statistic, degrees, p, e_value(p), max(covered) - min(covered))


def e_value(p: float) -> float:
    """An e-value of a p-value: large when the p-value is small, on average at most 1 under the null."""
    if p >= 1 - 1e-6:
        return 0.5
    p = max(p, 1e-300)
    return (1 - p + p * math.log(p)) / (p * math.log(p) ** 2)


def by_quantile(values: Floats) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Group numbers into about ten ranges with as many rows each; NaN is in none."""
    known = ~np.isnan(values)
    codes = np.full(len(values), -1, dtype=np.int64)
    if not known.any():
        return codes, ()
    inner = np.unique(np.quantile(values[known], np.arange(1, GROUPS) / GROUPS, method="lower"))
    codes[known] = np.searchsorted(inner, values[known], side="right")
    edges = [f"{one:g}" for one in inner]
    middle = [f"{low} to {high}" for low, high in pairwise(edges)]
    return codes, (f"below {edges[0]}", *middle, f"from {edges[-1]}")


def _counts(
    groups: NDArray[Any], labelled: NDArray[np.bool_], hours: NDArray[Any], size: int
) -> NDArray[np.float64]:
    """Rows by hour, group, and whether they have a label."""
    _, ages = np.unique(hours, return_inverse=True)
    count = int(ages.max()) + 1 if len(ages) else 1
    flat = (ages * size + groups) * 2 + labelled
    return np.bincount(flat, minlength=count * size * 2).reshape(count, size, 2).astype(np.float64)


def _statistic(counts: NDArray[np.float64]) -> tuple[float, int]:
    rows = counts.sum(axis=2)
    total, known = rows.sum(axis=1), counts[:, :, 1].sum(axis=1)
    told = total > 1
    rows, total, known = rows[told], total[told], known[told]
    apart = (counts[told, :, 1] - rows * (known / total)[:, None]).sum(axis=0)
    scale = known * (total - known) / (total**2 * (total - 1))
    spread = np.diag((scale * total) @ rows) - np.einsum("s,sa,sb->ab", scale, rows, rows)
    degrees = int(np.linalg.matrix_rank(spread, hermitian=True))
    return float(apart @ np.linalg.pinv(spread, hermitian=True) @ apart), degrees
