"""Bounds of quantiles hold as often as they promise, and are missing where nothing bounds."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.ranks import bounds, ranks

shares = st.sampled_from([0.5, 0.9, 0.95, 0.99])


def below(count: int, most: int, share: float) -> float:
    """P(Bin(count, share) <= most)."""
    return sum(comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(most + 1))


@given(st.integers(1, 400), shares, st.sampled_from([0.05, 0.01]))
def test_the_risk_is_kept_and_the_ranks_are_the_closest(count, share, risk):
    low, high = ranks(count, share, risk)
    slack = 1e-9
    if low is None:
        assert below(count, 0, share) > risk / 2 - slack
    else:
        assert below(count, low - 1, share) <= risk / 2 + slack
        assert below(count, low, share) > risk / 2 - slack
    if high is None:
        assert 1 - below(count, count - 1, share) > risk / 2 - slack
    else:
        assert 1 - below(count, high - 1, share) <= risk / 2 + slack
        assert high == 1 or 1 - below(count, high - 2, share) > risk / 2 - slack


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300).map(sorted), shares)
def test_bounds_enclose_the_quantile_of_the_sample(values, share):
    low, high = bounds(values, share, 0.05)
    quantile = values[min(len(values) - 1, int(share * len(values)))]
    assert low is None or low <= quantile
    assert high is None or quantile <= high


@pytest.mark.parametrize(("count", "known"), [(100, False), (367, False), (368, True), (10_000_000, True)])
def test_the_99th_percentile_needs_368_values_for_an_upper_bound(count, known):
    low, high = ranks(count, 0.99, 0.05)
    assert low is not None
    assert (high is not None) == known


def test_of_many_values_the_bounds_are_those_of_the_normal_approximation():
    low, high = ranks(1_000_000, 0.5, 0.05)
    assert (low, high) == (pytest.approx(500_000 - 980, abs=2), pytest.approx(500_000 + 981, abs=2))
