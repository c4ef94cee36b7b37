"""Whether more rows of a window exceed a limit than chance brings.

`above` of `calibration` rows of the baseline exceed the limit, and nobody has learned from those rows. While
rows still come from where those came from, they and the window's rows are exchangeable: the number of rows
above the limit among n follows a beta-binomial law with parameters above + 1 and calibration - above,
whatever is measured. So the test is exact; rows with equal values make it safer.

Source: Wilks, "Statistical prediction with special reference to the problem of tolerance limits" (1942).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

SUBJECT = "@rows"
"""Stands for the whole row where a column is named."""


@dataclass(frozen=True, slots=True)
class Excess:
    """How many rows of a window exceed the limit."""

    factor: ClassVar[float]
    """Up to so many times the baseline's share is no violation, however certain it is."""
    rows: int
    """Rows that were looked at."""
    strange: int
    """Of those, rows above the limit."""
    expected: float
    """Share of rows above the limit in the baseline."""
    p_value: float
    """Probability of so many or more while nothing changed."""
    level: float
    """It is a violation at or below this."""

    @property
    def share(self) -> float:
        """Of rows above the limit in the window."""
        return self.strange / self.rows if self.rows else 0.0

    @property
    def threshold(self) -> float:
        """Share below which it is no violation."""
        return self.factor * self.expected

    @property
    def violated(self) -> bool:
        """There are more than chance brings, and clearly more than in the baseline."""
        return self.p_value <= self.level and self.share > self.threshold

    @property
    def said(self) -> str:
        """By how much the share exceeds its threshold, for a violation."""
        return (
            f"{self.share} exceeds threshold: {self.threshold:.4g} ({self.strange} of {self.rows} rows; "
            f"p = {self.p_value:.2g}, level {self.level:g})"
        )


def so_many(strange: int, rows: int, above: int, calibration: int) -> float:
    """Probability that at least `strange` of `rows` new rows exceed what `above` calibration rows exceed."""
    from scipy.special import betaln, logsumexp

    if not strange:
        return 1.0
    k = np.arange(strange, rows + 1, dtype=float)
    a, b = above + 1, calibration - above
    choose = -np.log(rows + 1) - betaln(rows - k + 1, k + 1)
    return float(min(1.0, np.exp(logsumexp(choose + betaln(k + a, rows - k + b) - betaln(a, b)))))
