"""Whole rows on the page: how many are unlike the baseline's, and whether the columns still go together."""

from __future__ import annotations

from monitoring.drift.components import Rebuilt
from monitoring.drift.excess import Excess
from monitoring.drift.isolation import RowOutliers
from monitoring.findings import Finding
from steps.pages import markup
from steps.pages.charts import meter
from steps.pages.markup import number, share

TITLE = "Unusual rows"
TOGETHER = "Columns together"


def section(finding: Finding) -> str:
    """How many rows are unusual, and the strangest; nothing when no rows were scored."""
    found: RowOutliers | None = getattr(finding.details, "rows", None)
    if found is None:
        return ""
    lead = (
        f"{found.strange:,} of {found.rows:,} rows ({share(found.share)}) score above {number(found.limit)} "
        f"in the isolation forest of the training rows, of which {share(found.expected)} do. {_chance(found)}"
    )
    said = f"Share {share(found.share)} of unusual rows, {share(found.expected)} in the baseline"
    drawn = meter(said, found.share, found.threshold, chance=0.0, bad=found.violated)
    rows = [(one.event_id, one.row, number(one.score)) for one in found.examples]
    return markup.section(TITLE, drawn + markup.table(("Event", "Row", "Score"), rows), lead=lead)


def together(finding: Finding) -> str:
    """Whether the columns go together; nothing when no rows were rebuilt."""
    found: Rebuilt | None = getattr(finding.details, "rebuilt", None)
    if found is None:
        return ""
    lead = (
        "Rows are rebuilt from a few principal components of the training rows; what does not go together as "
        f"it did there comes out badly. {found.strange:,} of {found.rows:,} rows ({share(found.share)}) are "
        f"further off than nine tenths of the training rows, of which {share(found.expected)} are. The mean "
        f"error is {number(found.error)} ± {number(found.deviation)} standard deviations, "
        f"{number(found.baseline)} in the baseline. {_chance(found)}"
    )
    said = (
        f"Share {share(found.share)} of rows that are rebuilt badly, {share(found.expected)} in the baseline"
    )
    drawn = meter(said, found.share, found.threshold, chance=0.0, bad=found.violated)
    return markup.section(TOGETHER, drawn, lead=lead)


def _chance(found: Excess) -> str:
    return (
        f"Chance alone brings so many with probability {number(found.p_value)}; {number(found.level)} or "
        f"less, and a share above {share(found.threshold)}, is a violation."
    )
