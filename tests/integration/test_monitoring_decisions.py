"""What monitoring decides by itself: to go back when late labels say so, and whether retraining pays."""

from __future__ import annotations

import json

import pytest

from flows.monitoring.decisions import Decisions
from tests.watched import HOUR, MONITOR, NOON, World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
ASKING = {
    "name": "quality",
    "monitor": "ModelQuality",
    "figure": "accuracy",
    "min": 0.7,
    "actions": ["retrain"],
}


@pytest.fixture
def installation(tmp_path, watched_package):
    made = []

    def make(**changes):
        made.append(World(tmp_path, watched_package, json.loads(json.dumps(MONITOR | changes))))
        made[-1].wiring.trigger = Builds()
        return made[-1]

    yield make
    for world in made:
        world.engine.dispose()


class Builds:
    """Builds by their keys, as Prefect keeps them."""

    def __init__(self):
        self.asked = {}

    def create(self, deployment, parameters, key, tags=()):
        assert deployment == "build/build"
        assert parameters["project"] == "next.yaml"
        return self.asked.setdefault(key, "a run")


def test_late_labels_take_a_worse_version_back(installation):
    world = installation(alarms=[], guard={"minimum_labels": 50})
    pairs = world.capture(NOON, wrong=6)
    world.watch()
    world.now = NOON + HOUR
    world.run().scheduled()
    assert world.store.active("b") is None  # nobody knows yet
    world.label(pairs)
    world.now += HOUR
    told = []
    world.run(tell=told.append).scheduled()
    rollout = world.store.active("b")
    assert (rollout.request.release.version, rollout.request.restores) == ("1", True)
    (decision,) = Decisions(world.engine).latest("b", "guard")
    assert decision.acted
    assert decision.data["lost"] > 3 * decision.data["won"]
    assert any("restored" in line for line in told)
    world.now += HOUR
    world.run().scheduled()
    assert len(Decisions(world.engine).latest("b")) == 1


def test_a_version_that_is_no_worse_stays(installation):
    world = installation(alarms=[], guard={"minimum_labels": 50})
    world.label(world.capture(NOON))
    world.watch()
    world.now = NOON + HOUR
    told = []
    world.run(tell=told.append).scheduled()
    assert world.store.active("b") is None
    assert Decisions(world.engine).latest("b") == ()
    assert [line for line in told if "quality guard" in line and "undecided" in line]


def test_people_are_told_where_they_do_not_want_it_to_act(installation):
    world = installation(alarms=[], guard={"action": "notify"})
    world.label(world.capture(NOON, wrong=5))
    world.watch()
    world.now = NOON + HOUR
    world.run().scheduled()
    assert world.store.active("b") is None
    (decision,) = Decisions(world.engine).latest("b", "guard")
    assert not decision.acted


@pytest.mark.parametrize(("cost", "acted"), [(10.0, True), (1e9, False)])
def test_retraining_has_a_price_and_every_answer_is_kept(installation, cost, acted):
    world = installation(alarms=[ASKING], retraining={"value": 1.0, "cost": cost, "project": "next.yaml"})
    world.label(world.capture(NOON, wrong=3))
    world.watch()
    world.now = NOON + HOUR
    outcome = world.run().scheduled()
    (decision,) = Decisions(world.engine).latest("b", "retrain")
    assert decision.acted is acted
    assert decision.data["value"] < decision.data["reference"]
    assert bool(world.wiring.trigger.asked) is acted
    assert [one.outcome.startswith("not retrained") for one in outcome.actions] == [not acted]
    world.now += HOUR
    world.run().scheduled()
    assert len(Decisions(world.engine).latest("b")) == 1
