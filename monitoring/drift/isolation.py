"""Rows of a window that are unlike those of the baseline, and whether chance alone brings so many.

The forest calls a row strange when it scores above the limit, which `above` of `rows` calibration rows do
that no tree has seen. While rows still come from where those came from, they and the window's rows are
exchangeable: the number of strange ones among n follows a beta-binomial law with parameters above + 1 and
rows - above, whatever the columns are and whatever the trees learned. So the test is exact; rows with equal
scores make it safer.

Source: Wilks, "Statistical prediction with special reference to the problem of tolerance limits" (1942).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from monitoring.drift.forest import Forest, score
from monitoring.drift.reference import clopper_pearson
from monitoring.findings import Figure, Finding, Violation
from monitoring.rows import EVENT_ID, ROW

if TYPE_CHECKING:
    import polars as pl

CHECK = "row_outliers_check"
"""Ours; Model Monitor looks at every column by itself."""
FIGURE = "row_outliers"
SUBJECT = "@rows"
"""Stands for the whole row where a column is named."""
MOST = 20_000
"""Rows of a window that are scored."""
FACTOR = 2.0
"""Up to so many times the baseline's share is no violation, however certain it is."""
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Strange:
    """One row that is unlike the baseline's."""

    event_id: str
    row: int
    score: float
    """From 0 to 1; about 0.5 is usual."""


@dataclass(frozen=True, slots=True)
class RowOutliers:
    """How many rows of a window are strange."""

    rows: int
    """Rows that were scored."""
    strange: int
    expected: float
    """Share of strange rows in the baseline."""
    p_value: float
    """Probability of so many or more while nothing changed."""
    level: float
    """It is a violation at or below this."""
    limit: float
    """Score above which a row is strange."""
    examples: tuple[Strange, ...] = ()
    """The strangest first."""

    @property
    def share(self) -> float:
        """Of strange rows in the window."""
        return self.strange / self.rows if self.rows else 0.0

    @property
    def threshold(self) -> float:
        """Share below which it is no violation."""
        return FACTOR * self.expected

    @property
    def violated(self) -> bool:
        """There are more than chance brings, and clearly more than in the baseline."""
        return self.p_value <= self.level and self.share > self.threshold


def judge(forest: Forest, frame: pl.DataFrame, level: float) -> RowOutliers | None:
    """Score rows and count the strange ones; None without rows.

    Args:
        forest: of the baseline.
        frame: rows with the inputs, and event id and row where they are known.
        level: of the test.
    """
    if not frame.height:
        return None
    scores = score(forest, frame)
    strange = int((scores > forest.limit).sum())
    return RowOutliers(
        rows=frame.height,
        strange=strange,
        expected=forest.above / forest.rows,
        p_value=so_many(strange, frame.height, forest.above, forest.rows),
        level=level,
        limit=forest.limit,
        examples=tuple(_examples(forest, frame, scores)),
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


def _examples(forest: Forest, frame: pl.DataFrame, scores: np.ndarray) -> Iterator[Strange]:
    known = {EVENT_ID, ROW} <= set(frame.columns)
    for place in np.argsort(-scores, kind="stable")[:SHOWN].tolist():
        if scores[place] <= forest.limit:
            return
        event, row = frame.row(place, named=True), place
        yield Strange(
            str(event[EVENT_ID]) if known else "", int(event[ROW]) if known else row, float(scores[place])
        )


def told(finding: Finding, found: RowOutliers) -> Finding:
    """A finding of data quality that also says what the forest found."""
    low, high = clopper_pearson(found.strange, found.rows, 0.05)
    return replace(
        finding,
        violations=(*finding.violations, *([_violation(found)] if found.violated else ())),
        figures=(Figure(FIGURE, found.share, low, high, found.rows), *finding.figures),
        details=replace(finding.details, rows=found) if finding.details else None,
    )


def _violation(found: RowOutliers) -> Violation:
    said = (
        f"Share of rows unlike those of the baseline: {found.share} exceeds threshold: "
        f"{found.threshold} ({found.strange} of {found.rows} rows; p = {found.p_value:.2g}, "
        f"level {found.level:g})"
    )
    return Violation(CHECK, said, (("feature_name", SUBJECT),))
