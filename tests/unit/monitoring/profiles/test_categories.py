"""Counts are exact up to the cap, and honest beyond it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.profiles import Categories
from monitoring.profiles.categories import LONG, short

counters = st.dictionaries(st.text(max_size=3), st.integers(1, 50), max_size=12)


@given(counters, counters, counters)
def test_merging_exact_counts_is_adding_them(a, b, c) -> None:
    one, two, three = (Categories.of(each) for each in (a, b, c))
    whole = Categories.of(Counter(a) + Counter(b) + Counter(c))
    assert one.merge(two).merge(three) == one.merge(two.merge(three)) == three.merge(two).merge(one) == whole
    assert whole.exact
    assert whole.distinct == len({*a, *b, *c})
    assert whole.others == 0


@given(counters, counters)
def test_past_the_cap_counts_are_too_low_by_missed_at_most(a, b) -> None:
    merged, truth = Categories.of(a, 4).merge(Categories.of(b, 4)), Counter(a) + Counter(b)
    assert merged == Categories.of(b, 4).merge(Categories.of(a, 4))
    assert merged.total == sum(truth.values())
    assert len(merged.counts) <= 4
    for text, count in truth.items():
        assert merged.counts.get(text, 0) <= count <= merged.counts.get(text, 0) + merged.missed
    assert merged.others == merged.total - sum(merged.counts.values()) >= 0
    assert merged.distinct == pytest.approx(len(truth), abs=3)  # registers collide, and "" is no datum


def test_many_distinct_texts_are_estimated() -> None:
    texts = [f"user-{n}" for n in range(30_000)]
    one, other = (
        Categories.of(dict.fromkeys(texts[:20_000], 1)),
        Categories.of(dict.fromkeys(texts[10_000:], 1)),
    )
    assert not one.exact
    assert one.distinct == pytest.approx(20_000, rel=0.05)
    assert one.merge(other).distinct == pytest.approx(30_000, rel=0.05)
    assert one.merge(other) == other.merge(one)
    backwards = Categories.of(dict.fromkeys(reversed(texts[:20_000]), 1))
    assert backwards == one


def test_the_frequent_ones_survive() -> None:
    rare = {f"r{n}": 1 for n in range(10_001)}
    found = Categories.of(rare | {"often": 900, "also": 400})
    assert dict(found.counts) == {"often": 900, "also": 400}
    assert (found.missed, found.others, found.exact) == (1, 10_001, False)


def test_order_is_by_frequency_then_by_text() -> None:
    assert list(Categories.of({"b": 2, "c": 5, "a": 2}).counts) == ["c", "a", "b"]


def test_long_texts_are_shortened_and_stay_apart() -> None:
    one, other = "x" * 5_000 + "1", "x" * 5_000 + "2"
    assert short("plain") == "plain"
    assert len(short(one)) <= LONG
    assert short(one) != short(other)
    assert short(one) == short(one)
