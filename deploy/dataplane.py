"""What targets with instances on this machine share: remembered fleets, their packages, and the gateway.

What is wanted is remembered in `home/fleets/`, one file per fleet, so a new object on the same home goes on
where the last one ended. A target adds how an instance is started, looked at and ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from deploy.envoy import ConfigFolder, Host
from deploy.errors import GatewayUnreachable, PackageDamaged, RolloutRefused, Temporary
from deploy.gateways import Gateways
from deploy.instances import Instance, Record
from deploy.layout import ACTIVATOR, SIDECAR
from deploy.port import SERVERLESS, Fleet, Share, Totals

DRAIN_SECONDS = 30.0
"""Longest time that running requests get before an instance or a fleet ends."""
ASYNC_DRAIN_SECONDS = 3660.0
"""The same for asynchronous endpoints, whose requests may take an hour."""
SETTLE_SECONDS = 0.5
"""Time for every worker of the gateway to follow a new configuration."""
APPLY_SECONDS = 3.0
"""Longest wait for the gateway to take new routes."""
LAST_LINES = 8
"""Lines of a failing instance's log in the message."""

Ended = Callable[[Fleet, Instance], bool]
"""Asks an instance to end; true once nothing of it is left. It never waits."""


class DataPlane:
    """The fleets of one home and the files of its gateway.

    Args:
        home: folder of the installation; `fleets/`, `packages/` and `logs/models/` in it are used.
        admin: the admin interfaces of the gateway's processes.
        gateway: the files the gateway watches.
        clock: seconds since the epoch, to time drains and pauses.
    """

    def __init__(
        self, home: Path, admin: Gateways, gateway: ConfigFolder, clock: Callable[[], float] = time.time
    ) -> None:
        self.home = home.absolute()
        self.fleets = self.home / "fleets"
        self.clock = clock
        self._admin = admin
        self._gateway = gateway
        gateway.prepare()
        self.fleets.mkdir(parents=True, exist_ok=True)

    # ---- packages and logs --------------------------------------------------------------------------------

    def package(self, fleet: Fleet) -> Path:
        """Folder of the fleet's unpacked package."""
        return self.home / "packages" / fleet.digest

    def unpack(self, fleet: Fleet) -> Path:
        """Unpack the fleet's package unless it is; returns its folder.

        Raises:
            PackageDamaged: the package does not have the digest it claims.
            Temporary: the file system refuses.
        """
        from serving.errors import PackageDamaged as Damaged
        from serving.errors import StorageFailed
        from serving.package import unpack

        try:
            return unpack(fleet.package, self.package(fleet), fleet.digest)
        except Damaged as error:
            raise PackageDamaged(str(error)) from error
        except StorageFailed as error:
            raise Temporary(str(error)) from error

    def log(self, name: str) -> Path:
        """The file that keeps what an instance writes."""
        return self.home / "logs" / "models" / f"{name}.log"

    # ---- the gateway --------------------------------------------------------------------------------------

    def hosts(self, fleet: str) -> dict[int, Host]:
        """The instances of a fleet by port, as the gateway sees them."""
        return self._admin.hosts(fleet)

    def observe(self, endpoint: str) -> dict[str, Totals]:
        """See `deploy.port.Target.observe`."""
        return self._admin.counters(f"{endpoint}.")

    def route(self, endpoint: str, split: tuple[Share, ...], sticky: str = "") -> None:
        """See `deploy.port.Target.route`; returns when the gateway has taken the routes.

        Raises:
            RolloutRefused: a share names a fleet that was not started.
            GatewayUnreachable: the gateway did not take the routes yet; it will when it runs again.
        """
        with self.lock():
            records = {share.fleet: self.load(share.fleet) for share in split}
            for fleet, record in records.items():
                if record is None:
                    raise RolloutRefused(f"fleet {fleet} does not run; start it before routing to it")
            endpoints = self._gateway.endpoints()
            endpoints.pop(endpoint, None)
            wanted = endpoints | ({endpoint: split} if split else {})
            answering = [records[share.fleet] for share in split if share.weight]
            calls = {endpoint: all(record and record.fleet.asynchronous for record in answering)}
            models = {
                endpoint: any(record and self._many_models(record.fleet) for record in records.values())
            }
            fronts = {endpoint: {fleet: _front(record.fleet) for fleet, record in records.items() if record}}
            version = self._gateway.write_routes(wanted, {endpoint: sticky}, calls, models, fronts)
        self._confirm(version)

    def publish(self, record: Record) -> None:
        """Tell the gateway the fleet's instances, then that the fleet exists."""
        self._gateway.write_instances(record.fleet.id, _ports(record.serving), _ports(record.draining))
        self._gateway.write_clusters(self._published())

    def finish_drains(self, record: Record, ended: Ended) -> None:
        """End instances that get no new requests once they have finished theirs, or their time is over."""
        if not record.draining:
            return
        hosts = self._admin.hosts(record.fleet.id)
        for instance in record.draining:
            age = self.clock() - (instance.draining_since or 0.0)
            host = hosts.get(instance.port, Host(healthy=False, active=0))
            if age < SETTLE_SECONDS or (age < _patience(record) and (host.healthy or host.active)):
                continue
            if ended(record.fleet, instance):
                record = record.without(instance.key)
                self.save(record)
                self.publish(record)

    def stop(self, fleet: Fleet, ended: Ended) -> None:
        """See `deploy.port.Target.stop`; one step a call; a fleet with traffic goes on until it has none."""
        with self.lock():
            record = self.load(fleet.id)
            if record is None or self._routed(fleet.id):
                return
            now = self.clock()
            if record.stopping_since is None:
                record = replace(record, stopping_since=now)
                self.save(record)
            if not record.removed and self._drained(record, now):
                record = replace(record, removed=True)
                self.save(record)
                self._gateway.write_clusters(self._published())
            if record.removed and not [one for one in record.instances if not ended(record.fleet, one)]:
                self._gateway.forget_instances(fleet.id)
                self._file(fleet.id).unlink(missing_ok=True)

    def _published(self) -> list[Fleet]:
        return [record.fleet for record in self.records() if not record.removed]

    def _drained(self, record: Record, now: float) -> bool:
        """No route in force leads to the fleet, and its last request is answered or out of time.

        A request's fleet is chosen when its head arrives, and its body may still be on its way when the
        routes have changed. Nobody counts those by fleet, so a moment is awaited at which no request of any
        endpoint is arriving; the active ones are asked for after that, so that none is missed in between.
        """
        age = now - (now if record.stopping_since is None else record.stopping_since)
        if age < SETTLE_SECONDS:
            return False
        endpoints = self._gateway.endpoints()
        self._confirm(self._gateway.write_routes(endpoints))
        mirrored = {share.fleet for split in endpoints.values() for share in split if share.mirror}
        if age < DRAIN_SECONDS and self._admin.arriving(mirrored):
            return False
        active = sum(host.active for host in self._admin.hosts(record.fleet.id).values())
        return active == 0 or age >= _patience(record)

    def _many_models(self, fleet: Fleet) -> bool:
        from serving.loading import MODELS

        return (self.package(fleet) / MODELS).is_file()

    def _routed(self, fleet: str) -> bool:
        return any(share.fleet == fleet for split in self._gateway.endpoints().values() for share in split)

    def _confirm(self, version: str) -> None:
        """Wait until the gateway works with these routes."""
        deadline = time.monotonic() + APPLY_SECONDS
        while (applied := self._admin.applied_routes()) != version:
            if time.monotonic() > deadline:
                raise GatewayUnreachable(
                    f"the gateway works with routes {applied or 'of nobody'}, not {version}; "
                    "see `seaway logs envoy-1`"
                )
            time.sleep(0.01)

    # ---- what is remembered -------------------------------------------------------------------------------

    def load(self, fleet: str) -> Record | None:
        """What is remembered of a fleet; None when it was not started."""
        file = self._file(fleet)
        return Record.from_json(json.loads(file.read_text())) if file.exists() else None

    def records(self) -> list[Record]:
        """Every fleet that was started."""
        files = sorted(self.fleets.glob("*.json"))
        return [Record.from_json(json.loads(file.read_text())) for file in files]

    def save(self, record: Record) -> None:
        """Remember a fleet."""
        file = self._file(record.fleet.id)
        text = json.dumps(record.to_json(), indent=1)
        if file.exists() and file.read_text() == text:
            return
        new = file.with_suffix(".new")
        new.touch(mode=0o600)  # the environment may hold secrets
        new.write_text(text)
        new.replace(file)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One call at a time, also of other processes."""
        with (self.fleets / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _file(self, fleet: str) -> Path:
        return self.fleets / f"{fleet}.json"


def tail(log: Path) -> str:
    """The last lines of a log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-LAST_LINES:])


def _front(fleet: Fleet) -> str:
    """Who of ours answers the gateway before anything of the model does."""
    told = dict(fleet.environment)
    if SERVERLESS in told:
        return ACTIVATOR
    return SIDECAR if fleet.image else ""


def _patience(record: Record) -> float:
    return ASYNC_DRAIN_SECONDS if record.fleet.asynchronous else DRAIN_SECONDS


def _ports(instances: Iterable[Instance]) -> list[int]:
    return [instance.port for instance in instances if instance.port]
