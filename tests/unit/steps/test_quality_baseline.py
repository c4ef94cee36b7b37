"""The part of a package's baseline that is about quality."""

from __future__ import annotations

import json

import numpy as np
import polars as pl

from monitoring.quality import analysis, constraints, estimate
from steps.baseline import ESTIMATOR, QUALITY, Part, quality_baseline


def binary(rows: int) -> pl.DataFrame:
    draw = np.random.default_rng(1)
    scores = draw.random(rows)
    label = (draw.random(rows) < scores**2).astype(int)
    said = np.where(scores > 0.5, "1", "0")
    return pl.DataFrame({"x": scores, "@score": scores, "@predicted_label": said, "@label": label})


def numbers(rows: int) -> pl.DataFrame:
    draw = np.random.default_rng(2)
    x = draw.random(rows)
    return pl.DataFrame(
        {
            "x": x,
            "city": draw.choice(["a", "b"], rows),
            "@predicted_label": x,
            "@label": x + draw.normal(0, 1 + x),
        }
    )


def test_documents_are_what_the_window_is_held_against() -> None:
    part = quality_baseline(binary(2000), "binary", (0, 1), features=("x",), seed=3)
    files = {name: json.loads(content) for name, content in part.files().items()}
    known = constraints.read(files[QUALITY]["constraints"])
    measured = files[QUALITY]["statistics"]["binary_classification_metrics"]
    assert known.metrics["f1"].threshold == measured["f1"]["value"]
    estimator = estimate.read(files[ESTIMATOR])
    found = analysis.analyse(binary(2000), "binary", (0, 1), known, seed=4, estimator=estimator)
    assert found.status == "Completed"
    assert not part.notes
    assert any(one.estimated and one.name == "auc" for one in found.figures)


def test_same_rows_same_bytes() -> None:
    one, other = (quality_baseline(numbers(600), "regression", None, seed=3).files() for _ in range(2))
    assert one == other
    assert set(one) == {QUALITY, ESTIMATOR}


def test_features_are_those_of_the_model() -> None:
    part = quality_baseline(numbers(600), "regression", None, features=("x",), seed=3)
    assert [one["name"] for one in part.documents[ESTIMATOR]["losses"]["columns"]] == ["x"]


def test_too_few_rows_leave_the_estimator_out() -> None:
    part = quality_baseline(binary(20), "binary", (0, 1), seed=3)
    assert set(part.documents) == {QUALITY}
    assert any("Only 20 reference rows" in note for note in part.notes)
    assert isinstance(quality_baseline(pl.DataFrame(), "regression", None, seed=3), Part)
