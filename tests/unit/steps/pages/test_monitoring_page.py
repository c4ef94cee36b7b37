"""The report page: well-formed, escaped, small, whole, and standing when one section falls."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.drift import components, constraints, isolation, over_time
from monitoring.drift.analysis import DataQuality, analyse
from monitoring.drift.components import Rebuilt
from monitoring.drift.isolation import RowOutliers, Strange
from monitoring.drift.over_time import Standing
from monitoring.drift.sequence import Watch
from monitoring.drift.shares import Unmet
from monitoring.explain.analysis import analyse as attribution_drift
from monitoring.explain.attributions import Attributions, How, Label
from monitoring.findings import Figure, Finding, Violation
from monitoring.profiles import Profile, scan
from steps.pages.markup import link, number, share, text
from steps.pages.monitoring import page
from steps.pages.view import Link, Point, RunView

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script>&\"\x00\x1b\u0085\ud800"
VOID = {"meta", "br", "img", "link"}
RUN = RunView(
    "harbour",
    "CompletedWithViolations",
    NOON - timedelta(hours=1),
    NOON,
    schedule="data-quality",
    model="late",
    version="3",
    variant="v3",
    rows=500,
    notes=("a note of the run",),
    links=(Link("statistics.json", "statistics.json"),),
)


class Strict(HTMLParser):
    """Fails on tags that do not match, and keeps what the page is made of."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.links, self.ids, self.loads = [], Counter(), [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        named = dict(attributes)
        self.links += [named["href"]] if "href" in named else []
        self.ids += [named["id"]] if "id" in named else []
        self.loads += [named[key] for key in ("src", "srcset", "data") if key in named]
        assert not [key for key in named if key.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(shown):
    parser = Strict()
    parser.feed(shown)
    parser.close()
    assert parser.open == []
    assert not parser.loads
    assert parser.tags["script"] == parser.tags["link"] == parser.tags["iframe"] == 0
    assert len(parser.ids) == len(set(parser.ids))
    assert "url(" not in shown
    assert "@import" not in shown
    shown.encode()
    return parser


def frame(rows, shift=0.0, columns=2, seed=1):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "delay": rng.gamma(2, 10 + 10 * shift, rows),
            "origin": rng.choice(
                ["JFK", "LGA", "EWR"], rows, p=[0.5, 0.3, 0.2] if not shift else [0.2, 0.3, 0.5]
            ),
            "month": rng.integers(1, 13, rows),
            "empty": [None] * rows,
            **{f"feature_{n}": rng.normal(0, 1, rows) for n in range(columns)},
        }
    )


@cache
def drift(columns=2):
    baseline, window = scan.profile(frame(2000, 0, columns)), scan.profile(frame(500, 1, columns, seed=2))
    return analyse(baseline, constraints.suggest(baseline), window), baseline, window


def quality():
    curve = [0.0, 0.2, 1.0]
    metrics = {
        "confusion_matrix": {"no": {"no": 50, "yes": 10}, "yes": {"no": 5, "yes": 35}},
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": curve,
            "true_positive_rates": [0.0, 0.9, 1.0],
        },
        "precision_recall_curve": {"precisions": [0.4, 0.8, 1.0], "recalls": [1.0, 0.9, 0.0]},
    }
    limit = {"f1": {"threshold": 0.9, "comparison_operator": "LessThanThreshold"}}
    return Finding(
        "ModelQuality",
        100,
        (Violation("LessThanThreshold", "Metric f1 is below", (("metric_name", "f1"),)),),
        (
            Figure("f1", 0.8, 0.75, 0.85, 100),
            Figure("f1", 0.83, 0.8, 0.86, 160, estimated=True),
            Figure("label_coverage", 0.625, n=160),
            Figure("label_delay_median_seconds", 7200.0, n=100),
        ),
        {
            "statistics.json": {"binary_classification_metrics": metrics},
            "constraints.json": {"binary_classification_constraints": limit},
        },
    )


def analysis(value, facet="sex"):
    metrics = [
        {"name": "DPL", "description": "Difference in Positive Proportions in Labels (DPL)", "value": value},
        {"name": "DI", "description": "Disparate Impact (DI)", "value": "Infinity"},
        {"name": "CDDL", "description": "CDDL", "value": None, "error": "Group variable is empty"},
    ]
    facets = {facet: [{"value_or_threshold": "F", "metrics": metrics}]}
    return {"version": "1.0", "pre_training_bias_metrics": {"label": "y", "facets": facets}}


def bias():
    where = (("Facet", "sex"), ("FacetValue", "F"))
    subject = (("facet", "sex"), ("facet_value", "F"), ("metric_name", "DPL"))
    return Finding(
        "ModelBias",
        100,
        (Violation("bias_drift_check", "Metric value 0.3", subject),),
        (Figure("bias_metric_DPL", 0.3, 0.2, 0.4, 100, dimensions=where),),
        {"analysis.json": analysis(0.3)},
    )


def attributions():
    def seen(*values):
        total = sum(values)
        parts = tuple(value / total for value in values)
        label = Label("label0", "late", values, (0.01, 0.01), parts, (0.01, 0.01), 0.4)
        return Attributions(("delay", "origin"), (label,), 200, How("exact"))

    return attribution_drift(seen(0.3, 0.1), seen(0.1, 0.3))


def history(findings):
    return [
        Point(
            NOON - timedelta(hours=back),
            one.name,
            one.value * 0.9,
            estimated=one.estimated,
            dimensions=one.dimensions,
        )
        for finding in findings
        for one in finding.figures
        if one.value is not None
        for back in (1, 2)
    ]


def whole():
    found, baseline, window = drift()
    findings = (found, quality(), bias(), attributions())
    run = RunView(**{**_fields(RUN), "references": {"bias.json": {"analysis": analysis(0.1)}}})
    return page(run, findings, baseline, window, history(findings))


def _fields(run):
    return {name: getattr(run, name) for name in run.__slots__}


def test_every_section_is_there_and_reached_from_the_head():
    shown = read(whole())
    told = " ".join(shown.text)
    for heading in (
        "Violations",
        "Features",
        "Drift over time",
        "Model quality",
        "Quality over time",
        "Bias",
        "Bias over time",
        "Attributions",
        "Attributions over time",
        "Notes",
    ):
        assert f"#{heading.lower().replace(' ', '-')}" in shown.links
        assert heading in told
    assert {address.removeprefix("#") for address in shown.links if address.startswith("#")} == set(shown.ids)
    assert "could not be made" not in told


def test_head_tells_what_was_looked_at():
    told = " ".join(read(whole()).text)
    for part in (
        "harbour",
        "Completed with violations",
        "2026-03-01 11:00 to 12:00 UTC",
        "v3",
        "62.5 %",
        "500",
    ):
        assert part in told


def test_every_drawing_has_a_title():
    shown = whole()
    assert (
        shown.count("<svg")
        == shown.count('role="img"')
        == len(re.findall(r"<svg [^>]*><title>[^<]+</title>", shown))
    )


def test_distances_stand_with_what_chance_explains():
    told = " ".join(read(whole()).text)
    one = next(one for one in drift()[0].details.features if one.name == "delay")
    assert one.drifted
    for value in (one.distance, one.raw, one.correction, one.threshold):
        assert number(value) in told
    assert f"{one.n:,}, {one.reference_n:,}" in told


def test_what_all_windows_and_whole_rows_say():
    watch = Watch(7, features={"delay": 9.2, HOSTILE: 0.1}, log_evidence=8.5, drifting=("delay",))
    stands = Standing(watch, 0.05, NOON - timedelta(hours=2))
    rows = RowOutliers(500, 60, 0.01, 1e-9, 0.025, 0.61, (Strange(HOSTILE, 3, 0.75), Strange("e9", 0, 0.7)))
    details = DataQuality(rows=rows, over_time=stands)
    found = isolation.told(Finding("DataQuality", 500, details=details), rows)
    told = " ".join(read(page(RUN, (over_time.told(found, stands),), None, None, ())).text)
    for part in ("Alarm over time", "The alarm is raised", "ended 2026-03-01 10:00", "10^3.69", "10^1.60"):
        assert part in told
    for part in ("Unusual rows", "60 of 500 rows", "12.0 %", "e9", "row_outliers_check", "could"):
        assert (part in told) == (part != "could")
    assert "Unusual rows" not in " ".join(read(whole()).text)


def test_columns_that_no_longer_go_together():
    rebuilt = Rebuilt(500, 120, 0.1, 1e-9, 0.0125, 1.41, 0.105, 0.75)
    found = components.told(Finding("DataQuality", 500, details=DataQuality()), rebuilt)
    told = " ".join(read(page(RUN, (found,), None, None, ())).text)
    for part in ("Columns together", "120 of 500 rows", "24.0 %", "1.41", "0.75", "multivariate_drift_check"):
        assert part in told


def test_shares_worse_than_their_constraints():
    below = (
        Unmet("delay", "completeness_check", 0.875, 0.9375, 50, 400, "", 0.25, 0.01),
        Unmet("origin", "categorical_values_check", 0.5, 1.0, 200, 400, ""),
    )
    found, baseline, window = drift()
    found = Finding("DataQuality", 500, details=replace(found.details, shares=below))
    told = " ".join(read(page(RUN, (found,), baseline, window, ())).text)
    for part in ("Shares worse than their constraints", "0.875", "0.9375", "chance", "0.25", "not asked"):
        assert part in told


def test_what_is_unlike_the_windows_before_is_marked():
    name, rng = "feature_baseline_drift_x", np.random.default_rng(4)
    past = [
        Point(NOON - timedelta(hours=hour + 1), name, 0.03 + 0.005 * value)
        for hour, value in enumerate(rng.normal(size=30).tolist())
    ]
    usual, odd = (
        page(RUN, (Finding("DataQuality", 9, figures=(Figure(name, now),)),), None, None, past)
        for now in (0.03, 0.3)
    )
    assert "usual would be" not in usual
    assert "usual would be 0.0" in odd
    lasting = [Point(one.at, name, one.value + 0.1 * (one.at > NOON - timedelta(hours=8))) for one in past]
    shown = page(RUN, (Finding("DataQuality", 9, figures=(Figure(name, 0.13),)),), None, None, lasting)
    bare = [*past, *(Point(one.at, name, 0.0, dimensions=(("Distance", "raw"),)) for one in past[:3])]
    assert "usual would be" not in page(
        RUN,
        (
            Finding(
                "DataQuality",
                9,
                figures=(Figure(name, 0.3), Figure(name, 0.3, dimensions=(("Distance", "raw"),))),
            ),
        ),
        None,
        None,
        bare,
    )
    assert "another level since 2026-03-01 0" in shown


def test_estimated_values_are_marked():
    told = read(page(RUN, (quality(),), None, None, history([quality()]))).text
    assert told.count("estimated") == 2  # in the table and over time
    assert "Estimated without labels" in told


def test_intervals_limits_and_curves_of_quality():
    shown = page(RUN, (quality(),), None, None, ())
    told = " ".join(read(shown).text)
    for part in ("0.75 to 0.85", "0.9", "violated", "2 hours", "ROC curve", "Confusion matrix", "87.5 %"):
        assert part in told
    assert "Quality over time" not in told  # one window has no past


def test_bias_is_held_against_its_baseline():
    run = RunView(**{**_fields(RUN), "references": {"bias.json": analysis(0.1)}})
    told = " ".join(read(page(run, (bias(),), None, None, ())).text)
    for part in ("sex = F", "0.3 (was 0.1)", "0.2 to 0.4", "Group variable is empty", "∞"):
        assert part in told


def test_bias_and_attributions_without_documents_come_from_figures():
    plain = Finding("ModelBias", 100, figures=bias().figures)
    assert "DPL" in " ".join(read(page(RUN, (plain,), None, None, ())).text)


def test_attributions_of_label_and_features():
    told = " ".join(read(page(RUN, (attributions(),), None, None, ())).text)
    for part in ("label0 (late)", "delay", "NDCG", "75.0 %", "drifted"):
        assert part in told


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_a_failed_run_says_why(status):
    run = RunView("harbour", status, NOON - timedelta(hours=1), NOON, reason="Job inputs had no data")
    told = " ".join(read(page(run, (), None, None, ())).text)
    assert "Job inputs had no data" in told
    assert "Nothing was judged" in told


def test_hostile_names_are_text():
    profile = scan.profile(pl.DataFrame({HOSTILE[:-1]: ["a", "b"], "x": ["</title><b>", "y"]}))
    found = analyse(profile, constraints.suggest(profile), profile)
    run = RunView(
        HOSTILE,
        HOSTILE,
        NOON - timedelta(hours=1),
        NOON,
        *[HOSTILE] * 4,
        reason=HOSTILE,
        notes=(HOSTILE,),
        links=(
            Link(HOSTILE, "javascript:alert(1)"),
            Link("b", f'x" onload="{HOSTILE}'),
            Link("c", "//evil.example"),
        ),
        references={"bias.json": analysis(0.1, HOSTILE)},
    )
    broken = Finding(
        "ModelBias",
        1,
        (Violation(HOSTILE, HOSTILE, ((HOSTILE, HOSTILE),)),),
        (),
        {"analysis.json": analysis(0.2, HOSTILE)},
    )
    figure = Figure(HOSTILE, 0.5, 0.4, 0.6, 1, dimensions=((HOSTILE, HOSTILE),))
    measured = Finding(
        "ModelQuality",
        1,
        figures=(figure,),
        documents={
            "statistics.json": {
                "binary_classification_metrics": {"confusion_matrix": {HOSTILE: {HOSTILE: 1}}}
            }
        },
    )
    explained = {"label0": {"global_shap_values": {HOSTILE: 1.0}}}
    alone = Finding("ModelExplainability", 1, documents={"analysis.json": explained})
    findings = (found, broken, measured, alone)
    shown = page(run, findings, profile, profile, history(findings))
    parsed = read(shown)
    assert "could not be made" not in shown
    assert "<script" not in shown
    assert not [address for address in parsed.links if not address.startswith(("#", "x"))]


def broken(*_):
    raise RuntimeError("<broken>")


@pytest.mark.parametrize(
    ("place", "lost"),
    [
        ("steps.pages.features.section", "Features"),
        ("steps.pages.quality.section", "Model quality"),
        ("steps.pages.bias.section", "Bias"),
        ("steps.pages.attributions.section", "Attributions"),
        ("steps.pages.trends.section", "Drift over time"),
        ("steps.pages.monitoring._violations", "Violations"),
        ("steps.pages.monitoring._notes", "Notes"),
        ("steps.pages.monitoring._figures", "Head"),
    ],
)
def test_one_broken_section_leaves_the_others(monkeypatch, place, lost):
    monkeypatch.setattr(place, broken)
    shown = read(whole())
    told = " ".join(shown.text)
    assert f"{lost} This section could not be made (RuntimeError: <broken>)" in told
    assert shown.tags["section"] >= 7


def test_one_broken_column_leaves_the_others(monkeypatch):
    from steps.pages import features

    real = features.chart
    monkeypatch.setattr(
        features, "chart", lambda name, *more: broken() if name == "month" else real(name, *more)
    )
    told = " ".join(read(whole()).text)
    assert told.count("not drawn: RuntimeError") == 1


def test_unknown_details_are_no_failure():
    strange = tuple(
        Finding(kind, 1, details=object(), documents={"analysis.json": 3, "statistics.json": []})
        for kind in ("DataQuality", "ModelQuality", "ModelBias", "ModelExplainability")
    )
    shown = page(RUN, strange, None, None, ())
    read(shown)


def test_fifty_columns_with_a_past_stay_small():
    found, baseline, window = drift(46)
    assert len(found.details.features) == 49
    past = [
        Point(
            NOON - timedelta(hours=back),
            one.name,
            (one.value or 0.0) + 0.001 * (back % 7),
            dimensions=one.dimensions,
        )
        for one in found.figures
        for back in range(1, 100)
    ]
    shown = page(RUN, (found,), baseline, window, past)
    assert len(shown.encode()) < 300 * 1024


def test_thousands_of_columns_stay_bounded():
    one = drift()[0]
    many = tuple(
        type(f)(**{**_fields(f), "name": f"{f.name}{n}"})
        for n in range(1500)
        for f in one.details.features[:1]
    )
    details = type(one.details)(many)
    shown = page(RUN, (Finding("DataQuality", 1, details=details),), None, None, ())
    assert "further columns are in statistics.json" in shown
    assert len(shown.encode()) < 400 * 1024


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "\u2013"),
        (float("nan"), "\u2013"),
        (float("-inf"), "\u2212∞"),
        (0.0, "0"),
        (-0.25, "\u22120.25"),
        (1234567.0, "1,234,567"),
        (0.123456, "0.1235"),
        (1e-7, "1.00e\u221207"),
    ],
)
def test_numbers(value, shown):
    assert number(value) == shown


def test_shares():
    assert [share(one) for one in (None, 0.0, 1.0, 0.5, 0.001)] == [
        "\u2013",
        "0 %",
        "100 %",
        "50.0 %",
        "0.10 %",
    ]


@given(st.text())
def test_text_is_safe(said):
    shown = text(said)
    assert not set(shown) & set("<>\"'\x00")
    assert len(shown) < 1000
    shown.encode()


@pytest.mark.parametrize(
    "address", ["javascript:x", "data:text/html,x", "//host", "/etc/passwd", "\\\\host", "vbscript:x"]
)
def test_links_that_could_harm_are_text(address):
    assert link("a", address) == "a"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.floats(), st.none(), st.integers(-3, 3).map(float)), min_size=1, max_size=30))
def test_any_numbers_can_be_drawn(values):
    profile = scan.profile(pl.DataFrame({"x": values}, schema={"x": pl.Float64}))
    for baseline in (profile, Profile(), None):
        shown = page(RUN, (Finding("DataQuality", len(values)),), baseline, profile, ())
        read(shown)
        assert "could not be made" not in shown
        assert "not drawn" not in shown
        assert not re.search(r'd="[^"]*(nan|inf)', shown)


def test_ratios_have_a_scale_of_their_own_with_a_line_at_one():
    values = {"DPPL": 0.1, "DI": 0.5, "DCA": 0.8, "TE": -7.0}
    metrics = [{"name": name, "description": name, "value": value} for name, value in values.items()]
    facets = {"sex": [{"value_or_threshold": "F", "metrics": metrics}]}
    document = {"version": "1.0", "post_training_bias_metrics": {"label": "y", "facets": facets}}
    told = page(RUN, (Finding("ModelBias", 9, documents={"analysis.json": document}),), None, None, ())
    drawn = [one for one in ("Bias metrics of", "DI of", "DCA, DCR of", "TE of") if f"{one} sex = F" in told]
    assert len(drawn) == 4
    (scale,) = re.findall(r"<svg[^>]*aria-label=\"DI of.*?</svg>", told, re.DOTALL)
    assert 'class="axis"' in scale
