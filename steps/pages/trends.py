"""Figures over time: one small chart for each, all alike, so that eyes can compare them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from monitoring.drift import components, history, isolation, over_time
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
RAW = (("Distance", "raw"),)
BIAS = "bias_metric_"
_WHOLE = {over_time.FIGURE, isolation.FIGURE, components.FIGURE}
"""Figures of all columns together."""
_GROWING = {over_time.FIGURE}
"""Sums over all windows; they are unlike their past by nature."""
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


def section(run: RunView, finding: Finding, known: Sequence[Point]) -> str:
    """The past of what a finding measured; nothing when there is only one window."""
    past = _past(run, known)
    limits = _limits(finding)
    cards = list(_cards(run, finding, past, limits))
    if not cards:
        return ""
    lead = (
        "Each chart has its own scale; dashed lines are limits, bands are intervals. "
        "Unusual is what is unlike the windows before."
    )
    return markup.section(
        title(finding), f'<div class="cards small">{"".join(cards[:CHARTS])}</div>', lead=lead
    )


def _cards(
    run: RunView, finding: Finding, past: Mapping[Key, list[Point]], limits: Mapping[str, float]
) -> Iterator[str]:
    charts = [(figure, marks) for figure in _figures(finding) if len(marks := _marks(run, figure, past)) > 1]
    raw = {one.name: one for one in finding.figures if one.dimensions == RAW}
    for figure, marks in charts:
        told = raw.get(figure.name, figure)  # what chance is taken off is mostly 0 and says nothing
        odd = _unusual(_marks(run, told, past), len(charts)) if figure.name not in _GROWING else ("", "")
        yield _card(figure, marks, limits, odd)


def _figures(finding: Finding) -> Iterator[Figure]:
    return (figure for figure in finding.figures if _shown(finding, figure))


def _marks(run: RunView, figure: Figure, past: Mapping[Key, list[Point]]) -> list[Mark]:
    """The figure in the windows before, and now."""
    known = past.get((figure.name, figure.estimated, figure.dimensions), [])
    marks = [mark for point in known[-WINDOWS:] if (mark := _mark(point))]
    if figure.value is not None and math.isfinite(figure.value):
        marks.append(Mark(run.end, figure.value, figure.low, figure.high))
    return marks


def _card(figure: Figure, marks: Sequence[Mark], limits: Mapping[str, float], odd: tuple[str, str]) -> str:
    name = figure.name.removeprefix(DRIFT).removeprefix(BIAS)
    of = ", ".join(value for _, value in figure.dimensions)
    limit = limits.get(figure.name)
    said = f"{name} over {len(marks)} windows, now {number(marks[-1].value)}"
    drawn = line(said, marks, [] if limit is None else [limit], guess=figure.estimated)
    guess = badge("estimated", "guess") if figure.estimated else ""
    told = f"<small>{text(of)}</small>" if of else ""
    return (
        f'<article class="card"><header><h3>{text(name, 80)}</h3>{odd[0]}{guess}'
        f"<b>{number(marks[-1].value)}</b></header>{told}{drawn}{odd[1]}</article>\n"
    )


def _unusual(marks: Sequence[Mark], charts: int) -> tuple[str, str]:
    """Whether the newest figure is unlike those before it, and when their level last changed."""
    series = [mark.value for mark in marks]
    newest, changes = history.newest(series, charts), history.page_hinkley(series)
    said = []
    if newest:
        usual = f"{number(newest.low)} to {number(newest.high)}"
        said.append(f"usual would be {usual}, not {number(newest.value)}")
    if changes:
        said.append(f"another level since {marks[changes[-1].place].at:%Y-%m-%d %H:%M} UTC")
    why = f"<small>{text('; '.join(said))}</small>" if said else ""
    return (badge("unusual", "bad") if newest else ""), why


def _shown(finding: Finding, figure: Figure) -> bool:
    """What people follow: the judged distance of each column, every metric of the other kinds."""
    if finding.kind == "DataQuality":
        return figure.name in _WHOLE or (figure.name.startswith(DRIFT) and not figure.dimensions)
    if finding.kind == "ModelQuality":
        return not any(part in figure.name for part in _NOT)
    return finding.kind == "ModelBias" or not figure.name.startswith(_PARTS)


def _past(run: RunView, known: Sequence[Point]) -> dict[Key, list[Point]]:
    """Earlier points by figure, oldest first; of one window only the last look."""
    last: dict[tuple[Key, object], Point] = {}
    for point in sorted(known, key=lambda one: (one.at, one.look)):
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
        stands, rows = (getattr(finding.details, name, None) for name in ("over_time", "rows"))
        limits = {over_time.FIGURE: stands.limit} if stands else {}
        limits |= {isolation.FIGURE: rows.threshold} if rows else {}
        return limits | {f"{DRIFT}{one.name}": one.threshold for one in features}
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
