"""Bias on the page: for each facet every metric with its interval, against the baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from monitoring.bias.catalogue import BY_NAME
from monitoring.findings import Finding
from steps.pages import markup
from steps.pages.charts import Dot, forest
from steps.pages.markup import number, text
from steps.pages.trends import BIAS
from steps.pages.view import RunView

ANALYSIS, BASELINE = "analysis.json", "bias.json"
FACETS = 40
_GROUPS = ("pre_training_bias_metrics", "post_training_bias_metrics")
_APART = (("DI",), ("DCA", "DCR"), ("TE",))
"""Ratios, and differences of ratios: their scales are not that of the differences, so each has its own."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One metric of one facet."""

    facet: tuple[str, str]
    """Name of the column, and which of its values."""
    metric: str
    value: float | None
    described: str = ""
    error: str = ""


def section(run: RunView, finding: Finding) -> str:
    """One block for each facet."""
    live = _all(finding.documents.get(ANALYSIS))
    then = {(one.facet, one.metric): one.value for one in _all(run.references.get(BASELINE))}
    ends = _intervals(finding)
    found = live or _of_figures(finding)
    bad = _violated(finding)
    facets = list(dict.fromkeys(one.facet for one in found))[:FACETS]
    blocks = [
        _facet(facet, [one for one in found if one.facet == facet], then, ends, bad) for facet in facets
    ]
    lead = (
        "A filled dot is the window with its interval, a ring the baseline, the line what is fair; "
        "red is farther from fair than the baseline was, or outside of the range that is allowed."
    )
    return markup.section("Bias", "".join(blocks), lead=lead)


Where = tuple[tuple[str, str], str]


def _facet(
    facet: tuple[str, str],
    seen: list[Seen],
    then: Mapping[Where, float | None],
    ends: Mapping[Where, tuple[float | None, float | None]],
    bad: frozenset[Where],
) -> str:
    dots = [
        Dot(
            one.metric,
            one.value,
            *ends.get((facet, one.metric), (None, None)),
            then=then.get((facet, one.metric)),
            bad=(facet, one.metric) in bad,
        )
        for one in seen
        if one.value is not None
    ]
    name = f"{facet[0]} = {facet[1]}"
    drawn = "".join(_forests(name, dots))
    rows = [
        (
            one.metric,
            one.described,
            one.error or number(one.value),
            markup.between(*ends.get((facet, one.metric), (None, None))),
            number(then.get((facet, one.metric))),
            "violated" if (facet, one.metric) in bad else "",
        )
        for one in seen
    ]
    heads = ("Metric", "Meaning", "Value", "95 % interval", "Baseline", "Verdict")
    told = f"<details><summary>Numbers</summary>{markup.table(heads, rows, caption=name)}</details>"
    return f'<h3>{text(name)}</h3><div class="forest">{drawn}</div>{told}'


def _forests(name: str, dots: list[Dot]) -> Iterator[str]:
    """The metrics that have one scale together, with the line at what is fair."""
    apart = {metric for metrics in _APART for metric in metrics}
    plain = [dot for dot in dots if dot.name not in apart]
    if plain:
        yield forest(f"Bias metrics of {name}", plain)
    for metrics in _APART:
        if some := [dot for dot in dots if dot.name in metrics]:
            yield forest(f"{', '.join(metrics)} of {name}", some, zero=BY_NAME[metrics[0]].neutral)


def _all(document: Any) -> list[Seen]:
    """Metrics of an `analysis.json`, which may stand inside another document."""
    if not isinstance(document, Mapping):
        return []
    if not any(name in document for name in _GROUPS):
        inner = [
            one for one in document.values() if isinstance(one, Mapping) and any(n in one for n in _GROUPS)
        ]
        return _all(inner[0]) if inner else []
    return [one for name in _GROUPS for one in _group(document.get(name))]


def _group(group: Any) -> Iterator[Seen]:
    facets = group.get("facets", {}) if isinstance(group, Mapping) else {}
    for column, values in facets.items():
        for value in values:
            facet = (str(column), str(value.get("value_or_threshold", "")))
            for metric in value.get("metrics", ()):
                yield Seen(
                    facet,
                    str(metric["name"]),
                    _number(metric.get("value")),
                    str(metric.get("description") or ""),
                    str(metric.get("error") or ""),
                )


def _number(value: Any) -> float | None:
    """A value of the file; infinite ones are texts there."""
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _of_figures(finding: Finding) -> list[Seen]:
    """The same where there is no `analysis.json`."""
    return [
        Seen(_where(dict(one.dimensions)), one.name.removeprefix(BIAS), one.value)
        for one in finding.figures
        if one.name.startswith(BIAS)
    ]


def _where(dimensions: Mapping[str, str]) -> tuple[str, str]:
    return dimensions.get("Facet", ""), dimensions.get("FacetValue", "")


def _intervals(finding: Finding) -> dict[Where, tuple[float | None, float | None]]:
    return {
        (_where(dict(one.dimensions)), one.name.removeprefix(BIAS)): (one.low, one.high)
        for one in finding.figures
        if one.low is not None and one.high is not None and math.isfinite(one.low) and math.isfinite(one.high)
    }


def _violated(finding: Finding) -> frozenset[Where]:
    told = [dict(one.subject) for one in finding.violations]
    return frozenset(
        ((one.get("facet", ""), one.get("facet_value", "")), one.get("metric_name", "")) for one in told
    )
