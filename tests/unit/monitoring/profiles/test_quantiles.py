"""The sketch keeps its bound, and the same numbers make the same sketch."""

import math
import random
from functools import reduce

import datasketches
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.profiles import Quantiles
from monitoring.profiles.quantiles import SIZE, restored, union

SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "long tail": lambda rng, n: rng.lognormal(0, 3, n),
    "few values": lambda rng, n: rng.integers(0, 7, n).astype(float),
    "trend": lambda _rng, n: np.arange(n, dtype=float),
}


def largest_error(cdf, values) -> float:
    ascending = np.sort(values)
    asked = np.unique(ascending)
    return float(np.abs(cdf(asked) - np.searchsorted(ascending, asked, "right") / values.size).max())


def theirs(parts):
    merged = datasketches.kll_doubles_sketch(2048)
    for part in parts:
        one = datasketches.kll_doubles_sketch(2048)
        one.update(part.copy())
        merged.merge(one)
    return lambda asked: np.array(merged.get_cdf(asked[:-1], True)) if asked.size > 1 else np.ones(1)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_batch_is_off_by_half_a_block_at_most_and_less_than_datasketches(shape) -> None:
    values = SHAPES[shape](np.random.default_rng(3), 60_000)
    sketch = Quantiles.of(values)
    error = largest_error(sketch.cdf, values)
    assert sketch.n == values.size
    assert sum(items.size for items in sketch.compactors) <= SIZE
    assert error <= sketch.error + 1e-12
    assert sketch.error == sketch.worst / sketch.n <= 1 / 4096
    assert error <= largest_error(theirs([values]), values)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("parts", [3, 24])
def test_merged_batches_are_not_worse_than_datasketches(shape, parts) -> None:
    rng = np.random.default_rng(parts)
    batches = [SHAPES[shape](rng, 4_000) for _ in range(parts)]
    values = np.concatenate(batches)
    sketches = [Quantiles.of(batch) for batch in batches]
    together, folded = union(sketches), reduce(Quantiles.merge, sketches)
    promised = datasketches.kll_doubles_sketch(2048).normalized_rank_error(False)
    for merged in (together, folded):
        assert merged.n == values.size
        assert sum(items.size for items in merged.compactors) <= SIZE
        assert largest_error(merged.cdf, values) <= min(promised, merged.worst / merged.n) + 1e-12
        assert largest_error(merged.cdf, values) <= 1.3 * merged.error
    assert together.error <= folded.error < promised


@given(st.integers(0, 2**32), st.lists(st.integers(0, 9_000), min_size=1, max_size=6))
def test_any_split_in_any_order_stays_within_the_worst_case(seed, sizes) -> None:
    rng = np.random.default_rng(seed)
    batches = [rng.normal(size=size) for size in sizes]
    values = np.concatenate(batches)
    sketches = [Quantiles.of(batch) for batch in batches]
    random.Random(seed).shuffle(sketches)
    left = reduce(Quantiles.merge, sketches)
    right = reduce(lambda done, one: one.merge(done), reversed(sketches))
    for merged in (left, right, union(sketches)):
        assert merged.n == values.size
        if values.size:
            assert largest_error(merged.cdf, values) <= merged.worst / merged.n + 1e-12
            assert (merged.minimum, merged.maximum) == (values.min(), values.max())


def test_order_of_a_merge_does_not_matter_and_repeats_are_equal() -> None:
    rng = np.random.default_rng(5)
    a, b = Quantiles.of(rng.normal(size=20_000)), Quantiles.of(rng.normal(size=9_001))
    assert a.merge(b) == b.merge(a)
    assert hash(a.merge(b)) == hash(b.merge(a))
    assert a != b
    assert a != "a"
    values = rng.normal(size=20_000)
    assert Quantiles.of(values) == Quantiles.of(rng.permutation(values))


def test_few_numbers_are_exact() -> None:
    sketch = Quantiles.of([3, 1, 2, 2])
    assert sketch.error == 0
    assert sketch.levels() == [[1, 2, 2, 3]]
    assert sketch.cdf([0.5, 1, 2, 2.5, 3, 9]).tolist() == [0, 0.25, 0.75, 0.75, 1, 1]
    assert [sketch.quantile(q) for q in (0, 0.25, 0.5, 0.75, 0.76, 1)] == [1, 1, 2, 2, 3, 3]
    values, below = sketch.points()
    assert (values.tolist(), below.tolist()) == ([1, 2, 2, 3], [1, 2, 3, 4])


def test_ties_keep_their_weight() -> None:
    one, other = Quantiles.of([1, 1, 1, 2]), Quantiles.of([1, 2, 2, 2])
    asked = [1.0, 2.0]
    assert np.abs(one.cdf(asked) - other.cdf(asked)).max() == 0.5


def test_golden_buckets() -> None:
    found = Quantiles.of([0, 1, 1, 2, 3, 5, 8, 13, 21, 34]).buckets(0, 34)
    assert [count for _, _, count in found] == [5, 1, 1, 1, 0, 0, 1, 0, 0, 1]
    assert [upper - lower for lower, upper, _ in found] == pytest.approx([3.4] * 10, rel=1e-12)
    assert found[-1][1] == 34


def test_buckets_of_a_constant_and_of_the_widest_range() -> None:
    assert sum(count for *_, count in Quantiles.of([5.0] * 9).buckets(5, 5)) == 9
    wide = Quantiles.of([-1.7e308, 0, 1.7e308]).buckets(-1.7e308, 1.7e308)
    assert sum(count for *_, count in wide) == 3
    assert all(math.isfinite(bound) for lower, upper, _ in wide for bound in (lower, upper))


def test_an_empty_sketch_knows_nothing() -> None:
    empty = Quantiles.of([math.nan, math.inf])
    assert (empty.n, empty.error) == (0, 0.0)
    assert math.isnan(empty.quantile(0.5))
    assert np.isnan(empty.cdf([1.0])).all()
    assert [count for *_, count in empty.buckets(0, 1)] == [0] * 10
    assert empty.merge(Quantiles.of([1])) == Quantiles.of([1]) == Quantiles.of([1]).merge(empty)
    assert empty.points()[0].size == 0


def test_the_two_zeros_are_one() -> None:
    assert math.copysign(1, Quantiles.of([-0.0]).levels()[0][0]) == 1


def test_levels_of_somebody_else_are_taken_as_they_are() -> None:
    found = restored([[2.0, 1.0], [5.0, 4.0], []], 0.5, 6.0)
    assert (found.n, found.levels(), found.minimum, found.maximum) == (6, [[1, 2], [4, 5]], 0.5, 6)
    assert restored([], 0, 1) == Quantiles()
