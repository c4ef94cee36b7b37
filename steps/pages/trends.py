"""Figures over time: one small chart for each, all alike, so that eyes can compare them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from monitoring.findings import Figure, Finding
from steps.pages import markup
from steps.pages.charts import Mark, line
from steps.pages.markup import badge, number, text
from steps.pages.view import Point, RunView

CHARTS = 60
"""Charts of a section at most."""
WINDOWS = 60
"""Windows of the past that a chart shows."""
DRIFT = "feature_baseline_drift_"
BIAS = "bias_metric_"
_NOT = ("feature_", "best_constant_classifier")

_PARTS = ("feature_", "share_shift_", "ExpectedValue")
"""Figures of single features; their bars stand in the section above."""
_TITLES = {
    "DataQuality": "Drift over time",
    "ModelQuality": "Quality over time",
    "ModelBias": "Bias over time",
    "ModelExplainability": "Attributions over time",
}

Key = tuple[str, bool, tuple[tuple[str, str], ...]]
"""Name, whether it is estimated, dimensions."""


def followed(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Names of figures whose past a page shows."""
    names = [figure.name for one in findings for figure in one.figures if _shown(one, figure)]
    return tuple(dict.fromkeys(names))[:CHARTS]


def title(finding: Finding) -> str:
    """Heading of the section."""
    return _TITLES.get(finding.kind, "Over time")


def section(run: RunView, finding: Finding, history: Sequence[Point]) -> str:
    """The past of what a finding measured; nothing when there is only one window."""
    past = _past(run, history)
    limits = _limits(finding)
    cards = list(_cards(run, finding, past, limits))
    if not cards:
        return ""
    lead = "Each chart has its own scale; dashed lines are limits, bands are intervals."
    return markup.section(
        title(finding), f'<div class="cards small">{"".join(cards[:CHARTS])}</div>', lead=lead
    )


def _cards(
    run: RunView, finding: Finding, past: Mapping[Key, list[Point]], limits: Mapping[str, float]
) -> Iterator[str]:
    for figure in finding.figures:
        if not _shown(finding, figure):
            continue
        known = past.get((figure.name, figure.estimated, figure.dimensions), [])
        marks = [mark for point in known[-WINDOWS:] if (mark := _mark(point))]
        if figure.value is not None and math.isfinite(figure.value):
            marks.append(Mark(run.end, figure.value, figure.low, figure.high))
        if len(marks) > 1:
            yield _card(figure, marks, limits)


def _card(figure: Figure, marks: Sequence[Mark], limits: Mapping[str, float]) -> str:
    name = figure.name.removeprefix(DRIFT).removeprefix(BIAS)
    of = ", ".join(value for _, value in figure.dimensions)
    limit = limits.get(figure.name)
    said = f"{name} over {len(marks)} windows, now {number(marks[-1].value)}"
    drawn = line(said, marks, [] if limit is None else [limit], guess=figure.estimated)
    guess = badge("estimated", "guess") if figure.estimated else ""
    told = f"<small>{text(of)}</small>" if of else ""
    return (
        f'<article class="card"><header><h3>{text(name, 80)}</h3>{guess}<b>{number(marks[-1].value)}</b>'
        f"</header>{told}{drawn}</article>\n"
    )


def _shown(finding: Finding, figure: Figure) -> bool:
    """What people follow: the judged distance of each column, every metric of the other kinds."""
    if finding.kind == "DataQuality":
        return figure.name.startswith(DRIFT) and not figure.dimensions
    if finding.kind == "ModelQuality":
        return not any(part in figure.name for part in _NOT)
    return finding.kind == "ModelBias" or not figure.name.startswith(_PARTS)


def _past(run: RunView, history: Sequence[Point]) -> dict[Key, list[Point]]:
    """Earlier points by figure, oldest first; of one window only the last look."""
    last: dict[tuple[Key, object], Point] = {}
    for point in sorted(history, key=lambda one: (one.at, one.look)):
        if point.at < run.end:
            last[(point.name, point.estimated, point.dimensions), point.at] = point
    found: dict[Key, list[Point]] = {}
    for (key, _), point in last.items():
        found.setdefault(key, []).append(point)
    return found


def _mark(point: Point) -> Mark | None:
    if point.value is None or not math.isfinite(point.value):
        return None
    return Mark(point.at, point.value, point.low, point.high)


def _limits(finding: Finding) -> dict[str, float]:
    """What each figure is held against."""
    if finding.kind == "DataQuality":
        features = getattr(finding.details, "features", ())
        return {f"{DRIFT}{one.name}": one.threshold for one in features}
    if finding.kind == "ModelQuality":
        return thresholds(finding.documents.get("constraints.json"))
    threshold = getattr(finding.details, "threshold", None)
    return {"ndcg": threshold} if isinstance(threshold, float) else {}


def thresholds(document: object) -> dict[str, float]:
    """Thresholds of a `constraints.json` of model quality."""
    if not isinstance(document, Mapping):
        return {}
    found = {}
    for name, group in document.items():
        if str(name).endswith("_constraints") and isinstance(group, Mapping):
            for metric, one in group.items():
                limit = one.get("threshold") if isinstance(one, Mapping) else None
                if isinstance(limit, int | float):
                    found[str(metric)] = float(limit)
    return found
