from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from steps.metrics import KNOWN, LOWER_IS_BETTER, Scored, measure


def weights_of(rows: int, seed: int, count: int = 4) -> np.ndarray:
    draws = np.random.default_rng(seed).integers(0, rows, (count, rows))
    return np.stack([np.bincount(draw, minlength=rows) for draw in draws], axis=1).astype(float)


@given(seed=st.integers(0, 2**31), rows=st.integers(4, 60), ties=st.booleans())
def test_binary_metrics_are_scikit_learns_on_every_resample(seed: int, rows: int, *, ties: bool) -> None:
    random = np.random.default_rng(seed)
    truth = np.r_[0, 1, random.integers(0, 2, rows - 2)]
    scores = random.integers(1, 5, rows) / 5 if ties else random.uniform(0.01, 0.99, rows)
    weights = weights_of(rows, seed)
    found = measure("binary", Scored(truth, scores), weights)
    for column in range(weights.shape[1]):
        drawn = np.repeat(np.arange(rows), weights[:, column].astype(int))
        y, p = truth[drawn], scores[drawn]
        if y.min() == y.max():
            assert np.isnan(found["roc_auc"][column])
            continue
        called = p >= 0.5
        expected = {
            "roc_auc": reference.roc_auc_score(y, p),
            "average_precision": reference.average_precision_score(y, p),
            "log_loss": reference.log_loss(y, p),
            "brier": reference.brier_score_loss(y, p),
            "accuracy": reference.accuracy_score(y, called),
            "balanced_accuracy": reference.balanced_accuracy_score(y, called),
            "f1": reference.f1_score(y, called),
            "recall": reference.recall_score(y, called),
        }
        for name, value in expected.items():
            assert found[name][column] == pytest.approx(value), name
        if called.any():
            assert found["precision"][column] == pytest.approx(reference.precision_score(y, called))


@given(seed=st.integers(0, 2**31))
def test_multiclass_metrics_are_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.r_[0, 1, 2, random.integers(0, 3, 37)]
    scores = random.dirichlet([1, 1, 1], 40)
    found = measure("multiclass", Scored(truth, scores), np.ones((40, 1)))
    called = scores.argmax(axis=1)
    assert found["accuracy"][0] == pytest.approx(reference.accuracy_score(truth, called))
    assert found["balanced_accuracy"][0] == pytest.approx(reference.balanced_accuracy_score(truth, called))
    assert found["macro_f1"][0] == pytest.approx(reference.f1_score(truth, called, average="macro"))
    assert found["log_loss"][0] == pytest.approx(reference.log_loss(truth, scores))


def test_regression_metrics_are_scikit_learns() -> None:
    random = np.random.default_rng(1)
    truth, scores = random.normal(5, 1, 50), random.normal(5, 1, 50)
    found = measure("regression", Scored(truth, scores), np.ones((50, 1)))
    assert found["rmse"][0] == pytest.approx(reference.root_mean_squared_error(truth, scores))
    assert found["mae"][0] == pytest.approx(reference.mean_absolute_error(truth, scores))
    assert found["r2"][0] == pytest.approx(reference.r2_score(truth, scores))
    assert found["mape"][0] == pytest.approx(reference.mean_absolute_percentage_error(truth, scores))
    zero = measure("regression", Scored(np.array([0.0, 1.0]), np.array([1.0, 1.0])), np.ones((2, 1)))
    assert np.isnan(zero["mape"][0])


def test_every_metric_has_a_direction() -> None:
    assert LOWER_IS_BETTER <= {name for names in KNOWN.values() for name in names}
