"""Moments are numpy's, however the numbers were split."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.profiles import Moments

numbers = st.lists(st.floats(-1e9, 1e9), max_size=60)


def test_golden() -> None:
    found = Moments.of([0, 1, 1, 2, 3, 5, 8, 13, 21, 34])
    assert found.mean == pytest.approx(8.8, rel=1e-12)
    assert found.sum == pytest.approx(88, rel=1e-12)
    assert found.std_dev == pytest.approx(10.467091286503619, rel=1e-12)
    assert (found.n, found.minimum, found.maximum) == (10, 0, 34)


def test_a_hundred_parts_far_from_zero_merge_to_numpy_s() -> None:
    values = np.random.default_rng(7).normal(1e6, 1, 20_000)
    merged = Moments()
    for part in np.array_split(values, 100):
        merged = merged.merge(Moments.of(part))
    assert merged.mean == pytest.approx(values.mean(), rel=1e-13)
    assert merged.std_dev == pytest.approx(values.std(), rel=1e-13)
    assert merged.m2 == pytest.approx(Moments.of(values).m2, rel=1e-13)


@given(numbers, numbers, numbers)
def test_merging_is_associative_and_equals_the_whole(a, b, c) -> None:
    one, two, three = Moments.of(a), Moments.of(b), Moments.of(c)
    whole = Moments.of(a + b + c)
    size = max((abs(value) for value in a + b + c), default=0.0)
    for merged in (one.merge(two).merge(three), one.merge(two.merge(three)), three.merge(one).merge(two)):
        assert (merged.n, merged.minimum, merged.maximum) == (whole.n, whole.minimum, whole.maximum)
        assert merged.mean == pytest.approx(whole.mean, rel=1e-12, abs=1e-12 * size)
        assert merged.m2 == pytest.approx(whole.m2, rel=1e-12, abs=1e-12 * size * size)


def test_nothing_is_nothing() -> None:
    empty = Moments.of([])
    assert (empty.n, empty.sum, empty.std_dev, empty.minimum) == (0, 0.0, 0.0, math.inf)
    assert empty.merge(Moments.of([3])) == Moments.of([3]) == Moments.of([3]).merge(empty)


def test_what_is_not_finite_stays_out() -> None:
    assert Moments.of([1, math.nan, math.inf, 3, -math.inf]) == Moments.of([1, 3])


def test_huge_numbers_do_not_overflow_the_mean() -> None:
    found = Moments.of([1e308, 1.5e308, -1e308])
    assert found.mean == pytest.approx(0.5e308, rel=1e-12)
    assert found.std_dev == math.inf


def test_a_constant_has_no_spread() -> None:
    assert Moments.of([0.1] * 1000).std_dev == 0.0


def test_numbers_beyond_32_bits_keep_their_bounds() -> None:
    found = Moments.of([1_700_000_000_000, 1_800_000_000_000])
    assert (found.minimum, found.maximum) == (1.7e12, 1.8e12)
