"""Numbers: golden values, scikit-learn on random rows, merged hours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference

from monitoring.quality import regression
from monitoring.quality.metric import Measured

NUMBERS = st.floats(-1e6, 1e6)
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=50)


def measured(truth, predicted, seed: int = 0) -> Measured:
    return regression.measure(
        np.array(truth, dtype=float), np.array(predicted, dtype=float), np.random.default_rng(seed)
    )


def values(found: Measured) -> dict[str, float | None]:
    return {name: metric.value for name, metric in found.scalars.items()}


def test_golden() -> None:
    expected = {"mae": 0.5, "mse": 0.375, "rmse": 0.6123724356957945, "r2": 0.9486081370449679}
    assert values(measured([3, -0.5, 2, 7], [2.5, 0, 2, 8])) == pytest.approx(expected, abs=1e-12)


@given(ROWS)
def test_agrees_with_scikit_learn(rows) -> None:
    truth, predicted = (np.array(column) for column in zip(*rows, strict=True))
    assume(truth.std() > 1e-3)
    found = values(measured(truth, predicted))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(truth, predicted))
    assert found["mse"] == pytest.approx(reference.mean_squared_error(truth, predicted))
    assert found["r2"] == pytest.approx(reference.r2_score(truth, predicted), abs=1e-9)


@given(ROWS, ROWS)
def test_merged_hours_are_all_rows(one, other) -> None:
    parts = [[np.array(column) for column in zip(*rows, strict=True)] for rows in (one, other)]
    both = regression.merge(*(regression.errors(*part) for part in parts))
    whole = regression.errors(*(np.r_[parts[0][k], parts[1][k]] for k in (0, 1)))
    assert both.n == whole.n
    for name in ("absolute", "squared", "fourth", "mean"):
        assert getattr(both, name) == pytest.approx(getattr(whole, name), rel=1e-9, abs=1e-6)
    assert both.m2 == pytest.approx(whole.m2, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize(("rows", "known"), [(199, False), (200, True)])
def test_standard_deviation_from_200_rows_on(rows: int, known: bool) -> None:
    draw = np.random.default_rng(1)
    found = measured(draw.normal(size=rows), draw.normal(size=rows))
    assert all((metric.standard_deviation is not None) is known for metric in found.scalars.values())
    assert (found.scalars["mae"].record()["standard_deviation"] == "NaN") is not known


def test_intervals_cover_the_truth() -> None:
    draw = np.random.default_rng(5)
    true = {"mae": np.sqrt(2 / np.pi) / 2, "mse": 0.25, "rmse": 0.5, "r2": 0.8}
    held = dict.fromkeys(true, 0)
    for seed in range(60):
        predicted = draw.normal(size=300)
        found = measured(predicted + draw.normal(size=300) / 2, predicted, seed).scalars
        for name, value in true.items():
            held[name] += found[name].low <= value <= found[name].high
    assert min(held.values()) >= 51, held


@pytest.mark.parametrize(
    ("truth", "predicted", "missing"),
    [
        ([], [], {"mae", "mse", "rmse", "r2"}),
        ([2, 2, 2], [1, 2, 3], {"r2"}),
        ([1e200, -1e200, 0], [-1e200, 1e200, 0], {"mse", "rmse", "r2"}),
        ([1], [1], {"r2"}),
    ],
    ids=["empty", "constant truth", "overflow", "one row"],
)
def test_little_data_is_no_crash(truth, predicted, missing) -> None:
    found = measured(truth, predicted)
    assert {name for name, value in values(found).items() if value is None} == missing
    records = found.document()["regression_metrics"]
    assert {name for name, record in records.items() if record["value"] == "NaN"} == missing


def test_perfect_predictions() -> None:
    found = measured([1, 2, 3, 4], [1, 2, 3, 4]).scalars
    assert (found["r2"].value, found["r2"].low, found["rmse"].high) == (1.0, 1.0, 0.0)
