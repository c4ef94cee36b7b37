"""A window of rows becomes a finding, whatever the rows are."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import rows as names
from monitoring.findings import Finding
from monitoring.quality import constraints, estimate
from monitoring.quality.analysis import Rules, analyse

START = datetime(2026, 3, 1, tzinfo=UTC)
CLASSES = ("0", "1")


def window(rows: int, seed: int, *, labelled: float = 1.0, flip: float = 0.0) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    scores = draw.random(rows)
    truth = (draw.random(rows) < scores) ^ (draw.random(rows) < flip)
    known = draw.random(rows) < labelled
    at = [START + timedelta(seconds=30 * k) for k in range(rows)]
    delay = draw.exponential(7200, rows)
    return pl.DataFrame(
        {
            names.SCORE: scores,
            names.PREDICTED: np.where(scores > 0.5, "1", "0"),
            names.LABEL: [str(int(one)) if there else None for one, there in zip(truth, known, strict=True)],
            names.AT: at,
            names.LABEL_AT: [
                time + timedelta(seconds=float(wait)) if there else None
                for time, wait, there in zip(at, delay, known, strict=True)
            ],
        },
        schema_overrides={names.LABEL: pl.String},
    )


def figures(finding: Finding, *, estimated: bool = False) -> dict[str, float | None]:
    return {one.name: one.value for one in finding.figures if one.estimated is estimated}


def test_a_healthy_window() -> None:
    base = analyse(window(3000, 1), "binary", CLASSES, None, seed=0)
    known = constraints.suggest(base.details.measured)
    found = analyse(window(2000, 2), "binary", CLASSES, known, seed=0, at=START + timedelta(days=9))
    assert (found.kind, found.status, found.rows) == ("ModelQuality", "Completed", 2000)
    assert found.violations_document() == {"violations": []}
    statistics = found.documents["statistics.json"]
    assert statistics["dataset"] == {"item_count": 2000, "evaluation_time": "2026-03-10T00:00:00.000Z"}
    assert found.documents["constraints.json"] == known.document()
    assert figures(found)["label_coverage"] == 1.0
    assert figures(found)["auc"] == statistics["binary_classification_metrics"]["auc"]["value"]
    assert found.details.arrival.median == pytest.approx(7200 * np.log(2), rel=0.1)
    json.dumps(found.documents, allow_nan=False)


def test_a_worse_model_is_a_violation() -> None:
    known = constraints.suggest(analyse(window(3000, 1), "binary", CLASSES, None, seed=0).details.measured)
    found = analyse(window(2000, 2, flip=0.2), "binary", CLASSES, known, seed=0)
    assert found.status == "CompletedWithViolations"
    records = found.violations_document()["violations"]
    assert {"accuracy", "auc"} <= {record["metric_name"] for record in records}


def test_same_seed_same_finding() -> None:
    one, other = (analyse(window(400, 1), "binary", CLASSES, None, seed=5) for _ in range(2))
    assert one.documents == other.documents
    assert one.figures == other.figures


def test_without_labels_only_estimates() -> None:
    estimator, _ = estimate.learn(window(2000, 1), "binary", CLASSES, seed=0)
    known = constraints.suggest(analyse(window(3000, 1), "binary", CLASSES, None, seed=0).details.measured)
    live = window(2000, 2, labelled=0).with_columns(pl.lit(0.55).alias(names.SCORE))
    found = analyse(live, "binary", CLASSES, known, seed=0, estimator=estimator)
    assert found.rows == 0
    assert not found.violations
    assert "No row of the window has a label yet; nothing was measured." in found.notes
    assert figures(found)["accuracy"] is None
    assert {"accuracy", "precision", "recall", "true_negative_rate", "f1"} <= figures(
        found, estimated=True
    ).keys()
    assert found.documents["estimates.json"]["estimated"] is True
    assert any(note.startswith("Estimated without labels to be beyond the threshold") for note in found.notes)
    records = found.documents["statistics.json"]["binary_classification_metrics"]
    assert records["accuracy"] == {"value": "NaN", "standard_deviation": "NaN"}


def test_selective_labels_are_told() -> None:
    rows = window(4000, 3).with_columns(
        pl.when((pl.col(names.SCORE) > 0.5) | (pl.int_range(pl.len()) % 3 == 0))
        .then(names.LABEL)
        .alias(names.LABEL)
    )
    found = analyse(rows, "binary", CLASSES, None, seed=0)
    assert any(note.startswith("Labels are not missing at random") for note in found.notes)
    assert 0.6 < found.details.coverage < 0.7


def test_a_threshold_of_one_s_own() -> None:
    rows = pl.DataFrame(
        {names.SCORE: [0.3, 0.8, 0.9], names.PREDICTED: ["1"] * 3, names.LABEL: ["0", "0", "1"]}
    )
    found = analyse(rows, "binary", CLASSES, None, seed=0, rules=Rules(threshold=0.8))
    assert figures(found)["accuracy"] == 1.0
    assert figures(analyse(rows, "binary", CLASSES, None, seed=0))["accuracy"] == pytest.approx(1 / 3)
    by_score = analyse(rows.drop(names.PREDICTED), "binary", CLASSES, None, seed=0)
    assert figures(by_score)["accuracy"] == pytest.approx(2 / 3)


def test_constant_class_as_sagemaker_has_it() -> None:
    rows = pl.DataFrame({names.PREDICTED: ["0", "1", "1", "1"], names.LABEL: ["0", "0", "0", "1"]})
    found = analyse(rows, "binary", CLASSES, None, seed=0, rules=Rules(constant_class="1"))
    assert found.documents["statistics.json"]["binary_classification_metrics"]["best_constant_class"] == "1"
    assert figures(found)["f2_best_constant_classifier"] == pytest.approx(0.625, abs=1e-12)


def test_regression_and_multiclass() -> None:
    draw = np.random.default_rng(1)
    numbers = pl.DataFrame(
        {names.PREDICTED: [3.0, "x", None, 5.0], names.LABEL: ["2", "1", "1", "5"]}, strict=False
    )
    found = analyse(numbers, "regression", None, None, seed=0)
    assert figures(found)["mae"] == 0.5
    scores = draw.dirichlet([1, 1, 1], 300)
    rows = pl.DataFrame({names.SCORE: scores.tolist(), names.LABEL: draw.choice(["a", "b", "c"], 300)})
    found = analyse(rows, "multiclass", ("a", "b", "c"), None, seed=0)
    assert found.rows == 300
    assert figures(found)["weighted_recall"] == figures(found)["accuracy"]


NASTY = st.sampled_from([None, "", "nan", "0", "1", "2", "yes", "1e400", "-1", "inf"])
NUMBERS = st.sampled_from([None, float("nan"), float("inf"), -1e308, 1e308, 0.0, 0.5, 1.0, 7.0])


@given(
    st.lists(st.tuples(NUMBERS, NASTY, NASTY), max_size=12),
    st.sampled_from(["binary", "multiclass", "regression"]),
    st.sampled_from([None, ("0", "1"), ("no", "yes"), ("only",)]),
)
def test_nothing_crashes(rows, task, classes) -> None:
    kinds = {names.SCORE: pl.Float64, names.PREDICTED: pl.String, names.LABEL: pl.String}
    found = analyse(pl.DataFrame(rows, schema=kinds, orient="row"), task, classes, None, seed=0)
    json.dumps(found.documents, allow_nan=False)
    assert all(one.value is None or np.isfinite(one.value) for one in found.figures)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize(
    "rows",
    [
        pl.DataFrame(),
        pl.DataFrame({"x": [1, 2]}),
        pl.DataFrame({names.LABEL: [None, None]}),
        pl.DataFrame(
            {names.LABEL: [[1], [2]], names.PREDICTED: [{"a": 1}, {"a": 2}], names.SCORE: ["x", "0.4"]}
        ),
        pl.DataFrame({names.LABEL: ["1", "1"], names.SCORE: [0.5, 0.5]}),
        pl.DataFrame({names.LABEL: ["1", "0"], names.SCORE: [[0.1, 0.9], [0.2]]}),
        pl.DataFrame({names.LABEL: pl.Series([object(), "1"], dtype=pl.Object), names.PREDICTED: ["1", "1"]}),
        pl.DataFrame({names.LABEL: [START, START], names.PREDICTED: ["1", "0"], names.AT: ["soon", "later"]}),
    ],
    ids=["empty", "no columns", "all null", "nested", "constant", "ragged", "objects", "times"],
)
def test_strange_columns_become_notes(rows, task) -> None:
    found = analyse(rows, task, CLASSES, constraints.Constraints(task), seed=0)
    assert found.status == "Completed"
    assert found.notes or found.rows
    json.dumps(found.documents, allow_nan=False)


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        (pl.DataFrame(), "The window has no rows."),
        (
            pl.DataFrame({names.LABEL: ["1", "7"], names.PREDICTED: ["1", "1"]}),
            "label that the model does not know: 7",
        ),
        (pl.DataFrame({names.LABEL: ["1"] * 2, names.PREDICTED: ["1"] * 2}), "All labels are of one class"),
        (pl.DataFrame({names.LABEL: ["1", "0"], names.SCORE: [0.4, 0.4]}), "All scores are 0.4"),
        (
            pl.DataFrame({names.LABEL: ["1", "0"], names.SCORE: [0.4, np.nan]}),
            "1 row has a score that is no finite",
        ),
        (
            pl.DataFrame({names.LABEL: ["7"], names.PREDICTED: ["1"]}),
            "both a usable prediction and a usable label",
        ),
    ],
)
def test_what_is_wrong_is_told(rows, note) -> None:
    found = analyse(rows, "binary", CLASSES, None, seed=0)
    assert any(note in one for one in found.notes), found.notes
