"""Whose answers the quality guard weighs: those of the time where both versions gave one, others once off line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from deploy.plan import Plan, Step
from deploy.release import Request
from deploy.rollout import Phase, State
from flows.monitoring.control import Contender, pairs
from flows.monitoring.decisions import Decisions
from flows.monitoring.windows import Window
from steps import scoring
from steps.hour import Hour, written
from tests.watched import HOUR, NOON, World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
GUARDED = {"guard": {"minimum_labels": 50}, "notify": []}
PROBATION = Plan((Step(10, bake=HOUR), Step(95, bake=24 * HOUR), Step(100)), 48 * HOUR)


@pytest.fixture
def world(tmp_path, watched_package):
    made = World(tmp_path, watched_package, json.loads(json.dumps(GUARDED)))
    made.watch()
    yield made
    made.engine.dispose()


@pytest.fixture
def scored(monkeypatch):
    """How many rows are answered off line at each time."""
    rows, honest = [], scoring.predicted

    def predicted(package, frame):
        rows.append(frame.height)
        return honest(package, frame)

    monkeypatch.setattr(scoring, "predicted", predicted)
    return rows


def look(world):
    """What the two versions have answered up to now."""
    run = world.run()
    run.hours.refresh(NOON - HOUR, world.now, world.now, lambda _: None)
    one, other = (Contender(f"v{number}", world.new.digest, world.folder) for number in (2, 1))
    return pairs(run.hours, one, other, Window(world.now, NOON - HOUR, world.now))


def on_trial(world):
    """Version 2 is in probation beside version 1, which has served alone before."""
    with world.store.writing() as writer:
        writer.serve("b", world.old, None)
    world.store.ask(Request("next", "b", world.new, PROBATION, champion=True), NOON)
    with world.store.writing() as writer:
        rollout = replace(world.store.rollout("next"), state=State(Phase.BAKING, 1, NOON, NOON))
        writer.save(rollout, running=True)


def test_answers_that_were_captured_at_the_time_are_weighed_as_they_were(world, scored):
    world.label(world.capture(NOON))
    world.capture(NOON, variant="v1", wrong=5)
    world.now = NOON + HOUR
    found = look(world)
    assert (found.captured, found.kept, found.answered, scored) == (700, 0, 0, [])
    assert np.sum(found.serving != found.before) == 140  # as recorded; the packages are the same


def test_captured_kept_and_fresh_answers_decide_as_answering_every_row_again_does(world, scored):
    world.label(world.capture(NOON, wrong=6))
    world.now = NOON + HOUR
    alone = look(world)
    assert (alone.captured, alone.answered, scored) == (0, 700, [700])
    world.capture(NOON, variant="v1", rows=700, name="a")
    world.now += HOUR / 4
    together = look(world)
    assert (together.captured, together.kept, together.answered, scored) == (700, 0, 0, [700])
    assert together.lost_and_won() == alone.lost_and_won()
    assert len(together.labels) == len(alone.labels) == 700


def test_a_row_is_answered_off_line_once(world, scored):
    pairs_of = world.capture(NOON, wrong=6)
    world.label(pairs_of[:300])
    world.now = NOON + HOUR
    first = look(world)
    assert (first.kept, first.answered) == (0, 300)
    world.label(pairs_of[300:])
    world.now += HOUR / 4
    second = look(world)
    assert (second.kept, second.answered) == (300, 400)
    third = look(world)
    assert (third.kept, third.answered) == (700, 0)
    assert scored == [300, 400]
    assert third.lost_and_won() == second.lost_and_won()
    world.label(world.capture(NOON, name="b", seed=9)[:10])  # the hour grows; what is known of it stays
    world.label(world.capture(NOON + HOUR, name="c", rows=20))
    world.now += HOUR
    fourth = look(world)
    assert (fourth.kept, fourth.answered) == (700, 30)
    assert look(world).kept == 730


def test_answers_are_kept_for_one_package_and_one_way_to_read_rows(world, scored):
    world.label(world.capture(NOON))
    world.now = NOON + HOUR
    look(world)
    (file,) = world.home.glob("monitoring/b/v2/2026/03/01/12/answers-*.parquet")
    assert world.new.digest[:32] in file.name
    file.rename(file.with_name(f"answers-{'0' * 32}.parquet"))
    assert look(world).answered == 700
    rows = file.with_name("rows.parquet")
    seal = replace(Hour(rows.parent).seal(), reading="another handler")
    written(pl.read_parquet(rows).lazy(), rows, {"seaway.seal": seal.text()})
    run = world.run()
    one, other = (Contender(f"v{number}", world.new.digest, world.folder) for number in (2, 1))
    assert pairs(run.hours, one, other, Window(world.now, NOON - HOUR, world.now)).answered == 700


def test_rows_of_the_control_are_answered_by_the_new_version(world, scored):
    world.label(world.capture(NOON, rows=600, name="a"))
    world.label(world.capture(NOON, rows=50, name="c", seed=8, variant="v1", wrong=2))
    world.now = NOON + HOUR
    found = look(world)
    assert (found.captured, found.answered, sorted(scored)) == (0, 650, [50, 600])
    assert np.sum(found.serving != found.before) == 25
    assert look(world).kept == 650


def test_a_new_version_that_late_labels_find_worse_loses_its_probation(world):
    on_trial(world)
    world.label(world.capture(NOON, wrong=5))
    world.capture(NOON, variant="v1", rows=700)
    world.now = NOON + HOUR
    told = []
    world.run(tell=told.append).scheduled()
    rollout = world.store.active("b")
    assert rollout.request.id == "next"
    assert "the version before was better" in rollout.abort
    (decision,) = Decisions(world.engine).latest("b", "guard")
    assert decision.acted
    assert decision.data["captured"] == 700
    assert any("restored" in line for line in told)
    world.now += HOUR
    world.run().scheduled()
    assert len(Decisions(world.engine).latest("b")) == 1


def test_a_new_version_that_is_no_worse_keeps_its_probation(world):
    on_trial(world)
    world.label(world.capture(NOON))
    world.capture(NOON, variant="v1", rows=700)
    world.now = NOON + HOUR
    told = []
    world.run(tell=told.append).scheduled()
    assert world.store.active("b").abort == ""
    assert [line for line in told if "both had answered 700 of them" in line]


def test_a_crash_between_decision_and_rollback_loses_neither(world, monkeypatch):
    world.label(world.capture(NOON, wrong=6))
    world.now = NOON + HOUR

    def died(*_):
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(type(world.store), "ask", died)
        with pytest.raises(SystemExit):
            world.run().scheduled()
    (decision,) = Decisions(world.engine).latest("b", "guard")
    assert decision.acted
    assert world.store.active("b") is None
    world.run().scheduled()
    assert world.store.active("b").request.restores
    assert Decisions(world.engine).latest("b", "guard") == (decision,)


def test_what_stands_in_the_way_is_written_down_and_later_not(world):
    world.label(world.capture(NOON, wrong=6))
    world.now = NOON + HOUR
    shadow = Plan((Step(0, mirror=100, bake=HOUR),), 2 * HOUR)
    world.store.ask(Request("shadow", "b", replace(world.new, version="3"), shadow), NOON)
    told = []
    world.run(tell=told.append).scheduled()
    assert world.store.active("b").request.id == "shadow"
    assert [line for line in told if "not rolled back: rollout shadow is running" in line]
    with world.store.writing() as writer:
        ended = replace(world.store.rollout("shadow"), state=State(Phase.ENDED, 0, NOON, NOON))
        writer.save(ended, running=False)
    world.run().scheduled()
    assert world.store.active("b").request.restores
    assert [one.acted for one in Decisions(world.engine).latest("b", "guard")].count(True) == 1


def test_a_version_that_returns_is_not_put_on_trial(world):
    world.label(world.capture(NOON, wrong=6))
    world.now = NOON + HOUR
    world.run().scheduled()
    assert world.store.active("b").request.restores
    told = []
    world.run(tell=told.append).scheduled()
    assert not [line for line in told if "quality guard" in line]
