"""Score bins: order, merging, and the promised distance of the area."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quality import ranking

SCORES = st.floats(0, 1, width=32) | st.sampled_from([0.0, 0.5, 1.0]) | st.floats(-50, 50)
ROWS = st.lists(st.tuples(SCORES, st.integers(0, 1)), min_size=1, max_size=60)


def ranked(rows) -> ranking.Ranked:
    scores, truth = zip(*rows, strict=True)
    return ranking.ranked(np.array(scores, dtype=float), np.array(truth))


def area(given: ranking.Ranked) -> float:
    return float(ranking.area(given.positive, given.negative))


@given(ROWS)
def test_bins_keep_rows_and_order_and_the_bound(rows) -> None:
    exact = ranked(rows)
    binned = ranking.binned(exact)
    assert (np.diff(binned.scores) > 0).all()
    assert (binned.positive.sum(), binned.negative.sum()) == (exact.positive.sum(), exact.negative.sum())
    if exact.positive.sum() and exact.negative.sum():
        assert abs(area(binned) - area(exact)) <= binned.bound + 1e-12


@given(ROWS, ROWS)
def test_merged_is_all_rows(one, other) -> None:
    whole = ranked(one + other)
    exact = ranking.merge(ranked(one), ranked(other))
    assert exact.exact
    assert exact.scores.tolist() == whole.scores.tolist()
    assert exact.positive.tolist() == whole.positive.tolist()
    binned = ranking.merge(ranking.binned(ranked(one)), ranked(other))
    expected = ranking.binned(whole)
    assert binned.scores.tolist() == expected.scores.tolist()
    assert binned.negative.tolist() == expected.negative.tolist()


def test_bound_is_small_for_spread_scores() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, 50_000)
    scores = 1 / (1 + np.exp(-draw.normal(truth - 4.0, 1.0)))
    binned = ranking.binned(ranking.ranked(scores, truth))
    assert binned.bound < 1e-3
    assert len(binned.scores) < 5000


def test_delong_is_its_definition() -> None:
    # structural components by definition, pair by pair
    draw = np.random.default_rng(2)
    positive, negative = np.round(draw.normal(1, 1, 40), 1), np.round(draw.normal(0, 1, 60), 1)
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    error = np.sqrt(wins.mean(1).var(ddof=1) / 40 + wins.mean(0).var(ddof=1) / 60)
    given = ranking.ranked(np.r_[positive, negative], np.r_[np.ones(40), np.zeros(60)])
    found = ranking.auc(given, None)
    low, high = (np.log(one / (1 - one)) for one in (found.low, found.high))
    value = wins.mean()
    assert found.value == pytest.approx(value, abs=1e-12)
    assert (high - low) / 2 == pytest.approx(1.959963984540054 * error / (value * (1 - value)), rel=1e-9)


def test_perfect_order_still_has_an_interval() -> None:
    found = ranking.auc(ranking.ranked(np.arange(10.0), np.arange(10) >= 5), None)
    assert found.value == found.high == 1.0
    assert 0.5 < found.low < 1
