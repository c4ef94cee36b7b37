from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.explain.globally import Aggregation, aggregate, missed, shares_of

GOLDEN = [[0.2, -0.1, 0.4], [-0.3, 0.5, 0.1], [0.1, 0.1, -0.6], [0.4, -0.2, 0.2]]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean_abs", [0.25, 0.225, 0.325]),
        ("mean_sq", [0.075, 0.0775, 0.1425]),
        ("median", [0.15, 0, 0.15]),
    ],
)
def test_golden(how: Aggregation, expected: list[float]) -> None:
    assert aggregate(GOLDEN, how).values == pytest.approx(expected, abs=1e-12)


def test_standard_errors_of_means_are_those_of_the_rows() -> None:
    sizes = np.abs(GOLDEN)
    assert aggregate(GOLDEN).errors == pytest.approx(sizes.std(axis=0, ddof=1) / 2)
    squares = np.square(GOLDEN)
    assert aggregate(GOLDEN, "mean_sq").errors == pytest.approx(squares.std(axis=0, ddof=1) / 2)


@pytest.mark.parametrize("how", ["mean_abs", "mean_sq", "median"])
def test_standard_errors_are_the_spread_over_samples(how: Aggregation) -> None:
    draw = np.random.default_rng(1)
    samples = draw.gamma(2, size=(400, 150, 3)) * [1, 2, 5]
    values = np.array([aggregate(one, how).values for one in samples])
    told = np.array([aggregate(one, how).errors for one in samples[:50]]).mean(axis=0)
    assert told == pytest.approx(values.std(axis=0), rel=0.15)


def test_errors_of_shares_see_that_features_go_together() -> None:
    draw = np.random.default_rng(2)
    common = draw.gamma(1, size=(300, 200, 1))
    together = common * [1, 2, 5]
    found = aggregate(together[0])
    assert found.share_errors == pytest.approx(np.zeros(3), abs=1e-15)
    apart = common * draw.uniform(0.5, 1.5, (300, 200, 3)) * [1, 2, 5]
    shares = np.array([aggregate(one).shares for one in apart])
    told = np.array([aggregate(one).share_errors for one in apart[:50]]).mean(axis=0)
    assert told == pytest.approx(shares.std(axis=0), rel=0.15)


def test_one_row_and_none() -> None:
    found = aggregate([[1.0, -3.0]])
    assert found.values.tolist() == [1, 3]
    assert np.isnan(found.errors).all()
    assert np.isnan(aggregate([[1.0, -3.0]], "median").errors).all()
    with pytest.raises(ValueError, match="no rows"):
        aggregate(np.zeros((0, 2)))


def test_nothing_has_a_share_of_nothing() -> None:
    assert shares_of([0.0, 0.0]).tolist() == [0, 0]
    assert aggregate(np.zeros((5, 2))).shares.tolist() == [0, 0]


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))
def test_additivity(rows: int, features: int, outputs: int) -> None:
    draw = np.random.default_rng(rows * 100 + features * 10 + outputs)
    local = draw.normal(size=(rows, features, outputs))
    expected = draw.normal(size=outputs)
    scores = expected + local.sum(axis=1)
    assert missed(local, expected, scores) == pytest.approx(0, abs=1e-12)
    assert missed(local, expected + 0.5, scores) > 0.1


def test_additivity_is_relative_to_large_scores() -> None:
    assert missed([[[1000.0]]], [0.0], [[1001.0]]) == pytest.approx(1 / 1001)
    assert missed(np.zeros((0, 2, 1)), [0.0], np.zeros((0, 1))) == 0
