"""The laws of scaling by backlog, over random queues and clocks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.hosting import Scaling
from deploy.scaling import Observed, Scale, advance, awake, wanted, within

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
POLICY = Scaling(max_instances=4, backlog_per_instance=5, scale_in_after=60 * SECOND)


@st.composite
def policies(draw):
    low = draw(st.integers(0, 5))
    high = draw(st.integers(max(1, low), 12))
    target = draw(st.floats(0.1, 50, allow_nan=False))
    wait = timedelta(seconds=draw(st.integers(0, 600)))
    return Scaling(min_instances=low, max_instances=high, backlog_per_instance=target, scale_in_after=wait)


backlogs = st.one_of(st.none(), st.integers(0, 400))
looks = st.lists(
    st.tuples(st.floats(0, 300), backlogs, st.integers(0, 3), st.booleans()), min_size=1, max_size=40
)
scales = st.builds(Scale, st.integers(0, 15), st.just(START))


def after(seconds, scale=0, backlog=0, in_flight=0, policy=POLICY, **more):
    observed = Observed(Scale(scale, START), backlog, in_flight, **more)
    return wanted(policy, observed, START + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("backlog", "instances"), [(0, 0), (1, 1), (5, 1), (6, 2), (15, 3), (16, 4), (1000, 4)]
)
def test_none_becomes_as_many_as_the_backlog_needs_at_once(backlog, instances):
    assert after(0, scale=0, backlog=backlog) == instances


def test_fewer_come_after_the_cool_down_only():
    assert after(59, scale=4, backlog=6) == 4
    assert after(60, scale=4, backlog=6) == 2
    assert after(60, scale=4, backlog=0) == 0


def test_an_answer_given_lately_keeps_one():
    assert after(60, scale=4, served=True) == 1


def test_the_minimum_stays():
    kept = POLICY.model_copy(update={"min_instances": 2})
    assert after(600, scale=4, policy=kept) == 2
    assert after(0, scale=0, policy=kept) == 2
    assert awake(POLICY).min_instances == 1
    assert awake(kept) == kept


def test_the_cool_down_begins_anew_while_all_are_needed():
    scale = Scale(1, START)
    for second in range(1, 200):
        backlog = int(second < 100)
        scale = advance(POLICY, Observed(scale, backlog), START + second * SECOND)
        assert scale.instances == (1 if second < 99 + 60 else 0)
    assert scale == Scale(0, START + 159 * SECOND)


def test_nothing_is_written_while_nothing_runs_and_nothing_waits():
    scale = Scale(0, START)
    assert advance(POLICY, Observed(scale, 0), START + 500 * SECOND) is scale


@given(policies(), scales, backlogs, st.integers(0, 3), st.booleans(), st.integers(-10, 1000))
def test_the_bounds_hold_whatever_is_seen(policy, scale, backlog, in_flight, served, seconds):
    count = wanted(policy, Observed(scale, backlog, in_flight, served), START + seconds * SECOND)
    assert policy.min_instances <= count <= policy.max_instances


@given(policies(), scales, st.integers(0, 400), st.integers(0, 400), st.integers(0, 3), st.integers(0, 900))
def test_a_longer_backlog_never_asks_for_fewer(policy, scale, one, other, in_flight, seconds):
    now = START + seconds * SECOND
    short, long = sorted((one, other))
    fewer = wanted(policy, Observed(scale, short, in_flight), now)
    assert fewer <= wanted(policy, Observed(scale, long, in_flight), now)


@given(policies(), st.integers(1, 400), st.integers(0, 3))
def test_a_backlog_without_capacity_gets_some_at_once(policy, backlog, in_flight):
    assert wanted(policy, Observed(Scale(0, START), backlog, in_flight), START) >= 1


@given(policies(), scales, backlogs, st.integers(1, 50), st.booleans(), st.integers(0, 10_000))
def test_no_instance_ends_while_requests_are_in_flight(policy, scale, backlog, in_flight, served, seconds):
    count = wanted(policy, Observed(scale, backlog, in_flight, served), START + seconds * SECOND)
    assert count >= within(policy, scale.instances)


@given(policies(), scales, looks)
def test_fewer_never_come_within_the_cool_down_of_a_change(policy, scale, looks):
    """Nor while the queue does not say what waits; and a change is remembered with its time."""
    scale, now, changed = Scale(within(policy, scale.instances), START), START, START
    for seconds, backlog, in_flight, served in looks:
        now += timedelta(seconds=seconds)
        new = advance(policy, Observed(scale, backlog, in_flight, served), now)
        if new.instances < scale.instances:
            assert now - changed >= policy.scale_in_after
            assert backlog is not None
            assert not in_flight
        if new.instances != scale.instances:
            assert new.since == now
            changed = now
        scale = new


@given(policies(), scales, st.integers(0, 400))
def test_the_same_backlog_settles_and_never_swings(policy, scale, backlog):
    now, counts = START, []
    for _ in range(20):
        now += max(policy.scale_in_after, SECOND)
        scale = advance(policy, Observed(scale, backlog), now)
        counts.append(scale.instances)
    assert counts == [counts[0]] * 20 or counts == [counts[0], *[counts[1]] * 19]
