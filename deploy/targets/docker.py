"""Endpoints in containers on this machine: every instance is one, behind the same Envoy.

The engine chooses ports and keeps processes apart; it neither restarts nor health-checks anything. Whether an
instance answers, the gateway knows by `/ping`; what ended is started again from here, and counted. No call
waits for a container: what takes time is looked at again by the next call.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy import containers
from deploy.containers import GRACE_SECONDS, Limits, Look, container_name, home_id, instance_name
from deploy.dataplane import DataPlane, tail
from deploy.engine import Engine
from deploy.envoy import ConfigFolder
from deploy.errors import Permanent
from deploy.following import Followers
from deploy.gateways import Gateways
from deploy.instances import UNSEEN, Instance, Record
from deploy.port import Capabilities, Fleet, Readiness, Share, Totals

LAST_WORDS_SECONDS = 5.0
"""Longest wait for the rest of an ended container's output."""
QUIET_SECONDS = 10.0
"""A start that takes longer is worth a word."""


class ImageMissing(Permanent):
    """The engine does not have the image."""


class DockerTarget:
    """The `Target` of Docker's engine on this machine.

    Args:
        home: folder of the installation; `fleets/`, `packages/` and `logs/models/` in it are used.
        engine: runs the containers; it must see the same files as we do.
        admin: the admin interfaces of the gateway's processes.
        gateway: the files the gateway watches.
        stock: the image for an unpacked package, of fleets that do not bring one.
        limits: of every instance whose fleet does not say otherwise.
        clock: seconds since the epoch, to time drains and pauses.
    """

    def __init__(
        self,
        home: Path,
        engine: Engine,
        admin: Gateways,
        gateway: ConfigFolder,
        *,
        stock: Callable[[Path], str],
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._plane = DataPlane(home, admin, gateway, clock)
        self._home = home_id(self._plane.home)
        self._engine = engine
        self._stock = stock
        self._limits = limits
        self._followers = Followers(engine.frames)
        self._images: set[str] = set()
        self._ending: dict[str, float] = {}

    @property
    def capabilities(self) -> Capabilities:
        """See `deploy.port.Target.capabilities`."""
        return Capabilities(mirror=True, rolling=True)

    def start(self, fleet: Fleet) -> None:
        """See `deploy.port.Target.start`.

        Raises:
            ImageMissing: the engine does not have the fleet's image.
        """
        with self._plane.lock():
            _readable(self._plane.unpack(fleet))
            for folder in containers.written(fleet):
                _writable(Path(folder))
            self._image(fleet)
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
                return Readiness(ready=0, wanted=0)
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
        message = "" if ready >= wanted else self._trouble(record, healthy, looks)
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

    def _image(self, fleet: Fleet) -> str:
        image = fleet.image or self._stock(self._plane.package(fleet))
        if image not in self._images:
            if not self._engine.has(image):
                how = "pull or build it" if fleet.image else "make it with `seaway image stock`"
                raise ImageMissing(f"Docker does not have the image {image} of fleet {fleet.id}; {how}")
            self._images.add(image)
        return image

    def _arguments(self, fleet: Fleet, slot: int) -> dict[str, Any]:
        return containers.arguments(
            fleet,
            slot,
            image=self._image(fleet),
            package=self._plane.package(fleet),
            limits=self._limits,
            home=self._home,
        )

    def _converge(self, record: Record, looks: dict[str, Look]) -> Record:
        """Note what happened to the instances, and give those that should serve a running container."""
        if record.stopping_since is not None:
            return record
        before = record
        record = record.under(self._engine.process(), pid=0)
        limits = self._limits.of(record.fleet)
        for instance in record.instances:
            name = container_name(self._home, record.fleet.id, instance.slot)
            if name in self._ending:  # it ends because we asked
                instance = replace(instance, pid=0)  # noqa: PLW2901
            if seen := looks.get(name):
                instance = containers.looked_at(instance, seen, limits)  # noqa: PLW2901
            if instance.draining_since is None:
                instance = self._converged(record.fleet, instance, looks)  # noqa: PLW2901
            record = record.with_instance(instance)
        if record != before:
            self._plane.save(record)
        return record

    def _converged(self, fleet: Fleet, instance: Instance, looks: dict[str, Look]) -> Instance:
        """The instance with a container that runs or is about to, unless it must wait."""
        name = container_name(self._home, fleet.id, instance.slot)
        asked, seen = self._arguments(fleet, instance.slot), looks.get(name)
        if seen and seen.specification != asked["labels"][containers.SPECIFICATION]:
            if not self._ended(fleet, instance):
                return instance
            seen = None
        if seen and seen.over:
            if not containers.revivable(instance, seen, self._plane.clock()):
                return instance
            instance = containers.started_again(instance)
            if seen.failed:
                self._engine.remove(name)
                seen = None
        if seen is None:
            self._engine.create(asked)
            instance = replace(instance, pid=UNSEEN, answered=False)
        if seen is None or not seen.up:
            self._ending.pop(name, None)
            self._engine.start(name)
            if (started := self._engine.look(name)) is not None:
                looks[name] = started
                instance = replace(instance, port=started.port)
        self._followers.follow(name, self._plane.log(instance_name(fleet.id, instance.slot)))
        return instance

    def _ended(self, fleet: Fleet, instance: Instance) -> bool:
        """Ask the container to end, make it after a while, and remove it once its last words are kept."""
        name, now = container_name(self._home, fleet.id, instance.slot), self._plane.clock()
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
            seen = looks.get(name)
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
            seen = looks.get(container_name(self._home, record.fleet.id, instance.slot))
            words = tail(self._plane.log(instance_name(record.fleet.id, instance.slot)))
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
