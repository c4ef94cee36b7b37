"""Runs of monitoring that overlap, sleep or die: a window is one run's, and what an alarm asks for is done once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from flows.monitoring import running
from flows.monitoring.alerting import CLAIM
from flows.monitoring.executions import Status
from flows.monitoring.leases import LEASE
from flows.monitoring.windows import on_demand
from tests.integration.test_notices import Receiver
from tests.processes import until
from tests.watched import HOUR, NOON, World

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]
ONLY_DATA = {
    "notify": ["env:CHAT"],
    "alarms": [{"name": "drift", "monitor": "DataQuality", "figure": "feature_baseline_drift_x"}],
}
WINDOW = on_demand(NOON - HOUR, NOON)


@pytest.fixture
def world(tmp_path, watched_package):
    made = World(tmp_path, watched_package, json.loads(json.dumps(ONLY_DATA)))
    made.capture(NOON - HOUR, shift=1.5)
    yield made
    made.engine.dispose()


class Slow:
    """An analysis that goes on once it may."""

    def __init__(self, monkeypatch):
        self.begun, self.may_end = threading.Event(), threading.Event()
        self._honest = running.analyse
        monkeypatch.setattr(running, "analyse", self)

    def __call__(self, kind, material):
        if not self.begun.is_set():
            self.begun.set()
            assert self.may_end.wait(60)
        return self._honest(kind, material)


def renewed(run, moment):
    """Whether the run's lease was renewed at a time or later."""
    with run.wiring.engine.connect() as db:
        beaten = db.exec_driver_sql("select beaten from monitoring_leases").scalar()
    return bool(beaten) and beaten >= moment.timestamp()


def test_a_run_that_lives_keeps_its_window_however_long_it_takes(world, monkeypatch):
    slow, run = Slow(monkeypatch), world.run(beat=timedelta(milliseconds=5))
    world.watch()
    with ThreadPoolExecutor(1) as beside:
        long = beside.submit(run.scheduled)
        assert slow.begun.wait(60)
        for _ in range(4):
            world.now += LEASE / 2
            until(lambda: renewed(run, world.now))
        assert world.run().scheduled().executions == ()
        slow.may_end.set()
        (kept,) = long.result(60).executions
    assert (kept.status, kept.revision) == (Status.VIOLATED, 1)
    assert not [one for one in threading.enumerate() if one.name == "lease"]


def test_a_run_that_slept_finds_its_window_taken_and_keeps_nothing(world, monkeypatch):
    told = []
    slow, slept = Slow(monkeypatch), world.run(beat=HOUR, tell=told.append)
    world.watch()
    with ThreadPoolExecutor(1) as beside:
        long = beside.submit(slept.scheduled)
        assert slow.begun.wait(60)
        world.now += LEASE
        (kept,) = world.run().scheduled().executions
        slow.may_end.set()
        assert long.result(60).executions == ()
    history = slept.logbook.history
    assert history.execution(*kept.key) == kept
    assert {one.version for one in history.figures("b", every_version=True)} == {1}
    assert [line for line in told if "taken it over" in line]


DOOMED = """
import sys, threading, time
from datetime import datetime, timedelta
from flows.monitoring.executions import Execution, Status
from flows.monitoring.history import History
from flows.monitoring.leases import beating
from flows.monitoring.windows import Window
from registry.tables import open_store

noon, began_at = datetime.fromisoformat(sys.argv[2]), time.monotonic()

def now():
    return noon + timedelta(seconds=time.monotonic() - began_at)

window = Window(noon, noon - timedelta(hours=1), noon)
wanted = Execution("b", "data-quality", "DataQuality", window, Status.PENDING, now(), now(), holder="doomed")
history = History(open_store(sys.argv[1]))
began = history.claim(wanted, now())
beaten = threading.Event()

def renew():
    beaten.set()
    return history.renew(began, now())

with beating(renew, timedelta(milliseconds=10)):
    assert beaten.wait(60)
    print("alive", flush=True)
    threading.Event().wait()
"""


def test_the_window_of_a_process_that_was_killed_is_taken_over(world):
    world.watch()
    history = world.run().logbook.history
    command = [sys.executable, "-c", DOOMED, f"sqlite:///{world.home / 'store.db'}", NOON.isoformat()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "alive\n"
            known = history.execution("b", "data-quality", NOON)
            taker = replace(known, holder="taker")
            assert history.claim(taker, known.modified + LEASE / 2) is None
        finally:
            process.kill()
    assert known.status is Status.IN_PROGRESS
    world.now = NOON + 2 * LEASE
    (kept,) = world.run().scheduled().executions
    assert (kept.status, kept.revision) == (Status.VIOLATED, 1)


def test_a_window_that_somebody_looks_at_is_not_looked_at_on_demand(world, monkeypatch):
    slow, run = Slow(monkeypatch), world.run()
    with ThreadPoolExecutor(1) as beside:
        long = beside.submit(run.on_demand, WINDOW)
        assert slow.begun.wait(60)
        with pytest.raises(ValueError, match="another run looks at this window"):
            world.run().on_demand(WINDOW)
        slow.may_end.set()
        long.result(60)
    assert [one.revision for one in world.run().on_demand(WINDOW).executions] == [2]


def test_a_run_that_fails_gives_its_window_to_the_next_at_once(world, monkeypatch):
    def away(_kind, _material):
        raise running.TEMPORARY[0]("the registry is away")

    world.watch()
    with monkeypatch.context() as patched:
        patched.setattr(running, "analyse", away)
        with pytest.raises(running.TEMPORARY):
            world.run().scheduled()
    (kept,) = world.run().scheduled().executions
    assert kept.status is Status.VIOLATED


def test_runs_that_overlap_tell_people_once(world):
    world.watch()
    start = threading.Barrier(4)
    with Receiver() as chat, ThreadPoolExecutor(4) as beside:

        def run(_number):
            one = world.run(environment={"CHAT": chat.address})
            start.wait()
            return one.scheduled()

        outcomes = list(beside.map(run, range(4)))
    assert len([one for outcome in outcomes for one in outcome.executions]) == 1
    assert len([one for outcome in outcomes for one in outcome.changed]) == 1
    assert [one.outcome for outcome in outcomes for one in outcome.actions] == ["told 1 of 1 addresses"]
    ((_, told),) = chat.seen
    assert "alarm drift is in alert" in told["message"]


def die_over_an_action(run):
    """What a run that is killed leaves behind: a claim, and nothing after it."""
    claimed = run.logbook.alerts.claim

    def claim(action, holder, now):
        assert claimed(action, holder, now)
        raise SystemExit

    run.logbook.alerts.claim = claim
    with pytest.raises(SystemExit):
        run.scheduled()


def test_a_message_whose_sender_died_is_sent_again_and_says_so(world):
    world.watch()
    die_over_an_action(world.run())
    with Receiver() as chat:
        assert world.run(environment={"CHAT": chat.address}).scheduled().actions == ()
        world.now += CLAIM
        (action,) = world.run(environment={"CHAT": chat.address}).scheduled().actions
        assert world.run(environment={"CHAT": chat.address}).scheduled().actions == ()
    assert action.outcome == "told 1 of 1 addresses; perhaps for the second time"
    ((_, told),) = chat.seen
    assert "you may have been told before" in told["message"]


def test_an_action_that_kills_every_run_is_given_up(world):
    world.watch()
    for _ in range(3):
        die_over_an_action(world.run())
        world.now += CLAIM
    (done,) = world.run().scheduled().actions
    assert done.outcome.startswith("failed 3 times")
    assert world.run().logbook.alerts.pending("b") == ()
