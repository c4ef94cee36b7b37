"""Which comparison `Auto` stands for, by kind of column and number of rows.

| Column                                 | rows < 1,000            | rows >= 1,000               |
|----------------------------------------|-------------------------|-----------------------------|
| numbers, more than 5 distinct          | KolmogorovSmirnov, 0.05 | Wasserstein, threshold      |
| numbers, at most 5 distinct; text      | Homogeneity, 0.05       | JensenShannon, threshold    |

Rows are those of the smaller side. With few rows a distance is mostly noise, so a test decides, at level
0.05; with many a test finds what no one needs to know, so a distance decides, with the threshold of the
constraints. 0.1 suits both: a tenth of a standard deviation, a Jensen-Shannon distance (base 2) of 0.1. The
table looks at nothing else; equal profiles get equal choices.

`Simple` and `Robust` stay what they are in Model Monitor. `Robust` subtracts what chance explains, which
leaves small windows silent: with threshold 0.1 and n rows on both sides a true distance of 0.2 is seen only
for n > 648.
"""

from __future__ import annotations

from dataclasses import dataclass

MANY = 1000
"""Rows from which on a distance decides."""
FEW_DISTINCT = 5
"""Numbers with at most so many distinct values are compared as categories."""
LEVEL = 0.05
"""Level of the tests that `Auto` chooses."""
TESTS = frozenset({"KolmogorovSmirnov", "Homogeneity", "ChiSquared"})
"""Methods that decide by a p-value."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How one column is compared."""

    method: str
    threshold: float
    """Of the p-value for a test, of the distance otherwise."""

    @property
    def tests(self) -> bool:
        """Whether a p-value decides."""
        return self.method in TESTS


def choose(*, categorical: bool, rows: float, method: str, threshold: float) -> Choice:
    """The comparison that the constraints ask for, `Auto` looked up in the table.

    Args:
        categorical: text, or numbers with few distinct values.
        rows: of the smaller side.
        method: `comparison_method` or `categorical_drift_method`.
        threshold: the one that belongs to it.
    """
    if method != "Auto":
        return Choice(method, threshold)
    if rows < MANY:
        return Choice("Homogeneity" if categorical else "KolmogorovSmirnov", LEVEL)
    return Choice("JensenShannon" if categorical else "Wasserstein", threshold)
