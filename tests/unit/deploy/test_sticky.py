from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.sticky import SLOTS, Rule, Segment, partition, sizes

WEIGHTS = st.dictionaries(
    st.sampled_from("abcdef"), st.floats(0, 1000, allow_nan=False), min_size=1, max_size=6
).filter(lambda weights: sum(weights.values()) > 1e-3)


def slots(segments: tuple[Segment, ...]) -> list[str]:
    return [segment.fleet for segment in segments for _ in range(segment.slots)]


@given(st.lists(WEIGHTS, min_size=2, max_size=5))
def test_only_the_necessary_share_moves(history: list[dict[str, float]]) -> None:
    before = partition((), history[0])
    for weights in history[1:]:
        after = partition(before, weights)
        held, holds = slots(before), slots(after)
        assert len(holds) == SLOTS
        assert {fleet: holds.count(fleet) for fleet in weights} == sizes(weights)
        moved = sum(old != new for old, new in zip(held, holds, strict=True))
        grown = sum(max(0, holds.count(fleet) - held.count(fleet)) for fleet in set(held + holds))
        assert moved == grown
        before = after


@given(WEIGHTS)
def test_the_same_weights_change_nothing(weights: dict[str, float]) -> None:
    first = partition((), weights)
    assert partition(first, weights) == first
    assert partition(first, {fleet: 7 * weight for fleet, weight in weights.items()}) == first


def test_a_canary_that_grows_keeps_its_clients() -> None:
    steps = [partition((), {"old": 100})]
    for weight in (10, 50, 100):
        steps.append(partition(steps[-1], {"old": 100 - weight, "new": weight}))
    for smaller, larger in pairwise(steps):
        kept = zip(slots(smaller), slots(larger), strict=True)
        assert all(after == "new" for before, after in kept if before == "new")


def test_two_to_one_is_two_thirds() -> None:
    assert sizes({"a": 2.0, "b": 1.0}) == {"a": 6667, "b": 3333}
    with pytest.raises(ValueError, match="above zero"):
        sizes({"a": 0.0})


def test_rules() -> None:
    assert Rule.parse("header:x-user") == Rule("header", "x-user")
    assert Rule.parse("cookie: session ") == Rule("cookie", "session")
    assert Rule.parse("") is None
    for wrong in ("x-user", "query:a", "header:", "cookie: "):
        with pytest.raises(ValueError, match="header:NAME or cookie:NAME"):
            Rule.parse(wrong)
