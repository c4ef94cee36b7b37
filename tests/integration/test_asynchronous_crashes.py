"""The process may die before and after each of its effects: every request still ends once, and is told of."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.asynchronous import notices
from serving.asynchronous.admission import admit
from serving.asynchronous.backlog import Backlog
from serving.asynchronous.carrier import Carrier
from serving.asynchronous.configuration import Configurations
from serving.asynchronous.invoking import Invoker
from serving.asynchronous.metrics import Metrics
from serving.asynchronous.notices import NotTold
from serving.asynchronous.objects import Stores
from serving.asynchronous.teller import Teller
from serving.relay import Broken, Unreachable

pytestmark = pytest.mark.integration
KINDS = ("ok", "fail", "break", "refused", "expired", "directory", "nothing", "outside", "fickle")


class Killed(BaseException):
    """The process ends here."""


class World:
    """What outlives the process: folders, a clock, a receiver of messages; and a look at all that is visible."""

    def __init__(self, folder: Path, kills: list[int]) -> None:
        self.folder, self.objects = folder, folder / "objects"
        self.objects.mkdir()
        (folder / "async").mkdir()
        (folder / "async" / "late.json").write_text(
            '{"output_path": "s3://local/a", "failure_path": "s3://local/f",'
            ' "success_topic": "https://x.example/", "error_topic": "https://x.example/"}'
        )
        self.now = 1000.0
        self.kills = kills
        self.effects = 0
        self.told: list[tuple[str, str]] = []
        self.seen: dict[str, bytes] = {}
        self.calls: dict[str, int] = {}

    def step(self) -> None:
        """Between two effects: look at what a client can see, and die when it is time."""
        self.look()
        self.effects += 1
        if self.kills and self.effects >= self.kills[0]:
            self.kills.pop(0)
            self.effects = 0
            raise Killed

    def look(self) -> None:
        visible = {
            str(path.relative_to(self.objects)): path.read_bytes()
            for path in self.objects.rglob("*.out")
            if path.is_file() and not path.name.startswith(".")
        }
        for name, content in self.seen.items():
            assert visible.get(name) == content, f"{name} changed or went away"
        self.seen = visible
        ends = [name.split("/")[1].removesuffix(".out").removesuffix("-error") for name in visible]
        assert len(ends) == len(set(ends)), "an answer and a failure of one request"

    async def send(self, _address, content, _configuration) -> None:
        self.step()
        if self.calls.setdefault(f"send {content['inferenceId']}", 0) == 0:
            self.calls[f"send {content['inferenceId']}"] = 1
            raise NotTold("not the first time")
        self.told.append((content["inferenceId"], content["invocationStatus"]))
        self.step()


class Fragile:
    """Every call of the wrapped object is an effect."""

    def __init__(self, real: object, step: Callable[[], None]) -> None:
        self._real, self._step = real, step

    def __getattr__(self, name: str):
        found = getattr(self._real, name)
        if not callable(found) or inspect.iscoroutinefunction(found):
            return found

        def effect(*values, **named):
            self._step()
            result = found(*values, **named)
            self._step()
            return result

        return effect


class FragileStores(Stores):
    def __init__(self, world: World) -> None:
        super().__init__({"local": world.objects}, world.folder / "spool")
        self._world = world

    def of(self, location, configuration):
        return Fragile(super().of(location, configuration), self._world.step)


class Reply:
    content_type = "text/plain"
    headers = ()

    def __init__(self, status: int, step: Callable[[], None], body: bytes) -> None:
        self.status, self._step, self._body = status, step, body

    async def parts(self, _deadline):
        for part in (self._body[:3], self._body[3:]):
            self._step()
            yield part


class Endpoint:
    """Behaves as a request's body says."""

    def __init__(self, world: World) -> None:
        self._world = world

    @asynccontextmanager
    async def ask(self, _method, _path, _headers, body, deadline):
        self._world.step()
        sent = b"".join([part async for part in body])
        ident, _, kind = sent.decode().partition(" ")
        self._world.calls[ident] = calls = self._world.calls.get(ident, 0) + 1
        if kind == "refused" and calls < 3:
            raise Unreachable("nobody")
        if kind == "break":
            raise Broken("broken")
        bad = kind == "fail" or (kind == "fickle" and calls % 2 == 0)
        content = b"answer " + sent + (b" %d" % calls if kind == "fickle" else b"")
        yield Reply(400 if bad else 200, self._world.step, content)


@contextmanager
def opened(world: World):
    backlog = Backlog(world.folder / "home")
    try:
        yield Fragile(backlog, world.step)
    finally:
        backlog.close()


async def live(world: World, backlog) -> None:
    """One life of the process: work until nothing is left."""

    async def saved(call, *values, **named):
        return call(*values, **named)

    def clock() -> float:
        return world.now

    metrics, stores = Metrics(), FragileStores(world)
    configurations = Configurations(world.folder / "async")
    carrier = Carrier(
        backlog, saved, stores, Invoker(Endpoint(world), stores, metrics, clock), metrics, clock
    )
    teller = Teller(backlog, saved, configurations, metrics, clock)
    found = configurations.find("late")
    entries = backlog.unpublished()
    backlog.resume_tellings()
    while True:
        for entry in entries:
            await carrier.carry(entry, found)
        told = await teller.round()
        world.now += 61
        entries = [*backlog.overdue(2, world.now), *backlog.claim("late", 2, world.now)]
        if not entries and not told and not backlog.waiting():
            return


def run(kinds: list[str], kills: list[int]) -> World:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), kills)
        with patch.object(notices, "send", world.send):
            fill(world, kinds)
            for _ in range(len(kills) + 1):
                try:
                    with opened(world) as backlog:
                        asyncio.run(live(world, backlog))
                    break
                except Killed:
                    continue
        world.look()
        assert not list(world.objects.rglob(".*")), "staging files stay"
        return world


def fill(world: World, kinds: list[str]) -> None:
    configuration = Configurations(world.folder / "async").find("late")
    backlog = Backlog(world.folder / "home")
    for number, kind in enumerate(kinds):
        ident, place = (
            f"id-{number}",
            {"nothing": "s3://local/nothing", "outside": "s3://local/../x"}.get(kind),
        )
        ttl = "60" if kind == "expired" else "21600"
        headers = {
            "x-amzn-sagemaker-requestttlseconds": ttl,
            **({"x-amzn-sagemaker-inputlocation": place} if place else {}),
        }
        body = b"" if place else f"{ident} {kind}".encode()
        backlog.add(admit("late", headers, body, configuration, world.now - 61 * (kind == "expired"), ident))
        if kind == "directory":
            (world.objects / "a" / f"{ident}.out").mkdir(parents=True)
    backlog.close()


def check(world: World, kinds: list[str]) -> None:
    for number, kind in enumerate(kinds):
        output, failure = f"a/id-{number}.out", f"f/id-{number}-error.out"
        good = kind in {"ok", "refused"} or (kind == "fickle" and output in world.seen)
        assert (output in world.seen, failure in world.seen) == (good, not good)
        if good and kind != "fickle":
            assert world.seen[output] == f"answer id-{number} {kind}".encode()
        ends = {status for ident, status in world.told if ident == f"id-{number}"}
        assert ends == {"Completed" if good else "Failed"}


def test_without_a_kill_everybody_is_told_once():
    world = run(list(KINDS), [])
    check(world, list(KINDS))
    assert len(world.told) == len(KINDS)


@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
    st.lists(st.integers(1, 60), max_size=4),
)
@example(["fickle"], [30])
def test_killed_anywhere_every_request_ends_once(kinds, kills):
    check(run(kinds, kills), kinds)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fickle", "directory"])
def test_killed_at_each_effect_of_one_request(kind):
    for point in range(1, 200):
        kills = [point]
        check(run([kind], kills), [kind])
        if kills:  # the life was over before this point
            return
    raise AssertionError("the life never ends")


def test_a_request_that_ends_the_process_each_time_fails():
    world = run(["ok"], [12] * 8)
    assert list(world.seen) == ["f/id-0-error.out"]
    assert b"ended 6 times" in world.seen["f/id-0-error.out"]
