"""Rows unlike those of the baseline on the page: how many, and the strangest with their values."""

from __future__ import annotations

from monitoring.drift.isolation import RowOutliers
from monitoring.findings import Finding
from steps.pages import markup
from steps.pages.charts import meter
from steps.pages.markup import number, share

TITLE = "Unusual rows"


def section(finding: Finding) -> str:
    """Nothing when no rows were scored."""
    found: RowOutliers | None = getattr(finding.details, "rows", None)
    if found is None:
        return ""
    lead = (
        f"{found.strange:,} of {found.rows:,} rows ({share(found.share)}) score above {number(found.limit)} "
        f"in the isolation forest of the training rows, of which {share(found.expected)} do. Chance alone "
        f"brings so many with probability {number(found.p_value)}; {number(found.level)} or less, and a "
        f"share above {share(found.threshold)}, is a violation."
    )
    said = f"Share {share(found.share)} of unusual rows, {share(found.expected)} in the baseline"
    drawn = meter(said, found.share, found.threshold, chance=0.0, bad=found.violated)
    rows = [(one.event_id, one.row, number(one.score)) for one in found.examples]
    return markup.section(TITLE, drawn + markup.table(("Event", "Row", "Score"), rows), lead=lead)
