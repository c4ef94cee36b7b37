from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from monitoring.explain import Attributions, How, analyse, read, summarise
from monitoring.explain.analysis import AttributionDrift, violation

FEATURES = ("SAT", "GPA", "Rank")
TREE = How("tree")


def relying(
    *sizes: float, rows: int = 400, seed: int = 0, features: tuple[str, ...] = FEATURES
) -> Attributions:
    draw = np.random.default_rng(seed)
    local = draw.normal(size=(rows, len(sizes), 1)) * np.array(sizes)[None, :, None]
    return summarise(local, np.array([0.25]), features, ("yes",), TREE)


def exactly(*sizes: float, features: tuple[str, ...] = FEATURES) -> Attributions:
    local = np.repeat(np.array(sizes)[None, :, None], 10, axis=0)
    return summarise(local, np.array([0.25]), features, ("yes",), TREE)


def details(found: object) -> AttributionDrift:
    assert isinstance(found, AttributionDrift)
    return found


def test_the_example_of_the_manual_is_a_violation() -> None:
    found = analyse(exactly(0.70, 0.50, 0.05), exactly(0.10, 0.20, 0.70))
    assert found.kind == "ModelExplainability"
    assert found.status == "CompletedWithViolations"
    document = found.violations_document()
    assert document["version"] == "1.0"
    (record,) = document["violations"]
    assert list(record) == ["label", "metric_name", "constraint_check_type", "description"]
    assert record["description"].startswith("Feature attribution drift 0.68763962412262")
    (label,) = details(found.details).labels
    assert label.ndcg == pytest.approx(0.6876396241226223, abs=1e-12)
    assert [one.shift for one in label.features] == pytest.approx([0.1 - 0.56, 0.2 - 0.4, 0.7 - 0.04])
    assert [one.live_rank for one in label.features] == [3, 2, 1]


def test_the_record_is_sagemakers() -> None:
    assert violation("label0", 0.7639720923277322, 0.9).record() == {
        "label": "label0",
        "metric_name": "shap",
        "constraint_check_type": "feature_attribution_drift_check",
        "description": "Feature attribution drift 0.7639720923277322 exceeds threshold 0.9",
    }


def test_the_figures() -> None:
    found = analyse(relying(0.7, 0.5, 0.05), relying(0.7, 0.5, 0.05, seed=1))
    figures = {one.name: one for one in found.figures}
    sat = figures["feature_SAT"]
    assert sat.dimensions == (
        ("ExplainabilityMethod", "KernelShap"),
        ("Label", "label0"),
        ("ValueType", "GlobalShapValues"),
    )
    assert sat.low is not None
    assert sat.high is not None
    assert sat.value is not None
    assert sat.low < sat.value < sat.high
    assert figures["ExpectedValue"].value == 0.25
    assert figures["ExpectedValue"].dimensions[-1] == ("ValueType", "ExpectedValue")
    assert figures["ndcg"].value == pytest.approx(1)
    assert {"attribution_l1", "attribution_js", "attribution_spearman", "share_shift_Rank"} <= figures.keys()
    assert found.violations == ()


def test_the_document_of_the_window() -> None:
    live = exactly(0.7, 0.5, 0.05)
    document = analyse(live, live).documents["analysis.json"]
    shown = document["explanations"]["kernel_shap"]["label0"]
    assert shown["global_shap_values"] == pytest.approx({"SAT": 0.7, "GPA": 0.5, "Rank": 0.05})
    assert shown["expected_value"] == 0.25
    json.dumps(document, allow_nan=False)


def test_a_move_beyond_chance_is_found_and_chance_is_not() -> None:
    baseline = relying(0.7, 0.5, 0.3)
    (drift,) = details(analyse(baseline, relying(0.7, 0.5, 0.6, seed=1)).details).labels
    assert drift.moved[0] == "Rank"
    false = sum(
        bool(
            details(
                analyse(relying(0.7, 0.5, 0.3, seed=2 * n), relying(0.7, 0.5, 0.3, seed=2 * n + 1)).details
            )
            .labels[0]
            .moved
        )
        for n in range(40)
    )
    assert false <= 6


def test_new_and_vanished_features_are_told() -> None:
    live = exactly(0.7, 0.0, 0.3, features=("SAT", "GPA", "Age"))
    found = analyse(exactly(0.7, 0.5, 0.0), live)
    assert "label0 now relies on Age, which it did not in the baseline" in found.notes
    assert "label0 no longer relies on GPA" in found.notes
    assert [one.name for one in details(found.details).labels[0].features] == ["SAT", "GPA", "Rank", "Age"]


@pytest.mark.parametrize(
    ("how", "word"),
    [
        (How("tree", space="log_odds"), "space"),
        (How("tree", aggregation="median"), "aggregation"),
        (How("tree", baseline="rows"), "baseline rows"),
    ],
)
def test_what_cannot_be_compared_is_a_note(how: How, word: str) -> None:
    live = exactly(0.1, 0.2, 0.7)
    found = analyse(exactly(0.7, 0.5, 0.05), replace(live, how=how))
    assert found.violations == ()
    assert any(word in note for note in found.notes)
    assert found.figures


def test_another_method_is_compared() -> None:
    assert analyse(exactly(0.7, 0.5, 0.05), replace(exactly(0.1, 0.2, 0.7), how=How("kernel"))).violations


def test_a_baseline_that_relies_on_nothing() -> None:
    found = analyse(exactly(0, 0, 0), exactly(0.7, 0.5, 0.05))
    assert found.violations == ()
    assert "label0 has no NDCG: its attributions in the baseline are all zero" in found.notes


def test_labels_that_the_baseline_lacks() -> None:
    live = summarise(np.ones((5, 3, 2)), np.zeros(2), FEATURES, ("a", "b"), TREE)
    found = analyse(exactly(0.7, 0.5, 0.05), live)
    assert "label1 (b) is not judged: the baseline does not have it" in found.notes


def test_the_document_of_attributions_comes_back() -> None:
    for made in (relying(0.7, 0.5, 0.05), relying(0.7, 0.5, 0.05, rows=1)):
        document = json.loads(json.dumps(made.document(), allow_nan=False))
        assert read(document).document() == made.document()
    assert read(relying(1, 2, 3).document()) == relying(1, 2, 3)
    assert relying(1, 2, 3).top(2) == ("Rank", "GPA")


@pytest.mark.parametrize("document", [{}, {"version": "2.0"}, {"version": "1.0", "labels": 3}])
def test_another_document_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="build the version again"):
        read(document)


def test_rows_that_are_not_finite_are_left_out() -> None:
    local = np.ones((4, 3, 1))
    local[1, 2, 0] = np.nan
    made = summarise(local, np.zeros(1), FEATURES, ("yes",), TREE)
    assert made.rows == 3
    assert made.notes == ("1 rows are left out: their attributions are not finite",)


def test_few_rows_cannot_say_what_moved() -> None:
    found = analyse(relying(0.7, 0.5, 0.3), relying(0.1, 0.5, 0.9, rows=40))
    assert found.violations
    assert details(found.details).labels[0].moved == ()
    assert any(note.startswith("fewer than 100 rows") for note in found.notes)
