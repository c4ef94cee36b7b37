"""The report of a monitor's run as one HTML page that loads nothing from anywhere. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from monitoring.findings import Finding
from monitoring.profiles import Profile
from steps.page import document
from steps.pages import attributions, bias, features, markup, quality, standing, strange, trends
from steps.pages.markup import Html, link, text
from steps.pages.style import STYLE
from steps.pages.view import Point, RunView

log = logging.getLogger(__name__)

VIOLATIONS, NOTES = 500, 200
"""How many of each are shown; all are in the JSON files."""
_KINDS = {
    "DataQuality": "Data quality",
    "ModelQuality": "Model quality",
    "ModelBias": "Bias",
    "ModelExplainability": "Explainability",
}

Section = tuple[str, Callable[[], str]]


def page(
    run: RunView,
    findings: Sequence[Finding],
    baseline: Profile | None,
    window: Profile | None,
    history: Sequence[Point],
) -> str:
    """The page. A section that cannot be made says so in its place; the others stand.

    Args:
        run: what was looked at.
        findings: of one or several kinds; none when the run failed.
        baseline: profile of the data that the model knows; None when there is none.
        window: profile of the window.
        history: figures of earlier windows, in any order.
    """
    made = [
        (title, _made(title, make)) for title, make in _sections(run, findings, baseline, window, history)
    ]
    shown = [(title, body) for title, body in made if body]
    head = _made("Head", lambda: _head(run, findings, [title for title, _ in shown]))
    return document(_title(run), head + "".join(body for _, body in shown), STYLE)


def _sections(
    run: RunView,
    findings: Sequence[Finding],
    baseline: Profile | None,
    window: Profile | None,
    history: Sequence[Point],
) -> Iterable[Section]:
    yield "Violations", lambda: _violations(findings)
    for one in findings:
        yield from _of_kind(run, one, baseline, window)
        yield trends.title(one), lambda one=one: trends.section(run, one, history)  # type: ignore[misc]  # its default
    yield "Notes", lambda: _notes(run, findings)


def _of_kind(
    run: RunView, finding: Finding, baseline: Profile | None, window: Profile | None
) -> Iterable[Section]:
    match finding.kind:
        case "DataQuality":
            yield "Features", lambda: features.section(finding, baseline, window)
            yield strange.TITLE, lambda: strange.section(finding)
            yield strange.TOGETHER, lambda: strange.together(finding)
            yield standing.TITLE, lambda: standing.section(finding)
        case "ModelQuality":
            yield "Model quality", lambda: quality.section(finding)
        case "ModelBias":
            yield "Bias", lambda: bias.section(run, finding)
        case "ModelExplainability":
            yield "Attributions", lambda: attributions.section(finding)


def _made(title: str, make: Callable[[], str]) -> str:
    try:
        return make()
    except Exception as error:
        log.exception("section %s of a page could not be made", title)
        said = (
            f"This section could not be made ({type(error).__name__}: {error}); "
            "the JSON files beside this page hold its figures."
        )
        return markup.section(title, f'<p class="bad">{text(said, 600)}</p>')


def _title(run: RunView) -> str:
    when = f"{run.start:%Y-%m-%d %H:%M} to {run.end:%Y-%m-%d %H:%M} UTC"
    return f"Monitoring of {markup.legal(run.endpoint)}, {when}"


def _head(run: RunView, findings: Sequence[Finding], sections: Sequence[str]) -> str:
    tone = "good" if run.status == "Completed" else "bad"
    kinds = ", ".join(dict.fromkeys(_KINDS.get(one.kind, one.kind) for one in findings))
    until = f"{run.end:%H:%M}" if run.start.date() == run.end.date() else f"{run.end:%Y-%m-%d %H:%M}"
    what = f"{kinds or 'Monitoring'} from {run.start:%Y-%m-%d %H:%M} to {until} UTC"
    failed = f'<p class="bad">{text(run.reason, 1100)}</p>' if run.reason else ""
    facts = markup.facts(
        {
            "Model": run.model,
            "Version": run.version,
            "Variant": run.variant,
            "Schedule": run.schedule,
            "Look": f"number {run.revision}, because labels or captures came late"
            if run.revision > 1
            else "",
            "Files": Html(" · ".join(link(one.text, one.address) for one in run.links)) if run.links else "",
        }
    )
    inside = "".join(f'<a href="#{markup.slug(name)}">{text(name)}</a>' for name in dict.fromkeys(sections))
    return (
        f'<h1>{text(run.endpoint)}<span class="status {tone}">{text(_status(run.status))}</span></h1>\n'
        f"<p>{text(what)}</p>{failed}\n{_figures(run, findings)}{facts}"
        f'<nav aria-label="Sections">{inside}</nav>\n'
    )


def _status(status: str) -> str:
    return "Completed with violations" if status == "CompletedWithViolations" else status


def _figures(run: RunView, findings: Sequence[Finding]) -> str:
    count = sum(len(one.violations) for one in findings)
    shown = [
        (f"{run.rows:,}", "Rows", ""),
        (f"{count:,}", "Violations", "bad" if count else "good" if findings else ""),
    ]
    for one in findings:
        if one.kind == "DataQuality" and one.details is not None:
            judged = one.details.features
            drifted = sum(feature.drifted for feature in judged)
            shown.append((f"{drifted} of {len(judged)}", "Columns drifted", "bad" if drifted else ""))
        shown += [
            (markup.share(figure.value), "Rows with a label", "")
            for figure in one.figures
            if figure.name == "label_coverage"
        ]
    return markup.figures(shown)


def _violations(findings: Sequence[Finding]) -> str:
    every = [(one.kind, violation) for one in findings for violation in one.violations]
    if not every:
        said = "Every constraint is met." if findings else "Nothing was judged."
        return markup.section("Violations", f"<p>{said}</p>")
    rows = [
        (
            " ".join(value for _, value in violation.subject),
            violation.check,
            violation.description,
            _KINDS.get(kind, kind),
        )
        for kind, violation in every[:VIOLATIONS]
    ]
    more = (
        f"<p>{len(every) - VIOLATIONS:,} further ones are in constraint_violations.json.</p>"
        if len(every) > VIOLATIONS
        else ""
    )
    return markup.section("Violations", markup.table(("What", "Check", "Why", "Monitor"), rows) + more)


def _notes(run: RunView, findings: Sequence[Finding]) -> str:
    every = dict.fromkeys([*run.notes, *(note for one in findings for note in one.notes)])
    shown = "".join(f"<li>{text(note, 1000)}</li>" for note in list(every)[:NOTES])
    more = f"<p>{len(every) - NOTES:,} further ones are in summary.json.</p>" if len(every) > NOTES else ""
    return markup.section("Notes", f'<ul class="notes">{shown}</ul>{more}' if shown else "")
