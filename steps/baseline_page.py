"""The page of a comparison of data files with a baseline. Pure."""

from __future__ import annotations

from monitoring.drift.analysis import DataQuality
from monitoring.findings import Finding
from monitoring.profiles import Profile
from steps.page import document
from steps.pages import features, markup
from steps.pages.markup import text
from steps.pages.style import STYLE

MOST = 500
"""Violations and notes that are shown."""


def page(data: str, finding: Finding, baseline: Profile, window: Profile) -> str:
    """Verdict, violations, distributions and notes, in one file that loads nothing from anywhere.

    Args:
        data: what was compared, for people.
        finding: the comparison.
        baseline: profile of the baseline.
        window: profile of the data.
    """
    body = [_head(data, finding), _violations(finding), features.section(finding, baseline, window)]
    notes = "".join(f"<li>{text(note, 1000)}</li>" for note in finding.notes[:MOST])
    body.append(markup.section("Notes", f'<ul class="notes">{notes}</ul>') if notes else "")
    return document(f"{markup.legal(data)} beside its baseline", "".join(body), STYLE)


def _head(data: str, finding: Finding) -> str:
    count = len(finding.violations)
    said, tone = (f"{count:,} violations", "bad") if count else ("No violations", "good")
    shown = [(f"{finding.rows:,}", "Rows", ""), (f"{count:,}", "Violations", tone)]
    if isinstance(finding.details, DataQuality):
        judged = finding.details.features
        drifted = sum(one.drifted for one in judged)
        shown.append((f"{drifted} of {len(judged)}", "Columns drifted", "bad" if drifted else ""))
    return f'<h1>{text(data)}<span class="status {tone}">{said}</span></h1>\n{markup.figures(shown)}'


def _violations(finding: Finding) -> str:
    if not finding.violations:
        return markup.section("Violations", "<p>Every constraint is met.</p>")
    rows = [
        (" ".join(value for _, value in one.subject), one.check, one.description)
        for one in finding.violations[:MOST]
    ]
    return markup.section("Violations", markup.table(("What", "Check", "Why"), rows))
