"""Data quality on the page: one card for each column, those that drifted first."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.drift.analysis import DataQuality
from monitoring.drift.comparison import FeatureDrift
from monitoring.drift.shares import Unmet
from monitoring.findings import Finding
from monitoring.profiles import ColumnProfile, Profile
from steps.pages import markup
from steps.pages.charts import meter
from steps.pages.distributions import chart
from steps.pages.markup import badge, number, share, text

CARDS = 60
"""Columns that get a card; all others stand in the table."""
ROWS = 1000
"""Columns that the table lists."""
TESTS = {"KolmogorovSmirnov", "Homogeneity", "ChiSquared"}


def section(finding: Finding, baseline: Profile | None, window: Profile | None) -> str:
    """Distributions and distances; without profiles the distances alone."""
    drifts = {one.name: one for one in _details(finding).features}
    names = _order(drifts, window)
    if not names:
        return ""
    cards = [
        _card(name, drifts.get(name), _column(baseline, name), _column(window, name))
        for name in names[:CARDS]
    ]
    drifted = sum(one.drifted for one in drifts.values())
    lead = f"{drifted} of {len(drifts)} compared columns drifted. Grey is the baseline, blue the window."
    rest = _table([drifts[name] for name in names[CARDS:] if name in drifts])
    shares = _shares(_details(finding).shares)
    return markup.section("Features", f'<div class="cards">{"".join(cards)}</div>{rest}{shares}', lead=lead)


def _shares(below: tuple[Unmet, ...]) -> str:
    """Shares that are worse than their constraints, and what chance has to do with it."""
    heads = ("Column", "Check", "Verdict", "Share", "Constraint", "Values", "Probability by chance")
    rows = [
        (
            one.name,
            one.check,
            "violated" if one.violated else "chance",
            one.share,
            one.threshold,
            one.n,
            "not asked" if one.p_value is None else _chance(one.p_value),
        )
        for one in below[:ROWS]
    ]
    return markup.table(heads, rows, caption="Shares worse than their constraints")


def _details(finding: Finding) -> DataQuality:
    return finding.details if isinstance(finding.details, DataQuality) else DataQuality()


def _order(drifts: dict[str, FeatureDrift], window: Profile | None) -> list[str]:
    """Drifted columns first, the farthest beyond its threshold first; then those that were not compared."""
    known = sorted(drifts.values(), key=lambda one: (not one.drifted, -_reach(one)))
    names = [one.name for one in known]
    return names + [name for name in (window.columns if window else ()) if name not in drifts]


def _reach(drift: FeatureDrift) -> float:
    return drift.distance / drift.threshold if drift.threshold > 0 else drift.distance


def _column(profile: Profile | None, name: str) -> ColumnProfile | None:
    return profile.columns.get(name) if profile else None


def _card(
    name: str, drift: FeatureDrift | None, then: ColumnProfile | None, now: ColumnProfile | None
) -> str:
    try:
        drawn = chart(name, then, now)
    except Exception as error:  # noqa: BLE001 - one strange column must not take the others with it
        drawn = f'<p class="none">not drawn: {text(f"{type(error).__name__}: {error}")}</p>'
    drawn = drawn or '<p class="none">no values to draw</p>'
    mark = (
        badge("not compared")
        if drift is None
        else badge("drifted", "bad")
        if drift.drifted
        else badge("stable", "good")
    )
    judged = _judged(drift) if drift else ""
    return (
        f'<article class="card"><header><h3>{text(name, 120)}</h3>{mark}</header>{drawn}{judged}'
        f"{markup.facts(dict(_facts(drift, then, now)))}</article>\n"
    )


def _judged(drift: FeatureDrift) -> str:
    chance = drift.correction if drift.method == "linf_robust" and drift.raw > drift.correction else 0.0
    said = f"Distance {number(drift.distance)} against the threshold {number(drift.threshold)}"
    return meter(said, drift.distance, drift.threshold, chance=chance, bad=drift.drifted)


def _facts(
    drift: FeatureDrift | None, then: ColumnProfile | None, now: ColumnProfile | None
) -> Iterator[tuple[str, markup.Cell]]:
    if drift is not None:
        yield f"Distance ({drift.method})", f"{number(drift.distance)}, threshold {number(drift.threshold)}"
        if drift.method == "linf_robust":
            yield "Raw, less chance", f"{number(drift.raw)}, {number(drift.correction)}"
        yield "Values, baseline", f"{drift.n:,}, {drift.reference_n:,}"
        if drift.p_value is not None:
            yield "p, q over all columns", f"{_chance(drift.p_value)}, {_chance(drift.q_value)}"
    if now is not None:
        was = f" (was {share(then.completeness)})" if then else ""
        yield "Present", share(now.completeness) + was
    if now is not None and now.numeric and now.numeric.moments.n:
        before = then.numeric if then and then.numeric and then.numeric.moments.n else None
        was = f" (was {number(before.moments.mean)})" if before else ""
        yield "Mean", number(now.numeric.moments.mean) + was


def _chance(probability: float | None) -> str:
    return "below 1e-300" if probability == 0 else number(probability)


def _table(drifts: list[FeatureDrift]) -> str:
    heads = ("Column", "Verdict", "Method", "Distance", "Threshold", "Raw", "Chance", "Values")
    rows = [
        (
            one.name,
            "drifted" if one.drifted else "stable",
            one.method,
            one.distance,
            one.threshold,
            one.raw,
            one.correction,
            one.n,
        )
        for one in drifts[:ROWS]
    ]
    more = (
        f"<p>{len(drifts) - ROWS:,} further columns are in statistics.json.</p>" if len(drifts) > ROWS else ""
    )
    return markup.table(heads, rows, caption="Further columns") + more
