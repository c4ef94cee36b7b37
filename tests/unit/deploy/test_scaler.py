"""The controller and an asynchronous endpoint on the memory target: wake, work, sleep, rollouts, restarts."""

import weakref
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from configs.hosting import Scaling
from deploy.backlogs import Backlog, MemoryBacklogs
from deploy.controller import Controller
from deploy.plan import Plan, Step, at_once
from deploy.port import ASYNCHRONOUS
from deploy.release import Release, Request
from deploy.rollout import Phase
from deploy.store import Store
from deploy.targets.memory import Behaviour, MemoryTarget
from registry.tables import open_store

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ARCHIVES = Path("archives")
POLICY = Scaling(max_instances=3, backlog_per_instance=5, scale_in_after=10 * SECOND)
OLD = Release("late", "1", "a" * 64, 2, ((ASYNCHRONOUS, "1"),), scaling=POLICY)
NEW = replace(OLD, version="2", digest="b" * 64)
CANARY = Plan((Step(50, bake=5 * SECOND), Step(100, bake=2 * SECOND)), 60 * SECOND)


@dataclass
class World:
    """One endpoint `prod` with a queue."""

    target: MemoryTarget = field(default_factory=MemoryTarget)
    backlogs: MemoryBacklogs = field(default_factory=MemoryBacklogs)
    store: Store = field(init=False)
    now: datetime = START

    def __post_init__(self):
        engine = open_store("sqlite://")
        weakref.finalize(self, engine.dispose)
        self.store = Store(engine)
        self.store.create()
        self.restart()
        self.waits(0)
        for release in (OLD, NEW):
            self.target.behaviours[release.fleet("prod", ARCHIVES).id] = Behaviour(looks=2)

    def restart(self):
        self.controller = Controller(self.store, self.target, ARCHIVES, backlogs=self.backlogs)

    def waits(self, size, in_flight=0):
        self.backlogs.waiting["prod"] = Backlog(size, in_flight)

    def ask(self, release=NEW, plan=None, name="r"):
        return self.store.ask(Request(name, "prod", release, plan or at_once()), self.now)

    def tick(self, times=1):
        for _ in range(times):
            self.now += SECOND
            self.controller.tick(self.now)

    def until_decided(self, name="r", limit=120):
        for _ in range(limit):
            self.tick()
            if self.store.rollout(name).state.phase.final:
                return self.store.rollout(name).state
        raise AssertionError(f"no end after {limit} looks: {self.store.rollout(name)}")

    def count(self, release=OLD):
        running = self.target.fleets.get(release.fleet("prod", ARCHIVES).id)
        return None if running is None else running.instance_count

    @property
    def scaled(self):
        return [(e.data["from"], e.data["to"]) for e in self.store.events("prod") if e.kind == "scaled"]


@pytest.fixture
def world():
    """An endpoint that sleeps."""
    made = World()
    made.ask(OLD, name="first")
    assert made.until_decided("first").phase is Phase.PROMOTED
    made.tick(12)
    assert made.count() == 0
    return made


def test_it_begins_with_its_instance_count_and_goes_to_sleep_after_the_cool_down():
    world = World()
    world.ask(OLD, name="first")
    world.until_decided("first")
    world.tick()
    assert world.count() == 2
    world.tick(12)
    assert world.count() == 0
    assert world.scaled == [(2, 0)]
    slept = next(event.at for event in world.store.events("prod") if event.kind == "scaled")
    assert slept - START >= POLICY.scale_in_after


def test_a_request_wakes_it_and_the_queue_learns_who_answers(world):
    assert world.backlogs.told["prod"] == 0
    world.waits(1)
    world.tick()
    assert world.count() == 1
    world.tick()
    assert world.backlogs.told["prod"] == 1
    world.waits(11, 4)
    world.tick()
    assert world.count() == 3
    world.waits(4, 4)
    world.tick(30)
    assert world.count() == 3, "what is in process is not interrupted"
    world.waits(0)
    world.tick()
    assert world.count() == 0
    assert [share.weight for share in world.target.endpoints["prod"]] == [100]


def test_short_requests_that_are_never_seen_waiting_keep_it_awake(world):
    world.waits(1)
    world.tick(3)
    world.waits(0)
    for _ in range(30):
        assert world.target.serve("prod", 1) == 0
        world.tick()
    assert world.count() == 1


def test_a_queue_that_does_not_answer_changes_nothing(world):
    world.waits(11)
    world.tick()
    world.backlogs.waiting.clear()
    world.tick(40)
    assert world.count() == 3
    world.waits(0)
    world.tick(9)
    assert world.count() == 3, "the cool-down begins when it answers again"
    world.tick(2)
    assert world.count() == 0


def test_a_restarted_controller_goes_on(world):
    world.waits(11)
    world.tick()
    world.waits(0)
    world.tick(5)
    world.restart()
    world.tick(4)
    assert world.count() == 3
    world.tick(2)
    assert world.count() == 0
    world.restart()
    world.tick(3)
    assert world.count() == 0


def test_a_new_version_takes_over_from_one_that_sleeps(world):
    world.ask(plan=at_once())
    world.tick()
    assert (world.count(OLD), world.count(NEW)) == (1, 1)
    assert world.until_decided().phase is Phase.PROMOTED
    world.tick()
    assert world.count(OLD) is None
    assert world.count(NEW) == 1
    world.tick(12)
    assert world.count(NEW) == 0
    assert world.store.endpoint("prod").stable == NEW


def test_a_version_that_does_not_start_leaves_the_old_one(world):
    world.target.behaviours[NEW.fleet("prod", ARCHIVES).id] = Behaviour(looks=999, crashes=9)
    world.ask(plan=CANARY)
    assert world.until_decided().phase is Phase.ROLLED_BACK
    world.tick(2)
    assert world.count(NEW) is None
    world.tick(12)
    assert world.count(OLD) == 0
    world.waits(1)
    world.tick(4)
    assert world.target.serve("prod", 5) == 0


def test_both_versions_follow_the_backlog_during_a_rollout(world):
    world.ask(plan=CANARY)
    world.waits(11)
    world.tick(2)
    assert (world.count(OLD), world.count(NEW)) == (3, 3)


def test_a_sleeping_fleet_that_nobody_wants_is_stopped(world):
    fleet = OLD.fleet("prod", ARCHIVES)
    assert world.count(OLD) == 0
    world.store.remove("prod", "alice", world.now)
    world.tick(2)
    assert fleet.id not in world.target.fleets
    assert world.store.retiring() == ()
    assert world.store.scale("prod") is None


def test_a_shorter_reach_of_the_policy_counts_with_the_version_that_brings_it(world):
    world.waits(11)
    world.tick()
    smaller = replace(NEW, scaling=POLICY.model_copy(update={"max_instances": 2}))
    world.ask(smaller)
    assert world.until_decided().phase is Phase.PROMOTED
    world.tick()
    assert world.count(NEW) == 2


def test_without_a_policy_nothing_follows_the_backlog():
    world = World()
    world.ask(replace(OLD, scaling=None), name="first")
    world.until_decided("first")
    world.tick(40)
    assert world.count() == 2
    assert world.backlogs.told == {}
