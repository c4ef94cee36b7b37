"""Two streams come together by event id: nothing is lost, invented or paired wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

from hypothesis import given
from hypothesis import strategies as st

from monitoring.meeting import Met, meet
from monitoring.outcomes import Outcome

ids = st.integers(0, 30).map(str)
entries = st.lists(st.tuples(st.floats(0, 100), ids, st.sampled_from([200, 400, 500])), max_size=60)


def stream(made) -> list[Outcome]:
    return [Outcome(event_id, at, status) for at, event_id, status in sorted(made, key=lambda one: one[0])]


def joined(ours, theirs, horizon=300.0) -> list[Met[Outcome]]:
    return list(meet(ours, theirs, lambda one: one.at, horizon=horizon))


@given(entries, entries)
def test_within_the_horizon_it_is_a_full_outer_join_of_the_last_words(left, right):
    ours, theirs = stream(left), stream(right)
    last = [{one.event_id: one for one in side} for side in (ours, theirs)]
    found = joined(ours, theirs)
    assert {met.event_id: met for met in found} == {
        name: Met(name, last[0].get(name), last[1].get(name)) for name in {**last[0], **last[1]}
    }
    assert len(found) == len({met.event_id for met in found})
    first = {}
    for one in [*ours, *theirs]:
        first[one.event_id] = min(one.at, first.get(one.event_id, one.at))
    assert [first[met.event_id] for met in found] == sorted(first.values())


@given(entries, entries)
def test_swapping_the_sides_mirrors_the_pairs(left, right):
    ours, theirs = stream(left), stream(right)
    there = {(met.event_id, met.champion, met.candidate) for met in joined(ours, theirs)}
    back = {(met.event_id, met.candidate, met.champion) for met in joined(theirs, ours)}
    assert there == back


@given(entries)
def test_a_stream_beside_itself_meets_itself(made):
    for met in joined(stream(made), stream(made)):
        assert met.champion == met.candidate is not None


@given(entries, entries, st.floats(0, 20))
def test_a_short_horizon_loses_nothing(left, right, horizon):
    ours, theirs = stream(left), stream(right)
    found = joined(ours, theirs, horizon)
    for side, name in ((ours, "champion"), (theirs, "candidate")):
        kept = [getattr(met, name) for met in found if getattr(met, name)]
        assert {one.event_id for one in kept} == {one.event_id for one in side}
        assert all(one in side for one in kept)
    for met in found:
        if met.champion and met.candidate:
            assert met.champion.event_id == met.candidate.event_id == met.event_id


def test_memory_holds_one_horizon():
    asked = 0

    def endless() -> Iterator[Outcome]:
        nonlocal asked
        for number in count():
            asked += 1
            yield Outcome(str(number), number, 200)

    first = list(islice(meet(endless(), endless(), lambda one: one.at, horizon=5), 100))
    assert [met.event_id for met in first] == [str(number) for number in range(100)]
    assert all(met.champion and met.candidate for met in first)
    assert asked < 2 * 110


def test_a_late_answer_of_a_retry_is_the_one_that_counts():
    ours = [Outcome("e", 0, 503), Outcome("e", 30, 200)]
    (met,) = joined(ours, [Outcome("e", 0.01, 200)])
    assert met.champion is not None
    assert met.champion.status == 200


def test_an_id_that_comes_again_much_later_is_another_event():
    found = joined([Outcome("e", 0, 200), Outcome("e", 1000, 500)], [Outcome("e", 1000, 200)])
    assert [(bool(met.champion), bool(met.candidate)) for met in found] == [(True, False), (True, True)]
