"""The end of an endpoint: under load behind the real gateway, and by the command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from typer.testing import CliRunner

from configs.settings import Settings
from deploy.controller import Controller
from deploy.plan import at_once
from deploy.release import Release, Request
from deploy.rollout import Phase
from deploy.store import Store
from deploy.targets.memory import Behaviour, MemoryTarget
from deploy.variants import Arrangement, Variant
from flows.wiring import Wiring
from registry.tables import open_store
from seaway.cli import application
from seaway.service import Interface, Loops
from tests.fakes.data_plane import wait_until
from tests.fleets import Load
from tests.local_target import LocalPlace

pytestmark = pytest.mark.integration


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 (the outermost edge)


@dataclass
class Scene:
    """A controller over real instances and gateways."""

    place: LocalPlace
    store: Store
    archives: Path

    def tick(self) -> None:
        Controller(self.store, self.place.target, self.archives).tick(now())  # as after a kill, each time

    def release(self, name: str) -> Release:
        archive, digest = self.place.packages[name]
        kept = self.archives / f"{digest}.tar.gz"
        if not kept.exists():
            os.link(archive, kept)
        return Release("twice", name.removeprefix("v"), digest)

    def serve(self, ident: str) -> None:
        self.store.ask(Request(ident, "leaving", self.release("v1"), at_once()), now())

        def promoted() -> bool:
            self.tick()
            return self.store.rollout(ident).state.phase is Phase.PROMOTED

        wait_until(promoted, seconds=60, step=0.1)

    def gone(self) -> bool:
        self.tick()
        return self.store.endpoint("leaving") is None and not self.store.retiring()


@pytest.fixture
def scene(local: LocalPlace, tmp_path: Path) -> Iterator[Scene]:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    store = Store(engine)
    store.create()
    archives = local.home / "archives"
    archives.mkdir(exist_ok=True)
    yield Scene(local, store, archives)
    engine.dispose()


def test_what_is_being_answered_is_finished_and_everybody_else_is_told(scene: Scene) -> None:
    scene.serve("first")
    shadow = Variant(scene.release("v2"), mirror=50)
    scene.store.rearrange("leaving", scene.archives, lambda _found, _before: Arrangement(1.0, (shadow,)))
    shadow_id = shadow.release.fleet("leaving", scene.archives).id

    def copied() -> bool:
        scene.tick()
        return any(name.startswith(shadow_id) for name in scene.place.supervisor.states())

    wait_until(copied, seconds=60, step=0.1)
    fleet = scene.store.endpoint("leaving").stable.fleet("leaving", scene.archives)
    _, pid = scene.place.instance(fleet)
    with Load(scene.place.envoys[0].url, "leaving") as load:
        wait_until(lambda: load.statuses["200"] > 20)
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: scene.place.admin.hosts(fleet.id).popitem()[1].active == load.clients)
            answered = load.statuses.total()
            scene.store.remove("leaving", "alice", now())
            wait_until(lambda: scene.tick() or scene.store.endpoint("leaving") is None)
            scene.tick()
            assert load.statuses.total() == answered
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: load.statuses["400"] > 5)
    assert set(load.statuses) == {"200", "400"}, load.statuses
    assert load.statuses["200"] == answered + load.clients
    wait_until(scene.gone, seconds=60, step=0.1)
    assert scene.place.supervisor.states() == {}
    assert list((scene.place.home / "fleets").glob("*.json")) == []
    refusal = scene.place.ask("leaving")
    assert (refusal.status_code, refusal.headers["x-amzn-errortype"]) == (400, "ValidationError")
    assert refusal.json() == {"message": "Endpoint leaving of account 000000000000 not found."}
    scene.serve("again")
    assert scene.place.ask("leaving").json()["predictions"][0]["score"] == 6.0
    scene.store.remove("leaving", "alice", now())
    wait_until(scene.gone, seconds=60, step=0.1)


# ---- the command ------------------------------------------------------------------------------------------

SHIPS = Release("ships", "1", "a" * 64)


@dataclass
class Running:
    """A home whose controller looks all the time, over a target in memory."""

    wiring: Wiring
    target: MemoryTarget

    def seaway(self, *words: str, answer: str = ""):
        return CliRunner().invoke(application(), words, input=answer)


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    settings = Settings(home=tmp_path)
    settings.save()
    monkeypatch.setenv("SEAWAY_HOME", str(tmp_path))
    wiring, target, over = Wiring(settings), MemoryTarget(), threading.Event()
    wiring.store.ask(Request("r", "ships", SHIPS, at_once(), champion=True), now())

    def look() -> None:
        while not over.wait(0.01):
            Controller(wiring.store, target, tmp_path / "archives").tick(now())

    thread = threading.Thread(target=look)
    thread.start()
    wait_until(lambda: wiring.store.rollout("r").state.phase.final)
    yield Running(wiring, target)
    over.set()
    thread.join()
    wiring.engine.dispose()


def test_an_endpoint_is_removed_after_a_question(running: Running) -> None:
    asked = running.seaway("remove", "ships", answer="n\n")
    assert asked.exit_code == 1
    assert "serves version 1 of ships (production)" in asked.stderr
    assert running.wiring.store.endpoint("ships") is not None
    done = running.seaway("remove", "ships", "--reason", "the season is over", answer="y\n")
    assert done.exit_code == 0
    assert done.stdout.endswith("endpoint ships is removed\n")
    assert (running.target.fleets, running.target.endpoints) == ({}, {})
    assert running.wiring.store.events("ships")[-2].data["reason"] == "the season is over"


def test_programs_remove_without_a_question_and_end_a_rollout_only_when_they_say_so(running: Running) -> None:
    new = Release("ships", "2", "b" * 64)
    running.target.behaviours[new.fleet("ships", Path()).id] = Behaviour(looks=10**9)
    running.wiring.store.ask(Request("s", "ships", new, at_once(), champion=True), now())
    refused = running.seaway("remove", "ships", "--yes")
    assert refused.exit_code == 1
    assert "seaway remove ships --abort" in " ".join(refused.stderr.split())
    done = running.seaway("remove", "ships", "--yes", "--abort", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["endpoint"], told["version"], told["finishing"]) == (0, "ships", "1", [])
    assert running.target.fleets == {}
    assert json.loads(running.seaway("endpoints", "--json").stdout) == []


def test_what_is_not_there_cannot_be_removed(running: Running) -> None:
    done = running.seaway("remove", "boats", "--yes")
    assert done.exit_code == 1
    assert "there is no endpoint boats; `seaway endpoints` lists" in " ".join(done.stderr.split())


def test_the_control_interface_removes_for_who_has_the_token(running: Running) -> None:
    wiring = running.wiring
    (wiring.settings.home / "secrets").mkdir()
    (wiring.settings.home / "secrets" / "control").write_text("open sesame")
    app = Starlette(routes=Interface(wiring, Loops(wiring)).routes())
    token = {"authorization": "Bearer open sesame"}

    async def delete(path: str, headers: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
            return await client.delete(path, headers=headers)

    def status(path: str, headers: dict[str, str] = token) -> int:
        return asyncio.run(delete(path, headers)).status_code

    assert status("/api/endpoints/ships", {}) == 401
    assert status("/api/endpoints/boats") == 404
    new = Release("ships", "2", "b" * 64)
    running.target.behaviours[new.fleet("ships", Path()).id] = Behaviour(looks=10**9)
    wiring.store.ask(Request("s", "ships", new, at_once(), champion=True), now())
    assert status("/api/endpoints/ships") == 409
    assert status("/api/endpoints/ships?abort=true&reason=autumn") == 202
    wait_until(lambda: wiring.store.endpoint("ships") is None)
    asked = next(event for event in wiring.store.events("ships") if event.kind == "remove_asked")
    assert (asked.data["reason"], asked.rollout) == ("autumn", "s")
