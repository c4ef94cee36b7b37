"""Numbers cut into bins, so that distances between shares apply to them.

They have equal weight in the baseline, and are open at both ends.
"""

from __future__ import annotations

import numpy as np

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
