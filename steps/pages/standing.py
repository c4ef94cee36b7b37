"""The alarm over all windows on the page: how much evidence of drift each column has gathered so far."""

from __future__ import annotations

import math

from monitoring.drift.over_time import Standing
from monitoring.findings import Finding
from steps.pages import markup
from steps.pages.markup import number

TITLE = "Alarm over time"
ROWS = 100
"""Columns that the table lists."""


def section(finding: Finding) -> str:
    """Nothing when the alarm did not look at this window, as when somebody asked for it."""
    stands: Standing | None = getattr(finding.details, "over_time", None)
    if stands is None or not stands.watch.windows:
        return ""
    watch = stands.watch
    ranked = sorted(watch.features.items(), key=lambda one: -one[1])
    rows = [
        (name, "drifted" if name in watch.drifting else "stable", number(log / math.log(10)))
        for name, log in ranked[:ROWS]
    ]
    heads = ("Column", "Verdict", "Evidence, power of ten")
    return markup.section(TITLE, markup.table(heads, rows), lead=_lead(stands))


def _lead(stands: Standing) -> str:
    state = "The alarm is raised" if stands.drifting else "No alarm"
    first = f", first in the window that ended {stands.raised:%Y-%m-%d %H:%M} UTC" if stands.raised else ""
    return (
        f"{state}{first}. {stands.watch.windows:,} windows give evidence of 10^{stands.evidence:.2f}; "
        f"10^{stands.limit:.2f} raises it. While nothing drifts it is ever raised with probability "
        f"{stands.alpha:g} at most, however many windows there are."
    )
