"""`rollout abort` and `rollback` when the rollout is promoted in the moment between wish and look."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from configs.settings import Settings
from deploy.plan import at_once
from deploy.release import Release, Request
from deploy.rollout import Phase
from flows.wiring import Wiring
from seaway.cli import application

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD, NEW = Release("ships", "1", "a" * 64), Release("ships", "2", "b" * 64)


class Late:
    """A controller that promotes whatever runs, as one does that looked just before the wish to stop."""

    def __init__(self, store):
        self._store, self._stop = store, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.005):
            rollout = self._store.active("ships")
            if rollout and (rollout.abort or rollout.request.id != "r"):
                stable = self._store.endpoint("ships").stable
                done = replace(rollout, state=replace(rollout.state, phase=Phase.PROMOTED))
                with self._store.writing() as writer:
                    writer.save(done, running=False)
                    writer.serve("ships", rollout.request.release, stable)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Version 1 serves, version 2 is on its way."""
    settings = Settings(home=tmp_path)
    settings.save()
    monkeypatch.setenv("SEAWAY_HOME", str(tmp_path))
    wiring = Wiring(settings)
    wiring.store.ask(Request("r", "ships", NEW, at_once(), champion=True, notify=("env:CHAT",)), NOW)
    with wiring.store.writing() as writer:
        writer.serve("ships", OLD, None)
    with Late(wiring.store):
        yield wiring.store
    wiring.engine.dispose()


def seaway(*arguments):
    return CliRunner().invoke(application(), arguments, catch_exceptions=False)


def test_an_abort_that_came_too_late_is_no_success(store):
    done = seaway("rollout", "abort", "ships")
    assert done.exit_code == 1
    assert "promoted before it could be ended; try: seaway rollback ships" in " ".join(done.stderr.split())


def test_a_rollback_that_came_too_late_to_end_the_rollout_restores_what_served_before_it(store):
    done = seaway("rollback", "ships", "--json", "--reason", "complaints")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["state"]) == (0, "promoted")
    restored = store.rollout(told["rollout"]).request
    assert (restored.release, restored.champion, restored.notify) == (OLD, True, ("env:CHAT",))
    assert restored.requested_by == "complaints"
    assert store.endpoint("ships").stable == OLD
