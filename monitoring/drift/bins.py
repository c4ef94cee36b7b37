"""Numbers cut into bins, so that distances between shares apply to them.

Sketches and this product's own analyses use bins of equal weight in the baseline, open at both ends. The
rules of Evidently (Sturges over both samples) and NannyML (Doane on the reference, one more bin for what
falls outside) are here to compare with them figure by figure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from monitoring.drift.distribution import Distribution, Floats

PARTS = 10
"""Bins of a numeric column."""


def inner_edges(reference: Distribution, parts: int = PARTS) -> Floats:
    """Bounds between bins of equal weight in the reference, ascending, without repetition.

    A value equal to a bound belongs to the bin below it. Heavy ties make fewer, and heavier, bins.
    """
    edges = np.unique(reference.quantile(np.arange(1, parts) / parts))
    return np.asarray(edges[edges < reference.values[-1]], dtype=float)


def counts(distribution: Distribution, edges: Floats) -> Floats:
    """Rows in each bin; the first and the last bin are open."""
    return np.diff(distribution.below(edges), prepend=0.0, append=distribution.n)


def sturges(reference: ArrayLike, current: ArrayLike) -> Floats:
    """Edges of equal width over both samples together, by Sturges' rule: Evidently's bins."""
    both = np.concatenate((np.asarray(reference, dtype=float), np.asarray(current, dtype=float)))
    return np.asarray(np.histogram_bin_edges(both, "sturges"), dtype=float)


def doane(reference: ArrayLike) -> Floats:
    """Edges of equal width over the reference, by Doane's rule: NannyML's bins."""
    return np.asarray(np.histogram_bin_edges(np.asarray(reference, dtype=float), "doane"), dtype=float)


def closed_counts(values: ArrayLike, edges: Floats) -> Floats:
    """Rows between given edges; one more bin at the end for those outside when there are any."""
    flat = np.asarray(values, dtype=float)
    inside = np.histogram(flat, edges)[0].astype(float)
    return np.append(inside, flat.size - inside.sum())
