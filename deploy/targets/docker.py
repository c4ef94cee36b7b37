"""Endpoints in containers on this machine: every instance is one, behind the same Envoy.

The engine chooses ports and keeps processes apart; it neither restarts nor health-checks anything. Whether an
instance answers, the gateway knows by `/ping`; what ended is started again from here, and counted. Where an
image cannot capture, a sidecar does. No call waits for a container or an image: what takes time is looked at
again by the next call.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from deploy import containers, sidecars
from deploy.containers import GRACE_SECONDS, SIDECAR, Limits, Look, container_name, home_id, instance_name
from deploy.dataplane import DataPlane, tail
from deploy.engine import Engine
from deploy.envoy import ConfigFolder
from deploy.errands import Errands, Get, Tell
from deploy.following import Followers
from deploy.gateways import Gateways
from deploy.image import RUNTIME
from deploy.instances import UNSEEN, Instance, Record
from deploy.port import Capabilities, Fleet, Readiness, Share, Totals

LAST_WORDS_SECONDS = 5.0
"""Longest wait for the rest of an ended container's output."""
QUIET_SECONDS = 10.0
"""A start that takes longer is worth a word."""


class Stock(Protocol):
    """Names of our own images, and how they are made: `deploy.image.Stock`."""

    def package(self, folder: Path, extras: Iterable[str] = ()) -> str:
        """The image that serves an unpacked package."""
        ...

    def sidecar(self, extras: Iterable[str] = ()) -> str:
        """The image that stands before somebody else's container."""
        ...

    def make(self, tag: str, tell: Tell) -> None:
        """Make an image that was named; takes minutes."""
        ...


class DockerTarget:
    """The `Target` of Docker's engine on this machine.

    Args:
        home: folder of the installation; `fleets/`, `packages/` and `logs/models/` in it are used.
        engine: runs the containers; it must see the same files as we do.
        admin: the admin interfaces of the gateway's processes.
        gateway: the files the gateway watches.
        stock: the images for unpacked packages, of fleets that do not bring one.
        clock: seconds since the epoch, to time drains and pauses.
        environ: where keys and logins for captures are; this process's variables when None.
    """

    def __init__(
        self,
        home: Path,
        engine: Engine,
        admin: Gateways,
        gateway: ConfigFolder,
        *,
        stock: Stock,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._plane = DataPlane(home, admin, gateway, clock)
        self._home = home_id(self._plane.home)
        self._engine = engine
        self._stock = stock
        self._limits = Limits()
        self._followers = Followers(engine.frames)
        self._environ = os.environ if environ is None else environ
        self._errands = Errands()
        self._labels: dict[str, dict[str, str]] = {}
        self._ending: dict[str, float] = {}

    @property
    def capabilities(self) -> Capabilities:
        """See `deploy.port.Target.capabilities`."""
        return Capabilities(mirror=True, rolling=True)

    def start(self, fleet: Fleet) -> None:
        """See `deploy.port.Target.start`; an image that the engine lacks is pulled or made meanwhile.

        Raises:
            deploy.engine.ImageMissing: no registry gives the fleet's image.
            deploy.rootfs.ImageRefused: our own image cannot be made of what is installed here.
        """
        with self._plane.lock():
            _readable(self._plane.unpack(fleet))
            for folder in containers.written(self._equipped(fleet)):
                _writable(Path(folder))
            record = self._plane.load(fleet.id) or Record(fleet)
            slots = {one.slot for one in record.instances}
            record = record.wanting(fleet, self._plane.clock(), lambda: _fresh(slots))
            self._plane.save(record)
            record = self._converge(record, self._engine.looks(fleet.id))
            self._plane.publish(record)
            self._plane.finish_drains(record, self._ended)

    def ready(self, fleet: Fleet) -> Readiness:
        """See `deploy.port.Target.ready`; also starts again what ended or never answered."""
        with self._plane.lock():
            record = self._plane.load(fleet.id)
            if record is None:
                return Readiness(ready=0, wanted=0, gone=True)
            looks = self._engine.looks(fleet.id)
            before = record
            record = self._converge(record, looks)
            if record != before:
                self._plane.publish(record)
            hosts = self._plane.hosts(fleet.id)
            healthy = {port for port, host in hosts.items() if host.healthy}
            record = self._time_starts(record, healthy, looks)
        ready = sum(one.port in healthy for one in record.serving)
        wanted = len(record.serving)
        message = "" if ready >= wanted else self._way(fleet) or self._trouble(record, healthy, looks)
        return Readiness(ready, wanted, record.crashes, message)

    def route(self, endpoint: str, split: tuple[Share, ...], sticky: str = "") -> None:
        """See `deploy.port.Target.route` and `DataPlane.route`."""
        self._plane.route(endpoint, split, sticky)

    def observe(self, endpoint: str) -> dict[str, Totals]:
        """See `deploy.port.Target.observe`."""
        return self._plane.observe(endpoint)

    def stop(self, fleet: Fleet) -> None:
        """See `deploy.port.Target.stop` and `DataPlane.stop`."""
        self._plane.stop(fleet, self._ended)

    def close(self) -> None:
        """Give the engine's connections back."""
        self._engine.close()

    # ---- instances ----------------------------------------------------------------------------------------

    def _equipped(self, fleet: Fleet) -> Fleet:
        return sidecars.equipped(fleet, self._environ, self._plane.home / "spool")

    def _image(self, fleet: Fleet) -> tuple[str, Get]:
        """Name of the fleet's image, and how to get it."""
        if fleet.image:
            return fleet.image, self._engine.pull
        return self._stock.package(self._plane.package(fleet), sidecars.extras(fleet)), self._stock.make

    def _has(self, image: str, get: Get) -> bool:
        """Whether the engine has an image; if not, somebody is sent for it."""
        if image not in self._labels:
            found = self._engine.labels(image)
            if found is None:
                self._errands.run(image, get)
                return False
            self._errands.forget(image)
            self._labels[image] = found
        return True

    def _way(self, fleet: Fleet) -> str:
        """How far the fleet's images have come; empty when they are there."""
        image, _ = self._image(fleet)
        if (news := self._errands.news(image)) or not fleet.image:
            return news
        return self._errands.news(self._stock.sidecar(sidecars.extras(fleet)))

    def _asked(self, fleet: Fleet, slot: int) -> tuple[dict[str, Any], ...]:
        """The containers of an instance in the order they start; none while an image is on its way."""
        image, get = self._image(fleet)
        if not self._has(image, get):
            return ()
        told: dict[str, Any] = {
            "package": self._plane.package(fleet),
            "limits": self._limits,
            "home": self._home,
        }
        equipped = self._equipped(fleet)
        if not fleet.image or self._labels[image].get(RUNTIME):
            return (containers.arguments(equipped, slot, image=image, **told),)
        beside = self._stock.sidecar(sidecars.extras(fleet))
        if not self._has(beside, self._stock.make):
            return ()
        return sidecars.pair(fleet, slot, equipped=replace(equipped, image=beside), **told)

    def _seen(self, name: str, looks: Mapping[str, Look]) -> Look | None:
        return sidecars.together(looks.get(name), looks.get(name + SIDECAR))

    def _converge(self, record: Record, looks: dict[str, Look]) -> Record:
        """Note what happened to the instances, and give those that should serve running containers."""
        if record.stopping_since is not None:
            return record
        before = record
        record = record.under(self._engine.process(), pid=0)
        limits = self._limits.of(record.fleet)
        for instance in record.instances:
            name = container_name(self._home, record.fleet.id, instance.slot)
            if name in self._ending or name + SIDECAR in self._ending:  # it ends because we asked
                instance = replace(instance, pid=0)  # noqa: PLW2901
            if seen := self._seen(name, looks):
                instance = containers.looked_at(instance, seen, limits)  # noqa: PLW2901
            if instance.draining_since is None:
                instance = self._converged(record.fleet, instance, looks)  # noqa: PLW2901
            record = record.with_instance(instance)
        if record != before:
            self._plane.save(record)
        return record

    def _converged(self, fleet: Fleet, instance: Instance, looks: dict[str, Look]) -> Instance:
        """The instance with containers that run or are about to, unless it must wait."""
        name = container_name(self._home, fleet.id, instance.slot)
        asked, seen = self._asked(fleet, instance.slot), self._seen(name, looks)
        if not asked:
            return instance
        if seen and seen.specification != sidecars.specified(asked):
            if not self._ended(fleet, instance):
                return instance
            seen = None
            _forget(looks, name)
        if seen and seen.over:
            if not containers.revivable(instance, seen, self._plane.clock()):
                return instance
            instance = containers.started_again(instance)
            if seen.failed or seen.sidecar:  # behind a new sidecar there is another network
                self._removed(name, looks)
                seen = None
        if seen is None:
            instance = replace(instance, pid=UNSEEN, answered=False)
        self._run(asked, looks)
        started = self._seen(name, looks)
        return replace(instance, port=started.port) if started else instance

    def _run(self, asked: Iterable[dict[str, Any]], looks: dict[str, Look]) -> None:
        """Make, start and follow containers, as far as nobody has."""
        for one in asked:
            name: str = one["name"]
            if name not in looks:
                self._engine.create(one)
            if name not in looks or not looks[name].up:
                self._ending.pop(name, None)
                self._engine.start(name)
                if (started := self._engine.look(name)) is not None:
                    looks[name] = started
            self._follow(name)

    def _follow(self, name: str) -> None:
        instance = name.removeprefix(container_name(self._home, "", 0).removesuffix(".0"))
        self._followers.follow(name, self._plane.log(instance))

    def _removed(self, name: str, looks: dict[str, Look]) -> None:
        """Remove an instance's containers at once."""
        for one in (name + SIDECAR, name):
            if one in looks:
                self._engine.remove(one)
        _forget(looks, name)

    def _ended(self, fleet: Fleet, instance: Instance) -> bool:
        """Ask the containers of an instance to end, the sidecar first, and remove them."""
        name = container_name(self._home, fleet.id, instance.slot)
        return self._gone(name + SIDECAR) and self._gone(name)

    def _gone(self, name: str) -> bool:
        """Ask a container to end, make it after a while, and remove it once its last words are kept."""
        now = self._plane.clock()
        seen = self._engine.look(name)
        since = self._ending.setdefault(name, now)
        if seen and seen.up:
            if since == now:
                self._engine.signal(name, "SIGTERM")
            elif now - since > GRACE_SECONDS:
                self._engine.signal(name, "SIGKILL")
            return False
        if seen and self._followers.busy(name) and now - max(since, seen.ended) < LAST_WORDS_SECONDS:
            return False
        if seen:
            self._engine.remove(name)
        self._followers.forget(name)
        self._ending.pop(name, None)
        return True

    def _time_starts(self, record: Record, healthy: set[int], looks: dict[str, Look]) -> Record:
        """Note who answers, and end who has not within its time."""
        before, limits = record, self._limits.of(record.fleet)
        for instance in record.serving:
            name = container_name(self._home, record.fleet.id, instance.slot)
            seen = self._seen(name, looks)
            if instance.port in healthy:
                record = record.with_instance(replace(instance, answered=True))
            elif seen and containers.overdue(instance, seen, limits, self._plane.clock()):
                self._engine.signal(name, "SIGKILL")
                record = record.with_instance(containers.given_up(instance, limits))
        if record != before:
            self._plane.save(record)
        return record

    def _trouble(self, record: Record, healthy: set[int], looks: dict[str, Look]) -> str:
        """Why the first failing instance fails, with its last words."""
        for instance in record.serving:
            seen = self._seen(container_name(self._home, record.fleet.id, instance.slot), looks)
            ending = SIDECAR if seen and seen.sidecar else ""
            words = tail(self._plane.log(instance_name(record.fleet.id, instance.slot) + ending))
            if instance.port in healthy and seen and seen.up:
                continue
            if instance.crashes:
                return f"instance {instance.slot}: {instance.ended}\n{words}".strip()
            if seen and seen.up and (age := self._plane.clock() - seen.started) > QUIET_SECONDS:
                told = f"instance {instance.slot} has run for {age:.0f} s without answering /ping with 200"
                return f"{told}\n{words}".strip()
        return "waiting for the instances to answer"


def _fresh(slots: set[int]) -> Instance:
    slot = containers.free_slot(slots)
    slots.add(slot)
    return Instance(slot=slot)


def _forget(looks: dict[str, Look], name: str) -> None:
    for one in (name, name + SIDECAR):
        looks.pop(one, None)


def _readable(folder: Path) -> None:
    """Let the containers' user read the package, whatever our umask was when it was unpacked."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        wanted = mode | (0o055 if path.is_dir() else 0o044)
        if mode != wanted:
            path.chmod(wanted)


def _writable(folder: Path) -> None:
    """Let the containers' user write there."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_uid == containers.UID:
        return
    try:
        os.chown(folder, containers.UID, containers.UID)
    except PermissionError:
        folder.chmod(0o1777)
