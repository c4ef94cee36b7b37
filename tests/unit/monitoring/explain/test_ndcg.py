from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from monitoring.explain.ndcg import ndcg

ADMISSIONS = {"SAT": 0.70, "GPA": 0.50, "Rank": 0.05}
HALVES = {f"f{i}": 2.0**-i for i in range(10)}
FLATTISH = {f"f{i}": 1 - 0.05 * i for i in range(10)}


def named(values: list[float]) -> dict[str, float]:
    return {f"f{n}": value for n, value in enumerate(values)}


def reversed_order(baseline: dict[str, float]) -> dict[str, float]:
    return dict(zip(baseline, reversed(baseline.values()), strict=True))


@pytest.mark.parametrize(
    ("baseline", "live", "expected"),
    [
        (ADMISSIONS, {"SAT": 0.10, "GPA": 0.20, "Rank": 0.70}, 0.6876396241226223),
        (ADMISSIONS, ADMISSIONS, 1.0),
        (ADMISSIONS, {"SAT": 0.5, "GPA": 0.7, "Rank": 0.05}, 0.9290566640617995),
        (ADMISSIONS, {"SAT": 0.7, "GPA": 0.05, "Rank": 0.5}, 0.9433730148689208),
        (named([1, 1, 1, 1]), named([4, 1, 3, 2]), 1.0),
        (HALVES, reversed_order(HALVES), 0.39604231545266994),
        (FLATTISH, reversed_order(FLATTISH), 0.8679994558243224),
        (ADMISSIONS, {"SAT": 0.2, "GPA": 0.2, "Rank": 0.1}, 0.9645283320308997),
    ],
)
def test_golden(baseline: dict[str, float], live: dict[str, float], expected: float) -> None:
    assert ndcg(baseline, live) == pytest.approx(expected, abs=1e-12)


def test_ties_in_the_order_of_the_live_mapping() -> None:
    tied = {"GPA": 0.2, "SAT": 0.2, "Rank": 0.1}
    assert ndcg(ADMISSIONS, tied, ties="order") == pytest.approx(0.9290566640617995, abs=1e-12)
    assert ndcg(ADMISSIONS, tied) == pytest.approx(0.9645283320308997, abs=1e-12)


def test_features_that_one_side_lacks_have_no_attribution() -> None:
    assert ndcg({"a": 1.0, "b": 0.5}, {"a": 1.0, "b": 0.5, "c": 0.1}) == pytest.approx(1)
    assert ndcg({"a": 1.0, "b": 0.5}, {"c": 2.0, "a": 1.0, "b": 0.5}) == pytest.approx(
        (1 / math.log2(3) + 0.5 / 2) / (1 + 0.5 / math.log2(3))
    )
    assert ndcg({"a": 1.0, "b": 0.5}, {"a": 1.0}) == pytest.approx(1)


def test_only_sizes_count() -> None:
    assert ndcg({"a": -2.0, "b": 1.0}, {"a": 3.0, "b": -0.5}) == pytest.approx(1)


@pytest.mark.parametrize("baseline", [{}, {"a": 0.0}, {"a": math.nan}, {"a": math.inf}])
def test_what_has_no_ndcg(baseline: dict[str, float]) -> None:
    assert ndcg(baseline, {"a": 1.0}) is None
    assert ndcg({"a": 1.0}, {"a": math.nan}) is None


sizes = st.lists(st.integers(0, 5).map(float), min_size=2, max_size=12)


@given(st.data())
def test_it_is_what_scikit_learn_says(data: st.DataObject) -> None:
    baseline = data.draw(sizes.filter(any))
    live = data.draw(st.lists(st.integers(0, 3), min_size=len(baseline), max_size=len(baseline)))
    found = ndcg(named(baseline), named([float(one) for one in live]))
    assert found == pytest.approx(ndcg_score(np.array([baseline]), np.array([live])), abs=1e-12)
