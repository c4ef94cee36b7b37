"""How requests went, pair by pair: the table counts exactly who failed on what."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.meeting import Met
from monitoring.outcomes import Noted, Outcome
from monitoring.paired import Answer, Pair, compare, judge
from monitoring.payloads import Prediction

statuses = st.sampled_from([200, 200, 201, 400, 424, 500, 504])
sides = st.none() | st.tuples(statuses, st.none() | st.floats(0.01, 1000))
requests = st.lists(st.tuples(sides, sides).filter(any), max_size=60)


def met(made) -> list[Met[Outcome]]:
    return [
        Met(str(n), *(None if one is None else Outcome(str(n), n, *one) for one in both))
        for n, both in enumerate(made)
    ]


@given(requests)
def test_the_table_is_a_count_of_the_pairs(made):
    found = compare([], outcomes=met(made))
    pairs = [(ours[0], theirs[0]) for ours, theirs in made if ours and theirs]
    well = Counter((ours < 300, theirs < 300) for ours, theirs in pairs)
    errors = found.errors
    assert (errors.neither, errors.only_champion, errors.only_candidate, errors.both) == (
        well[True, True], well[False, True], well[True, False], well[False, False],
    )  # fmt: skip
    assert {(one.champion, one.candidate): one.requests for one in errors.statuses} == Counter(pairs)
    alone = [sum(1 for both in made if both[side] is None) for side in (1, 0)]
    assert found.noted == (Noted(len(pairs), *alone) if made else None)


@given(requests)
def test_latency_is_of_pairs_that_both_answered(made):
    found = compare([], outcomes=met(made))
    times = [
        (ours[1], theirs[1])
        for ours, theirs in made
        if ours and theirs and ours[0] < 300 and theirs[0] < 300 and None not in {ours[1], theirs[1]}
    ]
    if not times:
        assert found.latency is None
        return
    latency = found.latency
    assert latency.pairs == len(times)
    assert latency.slower == sum(theirs > ours for ours, theirs in times)
    for quantiles, bounds in (
        (latency.champion, latency.champion_bounds),
        (latency.difference, latency.difference_bounds),
    ):
        for (_, value), (low, high) in zip(quantiles, bounds, strict=True):
            assert low is None or low <= value + 1e-9
            assert high is None or value <= high + 1e-9


@given(requests)
def test_a_version_beside_itself_fails_and_lingers_nowhere_alone(made):
    same = [(ours, ours) for ours, _ in made if ours]
    found = compare([], outcomes=met(same))
    assert (found.errors.only_champion, found.errors.only_candidate) == (0, 0)
    assert found.identical
    if found.latency:
        assert {value for _, value in found.latency.difference} == {0.0}


@given(st.integers(1, 60), st.data())
def test_k_planted_failures_are_k(size, data):
    planted = data.draw(st.sets(st.integers(0, size - 1)))
    found = compare(
        [], outcomes=met([((200, 1.0), (500 if n in planted else 200, 1.0)) for n in range(size)])
    )
    assert found.errors.only_candidate == len(planted)
    assert found.errors.neither == size - len(planted)
    assert any("fails on" in reason for reason in judge(found)[1]) == bool(planted)


def test_predictions_come_from_captures_and_errors_from_outcomes():
    answer = Answer((Prediction("1", (0.5,)),))
    pairs = [Pair("0", answer, answer), Pair("1", answer, None)]
    outcomes = met([((200, 1.0), (200, 2.0)), ((200, 1.0), (500, 2.0))])
    found = compare(pairs, outcomes=outcomes)
    assert (found.pairs, found.only_champion, found.rows) == (1, 1, 1)
    assert (found.errors.neither, found.errors.only_candidate) == (1, 1)
    assert found.changed_share == pytest.approx(0.5)
    assert not found.identical


def test_without_outcomes_the_pairs_speak():
    answer = Answer((Prediction("1", (0.5,)),), milliseconds=2.0)
    pairs = [Pair("0", answer, replace(answer, status=500)), Pair("1", answer, answer)]
    found = compare(pairs)
    assert found.noted is None
    assert (found.errors.only_candidate, found.latency.pairs) == (1, 1)
    assert [(one.champion, one.candidate) for one in found.errors.statuses] == [(200, 500), (200, 200)]
