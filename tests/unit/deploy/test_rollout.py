"""The machine's laws, over random observations, crashes and clocks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.plan import Plan, Step
from deploy.rollout import TRANSITIONS, Phase, Seen, Signal, State, Verdict, advance, begin, diagram, wanted

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CANARY = Plan(
    (Step(10, bake=10 * SECOND), Step(50, bake=10 * SECOND), Step(100, bake=5 * SECOND)), timedelta(hours=1)
)
SHADOW = Plan((Step(0, mirror=100, bake=10 * SECOND),), timedelta(hours=1))
BLUE_GREEN = Plan((Step(100, bake=10 * SECOND),), timedelta(hours=1))
PLANS = {"canary": CANARY, "shadow": SHADOW, "blue_green": BLUE_GREEN}
GOOD = Seen(ready=True, verdict=Verdict.PASS)


def walk(plan, sights, every=SECOND):
    """States after each sight, one every so often."""
    state, now, seen = begin(START), START, []
    for sight in sights:
        now += every
        state = advance(plan, state, sight, now)
        seen.append(state)
    return seen


def shown(plan, states):
    """The distinct splits in order."""
    splits = [(w.weight, w.mirror) for w in (wanted(plan, s).split for s in states)]
    return [s for i, s in enumerate(splits) if i == 0 or splits[i - 1] != s]


@pytest.mark.parametrize(
    ("name", "splits", "end"),
    [
        ("canary", [(10, 0), (50, 0), (100, 0)], Phase.PROMOTED),
        ("blue_green", [(100, 0)], Phase.PROMOTED),
        ("shadow", [(0, 100), (0, 0)], Phase.ENDED),
    ],
)
def test_a_healthy_day(name, splits, end):
    states = walk(PLANS[name], [GOOD] * 40)
    assert shown(PLANS[name], states) == splits
    assert states[-1].phase is end


def test_a_step_holds_for_its_bake():
    states = walk(CANARY, [GOOD] * 40)
    baking = [s.step for s in states if s.phase is Phase.BAKING]
    assert (baking.count(0), baking.count(1), baking.count(2)) == (10, 10, 5)


def test_the_bake_counts_only_while_the_gateway_shows_it():
    states = walk(CANARY, [GOOD] * 5 + [Seen(True, applied=False, verdict=Verdict.PASS)] + [GOOD] * 9)
    assert states[-1].step == 0


sights = st.builds(
    Seen,
    ready=st.booleans(),
    applied=st.booleans(),
    verdict=st.sampled_from(Verdict),
    abort=st.sampled_from(["", "", "", "", "somebody said so"]),
    broken=st.sampled_from(["", "", "", "", "it crashed 5 times"]),
)


@st.composite
def plans(draw):
    weights = sorted(draw(st.lists(st.integers(0, 99), max_size=4)))
    if draw(st.booleans()):
        weights.append(100)
    made = tuple(
        Step(w, draw(st.integers(0, 100)), draw(st.integers(0, 8)) * SECOND, draw(st.booleans()))
        for w in weights or [0]
    )
    return Plan(made, draw(st.integers(5, 200)) * SECOND)


story = st.lists(st.tuples(sights, st.integers(0, 30)), max_size=60)


def follow(plan, moments):
    state, now, states = begin(START), START, []
    for sight, seconds in moments:
        now += seconds * SECOND
        after = advance(plan, state, sight, now)
        states.append((state, sight, now, after))
        state = after
    return states


@given(plans(), story)
def test_weight_never_falls_except_to_zero(plan, moments):
    for before, _, _, after in follow(plan, moments):
        old, new = wanted(plan, before).split.weight, wanted(plan, after).split.weight
        assert new >= old or new == 0


@given(plans(), story)
def test_splits_are_whole_percents(plan, moments):
    for _, _, _, after in follow(plan, moments):
        split = wanted(plan, after).split
        assert 0 <= split.weight <= 100
        assert 0 <= split.mirror <= 100
        assert isinstance(split.weight, int)


@given(plans(), story)
def test_after_a_failure_the_weight_is_zero_for_ever(plan, moments):
    failed = False
    for before, sight, _, after in follow(plan, moments):
        failing = (
            sight.abort or sight.broken or (sight.verdict is Verdict.FAIL and before.phase is Phase.BAKING)
        )
        failed = failed or bool(failing and not before.phase.final)
        if failed:
            assert after.phase is Phase.ROLLED_BACK
            assert wanted(plan, after).split.weight == wanted(plan, after).split.mirror == 0


@given(plans(), story)
def test_no_news_never_advances(plan, moments):
    for before, sight, _, after in follow(plan, moments):
        if sight.verdict in {Verdict.INCONCLUSIVE, Verdict.ERROR} and before.phase is Phase.BAKING:
            assert (after.phase, after.step) in {
                (before.phase, before.step),
                (Phase.ROLLED_BACK, before.step),
            }


@given(plans(), st.integers(1, 30))
def test_no_news_past_the_deadline_rolls_back(plan, seconds):
    silence = Seen(ready=True, verdict=Verdict.INCONCLUSIVE)
    late = [(GOOD, 1), (silence, 1), (silence, plan.deadline.total_seconds() + seconds)]
    last = follow(plan, late)[-1][3]
    assert last.phase is Phase.ROLLED_BACK
    assert "no decision" in last.reason


@given(plans(), story)
def test_the_old_fleet_goes_only_after_full_promotion_and_the_final_bake(plan, moments):
    for before, _, now, after in follow(plan, moments):
        if not wanted(plan, after).stable:
            assert after.phase is Phase.PROMOTED
            if before.phase is Phase.BAKING:
                assert plan.steps[before.step].weight == 100
                assert now - before.since >= plan.steps[before.step].bake


@given(plans(), story)
def test_promotes_only_if_the_last_weight_is_one_hundred(plan, moments):
    for _, _, _, after in follow(plan, moments):
        assert not (after.phase is Phase.PROMOTED and plan.steps[-1].weight != 100)
        assert not (after.phase is Phase.ENDED and plan.steps[-1].weight == 100)


@given(plans(), story)
def test_final_states_never_change(plan, moments):
    for before, _, _, after in follow(plan, moments):
        if before.phase.final:
            assert after == before


@given(plans(), story)
def test_advance_looks_only_at_its_arguments(plan, moments):
    """A restart from any saved state gives the same end: replaying the same moment gives the same state."""
    for before, sight, now, after in follow(plan, moments):
        copy = State(before.phase, before.step, before.started, before.since, before.reason)
        assert advance(plan, copy, sight, now) == after


def test_the_table_knows_every_phase_and_leads_only_forward():
    assert set(TRANSITIONS) == set(Phase)
    order = [Phase.STARTING, Phase.BAKING, Phase.PROMOTED, Phase.ENDED, Phase.ROLLED_BACK]
    for phase, moves in TRANSITIONS.items():
        assert not (phase.final and moves)
        for signal, to in moves.items():
            assert order.index(to) >= order.index(phase)
            assert (to is Phase.ROLLED_BACK) == (signal is Signal.FAIL)


def test_the_diagram_is_drawn_from_the_table():
    drawn = diagram()
    assert "baking --> rolled_back: fail" in drawn
    assert drawn.count("-->") == 1 + sum(len(m) for m in TRANSITIONS.values()) + sum(p.final for p in Phase)
