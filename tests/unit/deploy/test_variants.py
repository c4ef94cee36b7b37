from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import RolloutRefused
from deploy.port import SERVERLESS
from deploy.release import Release
from deploy.variants import (
    Arrangement,
    Variant,
    check_beside,
    expired,
    split,
    with_variant,
    with_weights,
    without_variant,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def variant(number: int, weight: float = 0.0, mirror: int = 0, until: datetime | None = None) -> Variant:
    return Variant(Release("ships", str(number), str(number) * 64), weight, mirror, until)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=5), st.data())
def test_shares_sum_to_a_hundred_and_only_ready_variants_get_any(weights, data) -> None:
    arrangement = Arrangement(weights[0], tuple(variant(n + 2, w) for n, w in enumerate(weights[1:])))
    names = [one.name for one in arrangement.variants]
    ready = data.draw(st.sets(st.sampled_from(names))) if names else set()
    shares = split(arrangement, ("stable", "v1"), {name: name for name in names}, ready)
    assert sum(share.weight for share in shares) == pytest.approx(100)
    assert {share.variant for share in shares} == {"v1", *ready}


def test_two_to_one() -> None:
    shares = split(Arrangement(2, (variant(2, 1),)), ("stable", "v1"), {"v2": "other"}, {"v2"})
    assert [share.weight for share in shares] == [
        pytest.approx(66.667, abs=0.01),
        pytest.approx(33.333, abs=0.01),
    ]


def test_the_stable_one_answers_when_nobody_else_can() -> None:
    arrangement = Arrangement(0, (variant(2, 1),))
    (share,) = split(arrangement, ("stable", "v1"), {"v2": "other"}, set())
    assert (share.variant, share.weight) == ("v1", 100)


def test_weights_and_counts_change_what_is_named() -> None:
    arrangement = Arrangement(1, (variant(2, 1), variant(3, 2)))
    changed = with_weights(arrangement, "v1", {"v1": 5, "v3": 0}, {"v2": 4})
    assert (changed.weight, [one.weight for one in changed.variants]) == (5, [1, 0])
    assert [one.release.instance_count for one in changed.variants] == [4, 1]
    for weights, counts, words in (
        ({"v9": 1}, {}, "no variant v9; there are: v1, v2, v3"),
        ({"v1": -1}, {}, "zero or more"),
        ({"v1": float("nan")}, {}, "zero or more"),
        ({"v1": 0, "v2": 0, "v3": 0}, {}, "nobody would answer"),
        ({}, {"v2": 0}, "needs an instance"),
    ):
        with pytest.raises(RolloutRefused, match=words):
            with_weights(arrangement, "v1", weights, counts)


def test_variants_come_and_go() -> None:
    arrangement = with_variant(with_variant(Arrangement(0), variant(2, 1)), variant(2, 3))
    assert [one.weight for one in arrangement.variants] == [3]
    assert without_variant(arrangement, "v2") == Arrangement(1.0)
    with pytest.raises(RolloutRefused, match="no variant v7"):
        without_variant(arrangement, "v7")


def test_a_shadow_ends_with_its_time_and_a_variant_when_it_became_stable() -> None:
    ends = variant(2, mirror=50, until=NOW)
    lasts = replace(ends, release=Release("ships", "3", "3" * 64), until=NOW + timedelta(seconds=1))
    assert expired(Arrangement(1, (ends, lasts)), "v1", NOW) == (ends,)
    assert expired(Arrangement(1, (lasts,)), "v3", NOW) == (lasts,)


def test_a_serverless_endpoint_has_one_variant() -> None:
    usual, demand = Release("m", "1", "a" * 64), Release("m", "2", "b" * 64, 1, ((SERVERLESS, "{}"),))
    check_beside(usual, replace(usual, version="2"))
    for stable, beside in ((usual, demand), (demand, usual)):
        with pytest.raises(RolloutRefused, match="version 2 is serverless"):
            check_beside(stable, beside)
