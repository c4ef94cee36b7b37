"""Attributions on the page: what drives the predictions now, against what drove them in the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from monitoring.explain.analysis import AttributionDrift, LabelDrift
from monitoring.findings import Finding
from steps.pages import markup
from steps.pages.charts import Bar, bars
from steps.pages.markup import Cell, badge, number, share, text

ANALYSIS = "analysis.json"
FEATURES = 20
"""Features that are drawn for a label."""
LABELS = 20
GLOBAL = "global_shap_values"


def section(finding: Finding) -> str:
    """One block for each label; without a baseline what the window relies on alone."""
    details = finding.details
    if isinstance(details, AttributionDrift) and details.labels:
        blocks = [_compared(one, details.threshold) for one in details.labels[:LABELS]]
        lead = "Mean size of each feature's contribution to the score: blue now, grey in the baseline."
    else:
        found = _values(finding.documents.get(ANALYSIS))
        blocks = [_alone(label, found[label]) for label in list(found)[:LABELS]]
        lead = (
            "Mean size of each feature's contribution to the score; there is no baseline to compare it with."
        )
    return markup.section(
        "Attributions", f'<div class="cards wide">{"".join(blocks)}</div>' if blocks else "", lead=lead
    )


def _compared(one: LabelDrift, threshold: float) -> str:
    ranked = sorted(one.features, key=lambda feature: -max(abs(feature.baseline), abs(feature.live)))
    shown = [
        Bar(feature.name, feature.baseline, feature.live, new=not feature.baseline_share)
        for feature in ranked[:FEATURES]
    ]
    rows = [
        (
            feature.name,
            share(feature.live_share),
            share(feature.baseline_share),
            f"{number(feature.live_rank)} (was {number(feature.baseline_rank)})",
            number(feature.q_value),
            "moved" if feature.name in one.moved else "",
        )
        for feature in ranked[: 10 * FEATURES]
    ]
    table = markup.table(("Feature", "Share", "Baseline", "Rank", "q", ""), rows, caption="Shares")
    name = f"{one.label} ({one.header})" if one.header else one.label
    mark = badge("drifted", "bad") if one.drifted else badge("stable", "good")
    return _card(
        name,
        mark,
        shown,
        dict(_facts(one, threshold)),
        len(ranked),
        f"<details><summary>Shares</summary>{table}</details>",
    )


def _facts(one: LabelDrift, threshold: float) -> Iterator[tuple[str, Cell]]:
    yield "NDCG", f"{number(one.ndcg)}, at least {number(threshold)}"
    if one.movement is not None:
        yield "Jensen-Shannon divergence of shares", number(one.movement.js)
        yield "Rank correlation", number(one.movement.spearman)
    if one.moved:
        yield "Moved beyond chance", ", ".join(one.moved[:5])


def _alone(label: str, values: Mapping[str, float]) -> str:
    names = sorted(values, key=lambda name: -abs(values[name]))
    return _card(label, "", [Bar(name, None, values[name]) for name in names[:FEATURES]], {}, len(names))


def _card(label: str, mark: str, shown: list[Bar], facts: dict[str, Cell], count: int, more: str = "") -> str:
    left = f"<p>{count - FEATURES:,} smaller ones are not drawn.</p>" if count > FEATURES else ""
    drawn = bars(f"Attributions of {label}", shown, number)
    head = f"<header><h3>{text(label, 80)}</h3>{mark}</header>"
    return f'<article class="card">{head}{drawn}{left}{markup.facts(facts)}{more}</article>\n'


def _values(document: Any, label: str = "") -> dict[str, dict[str, float]]:
    """Global attributions by label, wherever in an `analysis.json` they stand."""
    if not isinstance(document, Mapping):
        return {}
    if isinstance(found := document.get(GLOBAL), Mapping):
        known = {str(name): float(value) for name, value in found.items() if isinstance(value, int | float)}
        return {label or "all predictions": known}
    merged: dict[str, dict[str, float]] = {}
    for name, inner in document.items():
        merged.update(_values(inner, str(name)))
    return merged
