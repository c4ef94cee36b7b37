from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from monitoring.explain.shares import moved, ranks, shift_p_value, spearman

THEN, NOW = {"a": 6.0, "b": 3.0, "c": 1.0}, {"a": 1.0, "b": 3.0, "c": 6.0}


def test_movement() -> None:
    found = moved(THEN, NOW)
    assert found is not None
    assert found.l1 == pytest.approx(1.0)
    assert found.js == pytest.approx(distance.jensenshannon([6, 3, 1], [1, 3, 6], base=2) ** 2)
    assert found.spearman == pytest.approx(-1)
    assert (found.new, found.vanished) == ((), ())


def test_the_same_shares_did_not_move() -> None:
    found = moved(THEN, {name: 7 * value for name, value in THEN.items()})
    assert found is not None
    assert (found.l1, found.js, found.spearman) == pytest.approx((0, 0, 1), abs=1e-12)


def test_new_and_vanished_features() -> None:
    found = moved({"a": 1.0, "b": 0.5, "c": 0.0}, {"a": 1.0, "c": 0.3, "d": 0.2, "b": 0.0001})
    assert found is not None
    assert (found.new, found.vanished) == (("c", "d"), ("b",))
    assert found.js <= 1


def test_a_flat_baseline_that_ndcg_cannot_judge() -> None:
    flat = {f"f{n}": 1.0 for n in range(10)}
    found = moved(flat, flat | {"f0": 20.0})
    assert found is not None
    assert found.l1 > 1
    assert found.spearman is None


@pytest.mark.parametrize("nothing", [{}, {"a": 0.0}, {"a": math.nan}, {"a": math.inf}])
def test_what_cannot_be_compared(nothing: dict[str, float]) -> None:
    assert moved(THEN, nothing) is None
    assert moved(nothing, THEN) is None


@given(st.lists(st.integers(0, 4), min_size=2, max_size=15), st.randoms(use_true_random=False))
def test_spearman_is_what_scipy_says(values: list[int], chance: object) -> None:
    other = values.copy()
    chance.shuffle(other)  # type: ignore[attr-defined]  # random.Random
    assert ranks(values).tolist() == stats.rankdata(-np.array(values)).tolist()
    found = spearman(values, other)
    if len(set(values)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(values, other).statistic, abs=1e-12)


def test_p_value_of_a_shift() -> None:
    assert shift_p_value(1.96 * 0.05, (0.03, 0.04), (10**6, 10**6)) == pytest.approx(0.05, abs=1e-4)
    a, b = np.random.default_rng(1).normal(size=(2, 120)) * [[1], [3]]
    errors = a.std(ddof=1) / math.sqrt(120), b.std(ddof=1) / math.sqrt(120)
    welch = stats.ttest_ind(a, b, equal_var=False).pvalue
    assert shift_p_value(b.mean() - a.mean(), errors, (120, 120)) == pytest.approx(welch)
    assert shift_p_value(0.1, (math.nan, 0.01), (500, 500)) is None
    assert shift_p_value(0.1, (0.0, 0.0), (500, 500)) is None
    assert shift_p_value(0.1, (0.01, 0.01), (500, 99)) is None
