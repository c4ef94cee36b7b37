from __future__ import annotations

import json
import time

import numpy as np
import polars as pl
import pytest

from steps import evaluate
from steps.errors import EvaluationRefused
from steps.evaluate import Champion


def rows_of(count: int = 800, seed: int = 3) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    x = random.normal(size=count)
    group = np.where(random.random(count) < 0.98, random.choice(["a", "b"], count), "rare")
    return pl.DataFrame(
        {
            "x": x,
            "z": -x,
            "c": group,
            "y": (x + random.normal(size=count) > 0).astype(int),
            "when": np.arange(count),
        }
    )


def good(rows: pl.DataFrame) -> np.ndarray:
    return 1 / (1 + np.exp(-2 * rows["x"].to_numpy()))


def poor(rows: pl.DataFrame) -> np.ndarray:
    return np.clip(good(rows) + np.random.default_rng(0).normal(0, 0.5, rows.height), 0.01, 0.99)


@pytest.fixture(scope="module")
def report():
    from configs.load import parse

    setting = parse(json.dumps(BINARY))
    return evaluate.report(rows_of(), setting, [0, 1], good, Champion("7", poor))


BINARY = {
    "name": "s", "model": "s",
    "data": {"channels": {"r": {"source": "r.csv"}}, "target": "y", "time": "when",
             "features": {"numeric": ["x", "z"], "categorical": ["c"]}},
    "process": {"function": "f:t"}, "train": {"estimator": "a.B"},
    "evaluate": {"bootstrap": 50, "slices": ["c"]},
    "staging": {"endpoint": "a"},
    "production": {"endpoint": "b", "rollout": {"strategy": [{"type": "all_at_once"}]}},
}  # fmt: skip


def test_values_lie_in_their_intervals_and_differences_are_paired(report) -> None:
    for name, entry in report["metrics"].items():
        assert entry["low"] <= entry["value"] <= entry["high"], name
    champion = report["champion"]
    gain = champion["difference"]["roc_auc"]
    own, other = report["metrics"]["roc_auc"], champion["metrics"]["roc_auc"]
    assert gain["value"] == pytest.approx(own["value"] - other["value"])
    assert 0 < gain["low"] < gain["value"]
    assert json.loads(json.dumps(report, allow_nan=False))["rows"] == 800


def test_a_model_beside_itself_differs_by_nothing(project) -> None:
    same = evaluate.report(rows_of(200), project(), [0, 1], good, Champion("same", good))
    assert {tuple(entry.values()) for entry in same["champion"]["difference"].values()} == {(0.0, 0.0, 0.0)}


def test_slices_are_complete_and_small_ones_flagged(report) -> None:
    found = {entry["value"]: entry for entry in report["slices"]["c"]}
    assert sum(entry["rows"] for entry in found.values()) == 800
    assert [name for name, entry in found.items() if entry["small"]] == ["rare"]


def test_equal_seeds_give_equal_reports(report, project) -> None:
    from configs.load import parse

    again = evaluate.report(rows_of(), parse(json.dumps(BINARY)), [0, 1], good, Champion("7", poor))
    assert again == report


def test_shapes(report) -> None:
    assert sum(map(sum, report["confusion"]["counts"])) == 800
    assert sum(one["rows"] for one in report["calibration"]) == 800
    scores = [one["score"] for one in report["calibration"]]
    assert scores == sorted(scores)
    curve = report["roc"]
    assert (curve["fpr"][0], curve["tpr"][-1]) == (0.0, 1.0)
    assert curve["tpr"] == sorted(curve["tpr"])
    assert np.trapezoid(curve["tpr"], curve["fpr"]) == pytest.approx(
        report["metrics"]["roc_auc"]["value"], abs=0.01
    )


def test_a_metric_of_one_class_is_none_not_a_crash(project) -> None:
    rows = rows_of(300).with_columns(y=pl.when(pl.col("c") == "a").then(1).otherwise(pl.col("y")))
    found = evaluate.report(rows, project(evaluate__slices=["c"]), [0, 1], good, None)
    by_value = {one["value"]: one for one in found["slices"]["c"]}
    assert by_value["a"]["metrics"]["roc_auc"] is None
    assert by_value["a"]["small"]
    assert by_value["a"]["metrics"]["log_loss"] is not None


def test_text_classes_and_several(project) -> None:
    rows = pl.DataFrame({"y": ["n", "p", "q", "p"] * 30, "when": range(120), "c": ["a"] * 120})
    hot = np.eye(3)[[0, 1, 2, 1] * 30] * 0.7 + 0.1
    found = evaluate.report(rows, project(train__task="multiclass"), ["n", "p", "q"], lambda _: hot, None)
    assert found["metrics"]["accuracy"]["value"] == 1.0
    assert found["confusion"]["labels"] == ["n", "p", "q"]
    assert found["roc"] is None


def test_regression(project) -> None:
    rows = rows_of(200)
    setting = project(train__task="regression", data__target="z")
    found = evaluate.report(rows, setting, None, lambda rows: -rows["x"].to_numpy() + 1, None)
    assert found["metrics"]["rmse"]["value"] == pytest.approx(1)
    assert found["confusion"] is None


@pytest.mark.parametrize(
    ("score", "says"),
    [
        (lambda rows: np.full(rows.height, np.nan), "the model gave scores that are not finite for 200 rows"),
        (lambda rows: np.zeros(3), "the model gave 3 scores for 200 rows"),
    ],
)
def test_bad_scores_are_refused(project, score, says) -> None:
    with pytest.raises(EvaluationRefused, match=says):
        evaluate.report(rows_of(200), project(), [0, 1], score, None)


def test_a_champion_of_other_classes_is_refused(project) -> None:
    champion = Champion("9", lambda rows: np.zeros((rows.height, 3)))
    with pytest.raises(EvaluationRefused, match="champion 9 gives scores of shape"):
        evaluate.report(rows_of(200), project(), [0, 1], good, champion)


@pytest.mark.slow
def test_three_hundred_resamples_of_fifty_thousand_rows_are_quick(project) -> None:
    rows = rows_of(50_000)
    started = time.perf_counter()
    evaluate.report(rows, project(evaluate__bootstrap=300), [0, 1], good, None)
    assert time.perf_counter() - started < 15
