"""Endpoints on this machine: model servers under supervisord behind Envoy.

What is wanted is remembered in `home/fleets/`, one file per fleet, so a new object on the same home goes on
where the last one ended. No call waits for a process: what takes time is looked at again by the next call.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from deploy.envoy import ConfigFolder, Host
from deploy.errors import GatewayUnreachable, PackageDamaged, RolloutRefused, Temporary
from deploy.gateways import Gateways
from deploy.instances import Instance, Record
from deploy.port import Capabilities, Fleet, Readiness, Share, Totals
from deploy.supervise import GONE, ProcessState, Program, Supervisor

DRAIN_SECONDS = 30.0
"""Longest time that running requests get before an instance or a fleet ends."""
SETTLE_SECONDS = 0.5
"""Time for every worker of the gateway to follow a new configuration."""
APPLY_SECONDS = 3.0
"""Longest wait for the gateway to take new routes."""
LAST_LINES = 8
"""Lines of a failing instance's log in the message."""

_PORTS = range(20_000, 30_000)  # below the range from which the kernel takes ports for outgoing connections
_TROUBLE = frozenset({"BACKOFF", "FATAL", "EXITED", "UNKNOWN"})


class LocalTarget:
    """The `Target` of this machine.

    Args:
        home: folder of the installation; `fleets/`, `packages/` and `logs/models/` in it are used.
        supervisor: runs the model servers.
        admin: the admin interfaces of the gateway's processes.
        gateway: the files the gateway watches.
        python: executable that can import `serving`.
        clock: seconds since the epoch, to time drains and pauses.
    """

    def __init__(
        self,
        home: Path,
        supervisor: Supervisor,
        admin: Gateways,
        gateway: ConfigFolder,
        *,
        python: str = sys.executable,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home = home.absolute()
        self._fleets = self._home / "fleets"
        self._supervisor = supervisor
        self._admin = admin
        self._gateway = gateway
        self._python = python
        self._clock = clock
        self._applied: set[str] = set()
        gateway.prepare()
        self._fleets.mkdir(parents=True, exist_ok=True)

    @property
    def capabilities(self) -> Capabilities:
        """See `deploy.port.Target.capabilities`."""
        return Capabilities(mirror=True, rolling=True)

    def start(self, fleet: Fleet) -> None:
        """See `deploy.port.Target.start`."""
        with self._lock():
            self._unpack(fleet)
            record = (self._load(fleet.id) or Record(fleet)).wanting(fleet, self._clock(), self._new_port)
            self._save(record)
            self._run(record)
            self._publish(record)
            self._finish_drains(record)

    def ready(self, fleet: Fleet) -> Readiness:
        """See `deploy.port.Target.ready`; also revives instances that the supervisor gave up."""
        with self._lock():
            record = self._load(fleet.id)
            if record is None:
                return Readiness(ready=0, wanted=0)
            states = self._supervisor.states()
            record = self._revive(self._look(record, states), states)
        hosts = self._admin.hosts(fleet.id)
        ports = {instance.port for instance in record.serving}
        ready = sum(host.healthy for port, host in hosts.items() if port in ports)
        message = "" if ready >= len(ports) else self._trouble(record, states)
        return Readiness(ready, len(ports), record.crashes, message)

    def route(self, endpoint: str, split: tuple[Share, ...]) -> None:
        """See `deploy.port.Target.route`; returns when the gateway has taken the routes.

        Raises:
            RolloutRefused: a share names a fleet that was not started.
            GatewayUnreachable: the gateway did not take the routes yet; it will when it runs again.
        """
        with self._lock():
            for share in split:
                if self._load(share.fleet) is None:
                    raise RolloutRefused(f"fleet {share.fleet} does not run; start it before routing to it")
            endpoints = self._gateway.endpoints()
            endpoints.pop(endpoint, None)
            version = self._gateway.write_routes(endpoints | ({endpoint: split} if split else {}))
        self._confirm(version)

    def observe(self, endpoint: str) -> dict[str, Totals]:
        """See `deploy.port.Target.observe`."""
        return self._admin.counters(f"{endpoint}.")

    def stop(self, fleet: Fleet) -> None:
        """See `deploy.port.Target.stop`; one step a call; a fleet with traffic goes on until it has none."""
        with self._lock():
            record = self._load(fleet.id)
            if record is None or self._routed(fleet.id):
                return
            now = self._clock()
            if record.stopping_since is None:
                record = replace(record, stopping_since=now)
                self._save(record)
            if not record.removed and self._drained(record, now):
                record = replace(record, removed=True)
                self._save(record)
                self._gateway.write_clusters(self._published())
            if record.removed and self._end(record):
                self._gateway.forget_instances(fleet.id)
                self._file(fleet.id).unlink(missing_ok=True)

    # ---- packages and processes ---------------------------------------------------------------------------

    def _unpack(self, fleet: Fleet) -> None:
        from serving.errors import PackageDamaged as Damaged
        from serving.errors import StorageFailed
        from serving.package import unpack

        try:
            unpack(fleet.package, self._package(fleet), fleet.digest)
        except Damaged as error:
            raise PackageDamaged(str(error)) from error
        except StorageFailed as error:
            raise Temporary(str(error)) from error

    def _package(self, fleet: Fleet) -> Path:
        return self._home / "packages" / fleet.digest

    def _program(self, fleet: Fleet, port: int) -> Program:
        name = f"{fleet.id}.{port}"
        package = str(self._package(fleet))
        return Program(
            name=name,
            command=(self._python, "-m", "serving", "--package", package, "--port", str(port)),
            directory=self._fleets,  # not the package's: Python would import modules from there
            log=self._home / "logs" / "models" / f"{name}.log",
        )

    def _run(self, record: Record) -> None:
        """Give the supervisor the programs it does not have; once in this object's life also those it has."""
        running = self._supervisor.states()
        for instance in record.serving:
            program = self._program(record.fleet, instance.port)
            if program.name not in self._applied or program.name not in running:
                self._supervisor.apply(program)
                self._applied.add(program.name)
            elif running[program.name].state == "STOPPED":
                self._supervisor.start(program.name)

    def _look(self, record: Record, states: dict[str, ProcessState]) -> Record:
        looked = record.under(self._supervisor.pid())
        for instance in looked.instances:
            if state := states.get(f"{record.fleet.id}.{instance.port}"):
                looked = looked.with_instance(instance.looked_at(state.state, state.pid))
        if looked != record:
            self._save(looked)
        return looked

    def _revive(self, record: Record, states: dict[str, ProcessState]) -> Record:
        """Start again, after growing pauses, what the supervisor gave up; elsewhere if its port is taken."""
        for instance in record.serving:
            state = states.get(f"{record.fleet.id}.{instance.port}")
            if state is None or state.state != "FATAL" or self._clock() - state.since < instance.pause:
                continue
            revived = replace(instance, revivals=instance.revivals + 1)
            if _free(instance.port):
                self._supervisor.start(state.name)
            else:
                self._supervisor.remove(state.name)
                revived = replace(revived, port=self._new_port())
                self._supervisor.apply(self._program(record.fleet, revived.port))
            record = record.with_instance(revived, port=instance.port)
            self._save(record)
            self._publish(record)
        return record

    def _end(self, record: Record) -> bool:
        """Stop all instances; true when none is left."""
        left = [one.port for one in record.instances if not self._ended(record.fleet.id, one)]
        return not left

    def _ended(self, fleet: str, instance: Instance) -> bool:
        """Ask the process to end, and forget the program once it has."""
        name = f"{fleet}.{instance.port}"
        state = self._supervisor.states().get(name)
        if state is not None and state.state not in GONE:
            if state.state != "STOPPING":
                self._supervisor.stop(name, wait=False)
            return False
        self._supervisor.remove(name)
        self._applied.discard(name)
        return True

    def _trouble(self, record: Record, states: dict[str, ProcessState]) -> str:
        """Why the first failing instance fails, with its last words."""
        for instance in record.serving:
            program = self._program(record.fleet, instance.port)
            state = states.get(program.name)
            if state is None:
                return f"instance on port {instance.port} is not known to the supervisor; run `seaway up`"
            if state.state in _TROUBLE or (instance.crashes and state.state != "RUNNING"):
                return f"instance on port {instance.port}: {state.message}\n{_tail(program.log)}".strip()
        return "waiting for the instances to answer"

    # ---- the gateway --------------------------------------------------------------------------------------

    def _publish(self, record: Record) -> None:
        """Tell the gateway the fleet's instances, then that the fleet exists."""
        self._gateway.write_instances(
            record.fleet.id,
            [instance.port for instance in record.serving],
            [instance.port for instance in record.draining],
        )
        self._gateway.write_clusters(self._published())

    def _published(self) -> list[Fleet]:
        return [record.fleet for record in self._records() if not record.removed]

    def _finish_drains(self, record: Record) -> None:
        """End instances that get no new requests once they have finished theirs, or their time is over."""
        if not record.draining:
            return
        hosts = self._admin.hosts(record.fleet.id)
        for instance in record.draining:
            age = self._clock() - (instance.draining_since or 0.0)
            host = hosts.get(instance.port, Host(healthy=False, active=0))
            if age < SETTLE_SECONDS or (age < DRAIN_SECONDS and (host.healthy or host.active)):
                continue
            if self._ended(record.fleet.id, instance):
                record = record.without(instance.port)
                self._save(record)
                self._publish(record)

    def _drained(self, record: Record, now: float) -> bool:
        """No route in force leads to the fleet, and its last request is answered or out of time."""
        age = now - (now if record.stopping_since is None else record.stopping_since)
        if age < SETTLE_SECONDS:
            return False
        self._confirm(self._gateway.write_routes(self._gateway.endpoints()))
        active = sum(host.active for host in self._admin.hosts(record.fleet.id).values())
        return active == 0 or age >= DRAIN_SECONDS

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

    def _file(self, fleet: str) -> Path:
        return self._fleets / f"{fleet}.json"

    def _load(self, fleet: str) -> Record | None:
        file = self._file(fleet)
        return Record.from_json(json.loads(file.read_text())) if file.exists() else None

    def _records(self) -> list[Record]:
        return [
            Record.from_json(json.loads(file.read_text())) for file in sorted(self._fleets.glob("*.json"))
        ]

    def _save(self, record: Record) -> None:
        file = self._file(record.fleet.id)
        text = json.dumps(record.to_json(), indent=1)
        if file.exists() and file.read_text() == text:
            return
        new = file.with_suffix(".new")
        new.write_text(text)
        new.replace(file)

    def _new_port(self) -> int:
        """A free port that no instance of this home has; homes begin to search at different places."""
        taken = {instance.port for record in self._records() for instance in record.instances}
        taken |= self._handed_out
        first = zlib.crc32(os.fsencode(self._home)) % len(_PORTS)
        for offset in range(len(_PORTS)):
            port = _PORTS[(first + offset) % len(_PORTS)]
            if port not in taken and _free(port):
                self._handed_out.add(port)
                return port
        raise RolloutRefused(f"no free port between {_PORTS.start} and {_PORTS.stop - 1}; stop an endpoint")

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One call at a time, also of other processes."""
        with (self._fleets / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._handed_out: set[int] = set()
            yield


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _tail(log: Path) -> str:
    """The last lines of a log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-LAST_LINES:])
