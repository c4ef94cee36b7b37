"""Rows of a window that are unlike those of the baseline, and whether chance alone brings so many.

The forest calls a row strange when it scores above the limit, which some calibration rows do that no tree has
seen; `excess` tests how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from monitoring.drift.excess import SUBJECT, Excess, so_many
from monitoring.drift.forest import Forest, score
from monitoring.drift.reference import clopper_pearson
from monitoring.findings import Figure, Finding, Violation
from monitoring.rows import EVENT_ID, ROW

if TYPE_CHECKING:
    import polars as pl

CHECK = "row_outliers_check"
"""Ours; Model Monitor looks at every column by itself."""
FIGURE = "row_outliers"
MOST = 20_000
"""Rows of a window that are scored."""
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Strange:
    """One row that is unlike the baseline's."""

    event_id: str
    row: int
    score: float
    """From 0 to 1; about 0.5 is usual."""


@dataclass(frozen=True, slots=True)
class RowOutliers(Excess):
    """How many rows of a window are strange."""

    factor: ClassVar[float] = 2.0
    limit: float
    """Score above which a row is strange."""
    examples: tuple[Strange, ...] = ()
    """The strangest first."""


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
    said = f"Share of rows unlike those of the baseline: {found.said}"
    return Violation(CHECK, said, (("feature_name", SUBJECT),))
