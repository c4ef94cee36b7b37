"""The controller on the memory target: healthy days, harm, crashes at every call, restarts of the gateway."""

import random
import weakref
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.rollout import Alarm, Judge
from deploy.backlogs import MemoryBacklogs
from deploy.controller import Controller
from deploy.errors import RolloutRefused
from deploy.plan import Plan, Step, at_once
from deploy.port import ASYNCHRONOUS, Capabilities
from deploy.release import Release, Request
from deploy.rollout import Phase
from deploy.store import Store
from deploy.targets.memory import Behaviour, MemoryTarget
from deploy.variants import Arrangement, Variant
from registry.tables import open_store

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ARCHIVES = Path("archives")
OLD = Release("late", "1", "a" * 64, 2)
NEW = Release("late", "2", "b" * 64, 2)
CANARY = Plan(
    (Step(10, bake=5 * SECOND), Step(50, bake=5 * SECOND), Step(100, bake=2 * SECOND)), 120 * SECOND
)
ROLLING = Plan(tuple(Step(w, bake=2 * SECOND, batched=True) for w in (50, 100)), 120 * SECOND)


@dataclass
class World:
    """One endpoint `prod`, with a clock and traffic."""

    target: MemoryTarget = field(default_factory=MemoryTarget)
    store: Store = field(init=False)
    backlogs: MemoryBacklogs = field(default_factory=MemoryBacklogs)
    now: datetime = START
    rps: int = 50
    lost: int = 0

    def __post_init__(self):
        engine = open_store("sqlite://")
        weakref.finalize(self, engine.dispose)
        self.store = Store(engine)
        self.store.create()
        self.controller = Controller(self.store, self.target, ARCHIVES, backlogs=self.backlogs)

    def ask(self, release=NEW, plan=CANARY, name="r", **more):
        return self.store.ask(Request(name, "prod", release, plan, **more), self.now)

    def tick(self, times=1):
        for _ in range(times):
            self.now += SECOND
            self.lost += self.target.serve("prod", self.rps) if "prod" in self.target.endpoints else 0
            self.controller.tick(self.now)

    def until_decided(self, name="r", limit=300):
        for _ in range(limit):
            self.tick()
            if self.store.rollout(name).state.phase.final:
                return self.store.rollout(name)
        raise AssertionError(f"no end after {limit} looks: {self.store.rollout(name)}")

    @property
    def weights(self):
        return {share.variant: share.weight for share in self.target.endpoints.get("prod", ())}

    def behave(self, release, **behaviour):
        self.target.behaviours[release.fleet("prod", ARCHIVES).id] = Behaviour(**behaviour)


@pytest.fixture
def world():
    """An endpoint that serves OLD."""
    made = World()
    made.ask(OLD, at_once(), "first")
    made.until_decided("first")
    made.tick(5)
    return made


def test_the_first_version_serves_everything_as_soon_as_it_is_ready(world):
    assert world.weights == {"v1": 100}
    assert world.store.endpoint("prod").stable == OLD


def test_a_healthy_version_walks_to_production(world):
    world.ask()
    seen = []
    for _ in range(40):
        world.tick()
        seen.append(world.weights.get("v2", 0))
    assert [w for i, w in enumerate(seen) if i == 0 or seen[i - 1] != w] == [10, 50, 100]
    endpoint = world.store.endpoint("prod")
    assert (endpoint.stable, endpoint.previous) == (NEW, OLD)
    assert set(world.target.fleets) == {NEW.fleet("prod", ARCHIVES).id}
    assert world.lost == 0


def test_a_harmful_version_is_rolled_back_to_the_exact_digest(world):
    world.behave(NEW, error_4xx=0.2)
    world.ask()
    end = world.until_decided()
    assert end.state.phase is Phase.ROLLED_BACK
    assert "harm" in end.state.reason
    assert world.weights == {"v1": 100}
    assert world.store.endpoint("prod").stable.digest == OLD.digest
    world.tick()
    assert set(world.target.fleets) == {OLD.fleet("prod", ARCHIVES).id}
    assert end.case.errors.n_c < 200


def test_the_gateway_shows_the_rollback_in_the_same_look(world):
    world.behave(NEW, error_5xx=1.0)
    world.ask()
    while not world.store.rollout("r").state.phase.final:
        world.tick()
    assert world.weights == {"v1": 100}
    assert world.store.events(rollout="r")[-1].kind == "restored"


def test_a_slow_version_is_rolled_back(world):
    world.behave(NEW, latency_ms=200.0)
    world.ask()
    assert "slower than" in world.until_decided().state.reason


def test_a_shared_incident_rolls_nothing_back(world):
    world.behave(NEW, error_5xx=0.3)
    world.behave(OLD, error_5xx=0.3)
    world.ask()
    assert world.until_decided().state.phase is Phase.PROMOTED


def test_without_traffic_nothing_advances_and_the_deadline_rolls_back(world):
    world.rps = 0
    world.ask()
    world.tick(60)
    assert world.weights == {"v1": 90, "v2": 10}
    end = world.until_decided()
    assert end.state.phase is Phase.ROLLED_BACK
    assert "no decision" in end.state.reason


def test_a_person_aborts(world):
    world.ask()
    world.tick(4)
    world.store.abort("prod", "alice said stop")
    world.tick()
    assert world.store.rollout("r").state.phase is Phase.ROLLED_BACK
    assert world.store.rollout("r").state.reason == "alice said stop"
    assert world.weights == {"v1": 100}


def test_an_alarm_rolls_back(world):
    alarm = Alarm.model_validate({"name": "busy", "metric": "requests", "statistic": "sum", "threshold": 5.0,
                                  "period": 2 * SECOND})  # fmt: skip
    world.ask(alarms=(alarm,))
    assert world.until_decided().state.reason == "alarm busy"


def test_a_damaged_package_never_gets_traffic(world):
    world.behave(NEW, damaged=True)
    world.ask()
    end = world.until_decided()
    assert end.state.phase is Phase.ROLLED_BACK
    assert "digest" in end.state.reason
    assert end.case.errors.n_c == 0


def test_a_version_that_keeps_crashing_is_broken(world):
    world.behave(NEW, looks=10**6, crashes=5, message="ImportError: no module")
    world.ask()
    assert "crashed 5 times while starting: ImportError" in world.until_decided().state.reason


def test_two_rollouts_never_run_on_one_endpoint(world):
    world.ask()
    with pytest.raises(RolloutRefused, match="still running"):
        world.ask(name="other")
    assert world.ask().request.id == "r"


def test_what_serves_already_is_refused(world):
    with pytest.raises(RolloutRefused, match="already serves"):
        world.ask(OLD)


def test_a_shadow_sees_copies_and_never_promotes(world):
    world.ask(plan=Plan((Step(0, mirror=100, bake=5 * SECOND),), 60 * SECOND))
    world.tick(3)
    assert [share.mirror for share in world.target.endpoints["prod"]] == [0, 100]
    end = world.until_decided()
    assert end.state.phase is Phase.ENDED
    assert world.store.endpoint("prod").stable == OLD
    assert end.case.errors.n_c > 100


def test_rolling_needs_only_one_spare_batch(world):
    world.ask(plan=ROLLING)
    counts = []
    for _ in range(20):
        world.tick()
        counts.append(sum(fleet.instance_count for fleet in world.target.fleets.values()))
    assert max(counts) == 3
    assert counts[-1] == 2
    assert world.store.endpoint("prod").stable == NEW


def test_rolling_back_a_rolling_replacement_restores_all_instances(world):
    world.behave(NEW, error_5xx=0.5)
    world.ask(plan=ROLLING)
    assert world.until_decided().state.phase is Phase.ROLLED_BACK
    world.tick()
    assert [fleet.instance_count for fleet in world.target.fleets.values()] == [2]


def test_a_restarted_gateway_loses_no_evidence(world):
    world.ask()
    world.tick(4)
    before = world.store.rollout("r").case.errors.n_c
    world.target.crash_gateway()
    world.tick(2)
    assert world.store.rollout("r").case.errors.n_c >= before


def test_an_unreachable_gateway_only_delays(world):
    world.ask()
    world.tick(4)
    world.target.reachable = False
    world.tick(10)
    assert world.store.rollout("r").state.phase is Phase.BAKING
    world.target.reachable = True
    assert world.until_decided().state.phase is Phase.PROMOTED


def test_an_endpoint_is_removed_with_its_fleet(world):
    world.store.remove("prod", "alice", world.now)
    world.tick(2)
    assert world.store.endpoints() == ()
    assert world.target.fleets == {}
    assert world.target.endpoints == {}
    assert world.store.retiring() == ()
    asked, removed = world.store.events("prod")[-2:]
    assert (asked.kind, asked.data) == ("remove_asked", {"reason": "alice"})
    assert (removed.kind, removed.data["version"]) == ("removed", "1")


def test_with_an_endpoint_go_its_variants_shadows_and_queue(world):
    told = ((ASYNCHRONOUS, '{"output_path": "s3://b/answers"}'),)
    asynchronous = replace(OLD, version="4", digest="d" * 64, environment=told)
    world.ask(asynchronous, at_once(), "second")
    world.until_decided("second")
    beside = (Variant(NEW, 1.0), Variant(replace(NEW, version="3", digest="c" * 64), mirror=50))
    put(world, *beside, sticky="header:x-user")
    world.tick(3)
    assert len(world.target.fleets) == 3
    assert world.backlogs.offered["prod"]
    world.store.remove("prod", "alice", world.now)
    world.tick(2)
    assert world.target.fleets == {}
    assert world.store.arrangement("prod") == Arrangement()
    assert world.backlogs.offered["prod"] is None


def test_a_rollout_protects_its_endpoint_unless_told(world):
    world.ask()
    world.tick(4)
    with pytest.raises(RolloutRefused, match="seaway remove prod --abort"):
        world.store.remove("prod", "alice", world.now)
    assert not world.store.endpoint("prod").removed
    world.store.remove("prod", "alice", world.now, abort=True)
    world.tick(3)
    end = world.store.rollout("r")
    assert (end.state.phase, end.state.reason) == (Phase.ROLLED_BACK, "alice")
    assert world.store.endpoints() == ()
    assert world.target.fleets == {}


def test_an_endpoint_that_never_served_can_be_removed():
    world = World()
    world.behave(OLD, looks=10**6)
    world.ask(OLD, at_once(), "first")
    world.tick(2)
    world.store.remove("prod", "alice", world.now, abort=True)
    world.tick(3)
    assert world.store.endpoints() == ()
    assert world.target.fleets == {}


def test_the_name_is_free_again_once_the_endpoint_is_gone(world):
    world.store.remove("prod", "alice", world.now)
    world.store.remove("prod", "bob", world.now)
    with pytest.raises(RolloutRefused, match="being removed"):
        world.ask(OLD, at_once(), "again")
    world.controller.tick(world.now)
    world.ask(OLD, at_once(), "again")
    assert world.until_decided("again").state.phase is Phase.PROMOTED
    world.tick(3)
    assert world.weights == {"v1": 100}
    assert world.store.endpoint("prod").previous is None
    assert world.store.retiring() == ()
    assert [e.data["reason"] for e in world.store.events("prod") if e.kind == "remove_asked"] == ["alice"]


def test_only_what_is_there_can_be_removed(world):
    with pytest.raises(RolloutRefused, match="there is no endpoint other"):
        world.store.remove("other", "alice", world.now)


def test_while_the_gateway_is_away_a_removal_waits(world):
    world.target.reachable = False
    world.store.remove("prod", "alice", world.now)
    world.tick(3)
    assert world.store.endpoint("prod").removed
    world.target.reachable = True
    world.tick(2)
    assert world.store.endpoints() == ()


def test_old_samples_are_forgotten(world):
    world.controller.prune(world.now + timedelta(days=1))
    assert world.store.samples(OLD.fleet("prod", ARCHIVES).id, START) == ()


class Killed(BaseException):
    """`kill -9` at a call of the target."""


@dataclass
class Fragile:
    """The target, behind a process that dies just before or just after some calls."""

    inner: MemoryTarget
    fatal: set
    calls: int = 0
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(mirror=True, rolling=True))

    def __getattr__(self, name):
        method = getattr(self.inner, name)

        def call(*arguments):
            self.calls += 1
            if (self.calls, "before") in self.fatal:
                raise Killed
            result = method(*arguments)
            if (self.calls, "after") in self.fatal:
                raise Killed
            return result

        return call


deaths = st.sets(st.tuples(st.integers(1, 150), st.sampled_from(["before", "after"])), max_size=25)


@given(deaths, st.sampled_from([0.0, 0.3]), st.sampled_from([CANARY, ROLLING]), st.integers(0, 9))
def test_killed_at_any_call_it_ends_promoted_or_rolled_back(fatal, errors, plan, seed):
    world = World()
    world.ask(OLD, at_once(), "first")
    world.until_decided("first")
    world.behave(NEW, error_5xx=errors)
    fragile, dice = Fragile(world.target, fatal), random.Random(seed)
    world.ask(plan=plan)
    highest = 0
    for _ in range(400):
        world.now += SECOND
        world.lost += world.target.serve("prod", 50, dice=dice)
        try:
            Controller(world.store, fragile, ARCHIVES).tick(world.now)
        except Killed:
            continue
        weight = world.weights.get("v2", 0)
        assert weight >= highest or weight == 0 or world.store.rollout("r").state.phase.final
        highest = max(highest, weight)
        if world.store.rollout("r").state.phase.final and not world.store.retiring():
            break
    end = world.store.rollout("r").state.phase
    assert end is (Phase.ROLLED_BACK if errors else Phase.PROMOTED)
    serving = NEW if end is Phase.PROMOTED else OLD
    world.tick()
    assert world.weights == {serving.variant: 100}
    assert world.store.endpoint("prod").stable == serving
    assert {f.id: f.instance_count for f in world.target.fleets.values()} == {
        serving.fleet("prod", ARCHIVES).id: 2
    }
    assert world.lost == 0


@given(
    st.sets(st.tuples(st.integers(1, 40), st.sampled_from(["before", "after"])), max_size=12), st.booleans()
)
def test_killed_at_any_call_a_removal_ends_with_nothing_left(fatal, rolling):
    world = World()
    world.ask(OLD, at_once(), "first")
    world.until_decided("first")
    if rolling:
        world.ask()
        world.tick(4)
    else:
        put(world, Variant(NEW, mirror=50))
    world.store.remove("prod", "alice", world.now, abort=rolling)
    fragile = Fragile(world.target, fatal)
    for _ in range(60):
        world.now += SECOND
        routed = "prod" in world.target.endpoints
        assert not routed or world.target.serve("prod", 50) == 0
        try:
            Controller(world.store, fragile, ARCHIVES, backlogs=world.backlogs).tick(world.now)
        except Killed:
            continue
        if world.store.endpoint("prod") is None and not world.store.retiring():
            break
    assert (world.store.endpoint("prod"), world.store.retiring()) == (None, ())
    assert (world.target.fleets, world.target.endpoints) == ({}, {})
    assert world.backlogs.offered["prod"] is None
    assert [e.kind for e in world.store.events("prod")].count("removed") == 1


def test_evidence_does_not_depend_on_crashes():
    """Counts are saved together with the totals they came from: nothing is counted twice or lost."""
    counted = []
    for fatal in (set(), {(n, "after") for n in range(20, 120, 7)}):
        world = World()
        world.ask(OLD, at_once(), "first")
        world.until_decided("first")
        world.ask(
            plan=Plan((Step(10, bake=60 * SECOND), Step(100)), 600 * SECOND), judge=Judge(min_requests=10**6)
        )
        fragile = Fragile(world.target, fatal)
        for _ in range(60):
            world.now += SECOND
            world.target.serve("prod", 50)
            try:
                Controller(world.store, fragile, ARCHIVES).tick(world.now)
            except Killed:
                continue
        world.tick()
        served = world.target.observe("prod")[NEW.fleet("prod", ARCHIVES).id]["memory"].requests
        counted.append((world.store.rollout("r").case.errors.n_c, served))
    assert all(seen == served for seen, served in counted)


# ---- variants beside the stable release -------------------------------------------------------------------


def put(world, *variants, weight=1.0, sticky=""):
    arrangement = Arrangement(weight, variants, sticky)
    return world.store.rearrange("prod", ARCHIVES, lambda _found, _before: arrangement)


def shown(world):
    return {s.variant: (round(s.weight), s.mirror) for s in world.target.endpoints["prod"]}


def serving():
    world = World()
    world.ask(release=OLD, plan=at_once(), name="first")
    world.until_decided("first")
    return world


def test_a_variant_gets_its_share_once_it_is_ready_and_leaves_without_a_failure():
    world = serving()
    world.target.behaviours[NEW.fleet("prod", ARCHIVES).id] = Behaviour(looks=3)
    put(world, Variant(NEW, 1.0), sticky="header:x-user")
    world.tick()
    assert shown(world) == {"v1": (100, 0)}
    world.tick(5)
    assert shown(world) == {"v1": (50, 0), "v2": (50, 0)}
    assert world.target.layouts["prod"].sticky == "header:x-user"
    put(world, weight=1.0)
    world.tick(3)
    assert shown(world) == {"v1": (100, 0)}
    assert NEW.fleet("prod", ARCHIVES).id not in world.target.fleets
    assert world.lost == 0


def test_a_shadow_ends_by_itself():
    world = serving()
    put(world, Variant(NEW, mirror=30, until=world.now + 8 * SECOND))
    world.tick(5)
    assert shown(world) == {"v1": (100, 0), "v2": (0, 30)}
    world.tick(6)
    assert shown(world) == {"v1": (100, 0)}
    assert world.store.arrangement("prod").variants == ()
    assert [e.kind for e in world.store.events("prod")].count("variant_removed") == 1


def test_beside_variants_no_rollout_begins_but_a_restore_does():
    world = serving()
    world.ask(release=NEW, plan=at_once(), name="second")
    world.until_decided("second")
    put(world, Variant(OLD, 1.0))
    with pytest.raises(RolloutRefused, match="seaway variants remove prod v1"):
        world.ask(release=replace(NEW, version="3", digest="c" * 64), name="third")
    world.ask(release=OLD, plan=at_once(), name="x:restore")
    world.until_decided("x:restore")
    world.tick(3)
    assert shown(world) == {"v1": (100, 0)}
    assert world.store.arrangement("prod").variants == ()
    assert world.lost == 0


def test_variants_need_a_serving_endpoint_without_a_rollout():
    world = World()
    with pytest.raises(RolloutRefused, match="serves nothing"):
        put(world, Variant(NEW, 1.0))
    world = serving()
    world.ask()
    with pytest.raises(RolloutRefused, match="is running"):
        put(world, Variant(NEW, 1.0))


def test_a_variant_is_promoted_from_where_it_serves_or_leaves_when_it_does_harm():
    world = serving()
    put(world, Variant(NEW, mirror=50))
    world.tick(4)
    world.ask()
    world.until_decided()
    world.tick(3)
    assert shown(world) == {"v2": (100, 0)}
    assert world.store.arrangement("prod").variants == ()
    bad = replace(NEW, version="3", digest="c" * 64)
    world.target.behaviours[bad.fleet("prod", ARCHIVES).id] = Behaviour(error_5xx=0.5)
    put(world, Variant(bad, mirror=50))
    world.tick(4)
    world.ask(release=bad, name="worse")
    world.until_decided("worse")
    world.tick(3)
    assert world.store.rollout("worse").state.phase is Phase.ROLLED_BACK
    assert shown(world) == {"v2": (100, 0)}
    assert world.store.arrangement("prod").variants == ()
    assert bad.fleet("prod", ARCHIVES).id not in world.target.fleets


def test_packages_of_variants_are_in_use():
    world = serving()
    put(world, Variant(NEW, 1.0))
    assert NEW.digest in world.store.packages()
