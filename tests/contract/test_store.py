"""The store's contract, on SQLite and on a real PostgreSQL."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from configs.hosting import Scaling
from configs.rollout import Alarm, Judge
from deploy.errors import RolloutRefused
from deploy.judge import Case, Opinion
from deploy.plan import Plan, Step, at_once
from deploy.port import Counters, Fleet
from deploy.release import Release, Request
from deploy.rollout import Phase, State, Verdict
from deploy.scaling import Scale
from deploy.store import Store
from deploy.stored import Event
from monitoring.alarms import AlarmState, Sample
from monitoring.evidence import Window, weigh
from registry.tables import open_store

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
OLD, NEW = Release("late", "1", "a" * 64, 2), Release("late", "2", "b" * 64, 2)
PLAN = Plan((Step(10, mirror=5, bake=timedelta(seconds=1.5)), Step(100)), timedelta(hours=1))
ALARM = Alarm.model_validate({"name": "slow", "metric": "latency", "statistic": "p99", "threshold": 9.5})


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def engine(request, tmp_path):
    address = (
        f"sqlite:///{tmp_path / 's.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    engine = open_store(address)
    yield engine
    with engine.begin() as db:
        for table in ("endpoints", "rollouts", "retiring_fleets", "counters", "samples", "events", "scales"):
            db.execute(sa.text(f"DELETE FROM {table}"))  # noqa: S608 (names of ours)
    engine.dispose()


@pytest.fixture
def store(engine):
    made = Store(engine)
    made.create()
    return made


def request(name="r", release=NEW, **more):
    return Request(name, "prod", release, PLAN, Judge(alpha=0.01), (ALARM,), requested_by="alice", **more)


def test_a_wish_comes_back_as_it_was_asked(store):
    asked = store.ask(request(champion=True, notify=("env:CHAT",)), NOW)
    assert store.rollout("r") == store.active("prod") == asked
    assert store.rollout("r").request == request(champion=True, notify=("env:CHAT",))
    assert store.endpoint("prod").champion


def test_asking_again_changes_nothing(store):
    store.ask(request(), NOW)
    assert store.ask(request(), NOW + timedelta(hours=1)).state.started == NOW


def test_evidence_and_verdict_survive_exactly(store):
    rollout = store.ask(request(), NOW)
    case = Case(weigh([Window(100, 3, 900, 4)]), weigh([]), 10.0, ((1.0, 5), (float("inf"), 9)), 7, NOW)
    opinion = Opinion(Verdict.INCONCLUSIVE, "ü", 1.5, (("slow", AlarmState.OK),))
    kept = replace(rollout, state=State(Phase.BAKING, 1, NOW, NOW, "x"), case=case, opinion=opinion)
    with store.writing() as writer:
        writer.save(kept, running=True)
    assert store.rollout("r") == kept


def test_an_endpoint_runs_one_rollout_at_a_time(store):
    store.ask(request(), NOW)
    with pytest.raises(RolloutRefused, match="still running"):
        store.ask(request("other"), NOW)
    with store.writing() as writer:
        writer.save(store.rollout("r"), running=False)
    assert store.ask(request("other"), NOW).request.id == "other"


def test_of_many_who_ask_at_once_one_wins(store):
    won, refused = [], []

    def ask(number):
        try:
            won.append(store.ask(request(f"r{number}"), NOW).request.id)
        except RolloutRefused:
            refused.append(number)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(refused) == 7


def test_an_abort_keeps_its_first_reason(store):
    assert store.abort("prod", "nobody runs") is None
    store.ask(request(), NOW)
    store.abort("prod", "first")
    assert store.abort("prod", "second").abort == "first"


def test_all_or_nothing(store):
    rollout = store.ask(request(), NOW)
    with pytest.raises(RuntimeError), store.writing() as writer:
        writer.save(replace(rollout, state=State(Phase.PROMOTED, 1, NOW, NOW)), running=False)
        writer.serve("prod", NEW, OLD)
        raise RuntimeError
    assert store.active("prod") == rollout
    assert store.endpoint("prod").stable is None


def test_counters_and_samples(store):
    totals = {"a": Counters(5, 1, 2, ((1.0, 3), (float("inf"), 5)), 1, 3, {"timeouts": 2}), "b": Counters(7)}
    sample = Sample(NOW, 5, 1, 2, ((1.0, 3), (float("inf"), 5)), {"timeouts": 2})
    assert store.counters("f") == {}
    with store.writing() as writer:
        writer.count("f", totals, sample)
        writer.count("f", totals, Sample(NOW + timedelta(seconds=1)))
    assert store.counters("f") == totals
    assert store.samples("f", NOW - timedelta(seconds=1)) == (sample,)
    assert store.samples("f", NOW) == ()
    with store.writing() as writer:
        writer.prune(NOW + timedelta(seconds=1))
    assert store.samples("f", NOW - timedelta(days=1)) == ()


def test_retiring_fleets_and_removed_endpoints(store, tmp_path):
    fleet = Fleet("prod", "v1", "a" * 64, tmp_path / "p.tar.gz", 2)
    with store.writing() as writer:
        writer.retire(fleet)
        writer.retire(fleet)
    assert store.retiring() == (fleet,)
    with store.writing() as writer:
        writer.keep(fleet.id)
    assert store.retiring() == ()
    store.ask(request(), NOW)
    with pytest.raises(RolloutRefused, match="abort"):
        store.remove("prod", "alice", NOW)


def test_a_removed_endpoint_is_forgotten_once_and_its_name_is_free(store, tmp_path):
    store.ask(request(), NOW)
    first = store.rollout("r")
    with store.writing() as writer:
        writer.save(first, running=False)
        writer.serve("prod", first.request.release, None)
    assert not store.take_down("prod", tmp_path, NOW)
    assert store.remove("prod", "alice", NOW).stable == first.request.release
    with pytest.raises(RolloutRefused, match="being removed"):
        store.ask(request("again"), NOW)
    assert [store.take_down("prod", tmp_path, NOW) for _ in range(2)] == [True, False]
    assert store.retiring() == (first.request.release.fleet("prod", tmp_path),)
    assert store.ask(request("again"), NOW).request.id == "again"
    assert store.endpoint("prod").stable is None


def test_history_in_order_and_by_rollout(store):
    store.ask(request(), NOW)
    store.note(Event(NOW + timedelta(seconds=1), "prod", "baking", {"weight": 10}, "r"))
    store.note(Event(NOW, "other", "note"))
    assert [e.kind for e in store.events(rollout="r")] == ["asked", "baking"]
    assert store.events("prod")[-1].data["weight"] == 10


def test_the_number_of_instances_survives(store):
    assert store.scale("prod") is None
    for scale in (Scale(3, NOW), Scale(0, NOW + timedelta(seconds=1))):
        with store.writing() as writer:
            writer.scale("prod", scale)
        assert store.scale("prod") == scale
    with store.writing() as writer:
        writer.forget("prod")
    assert store.scale("prod") is None


def test_a_scaled_release_comes_back_as_it_was_asked(store):
    policy = Scaling(max_instances=4, backlog_per_instance=2.5, scale_in_after=timedelta(seconds=90))
    asked = store.ask(request(release=replace(NEW, scaling=policy)), NOW)
    assert store.rollout("r") == asked


def test_ended_rollouts_wait_to_be_announced(store):
    rollout = store.ask(Request("r", "prod", NEW, at_once()), NOW)
    assert store.unannounced() == ()
    with store.writing() as writer:
        writer.save(replace(rollout, state=State(Phase.PROMOTED, 0, NOW, NOW)), running=False)
    assert [r.request.id for r in store.unannounced()] == ["r"]
    with store.writing() as writer:
        writer.announce("r")
    assert store.unannounced() == ()
