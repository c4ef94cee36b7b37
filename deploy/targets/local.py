"""Endpoints on this machine: model servers under supervisord behind Envoy.

No call waits for a process: what takes time is looked at again by the next call.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from deploy.dataplane import DataPlane, tail
from deploy.envoy import ConfigFolder
from deploy.errors import RolloutRefused
from deploy.gateways import Gateways
from deploy.instances import Instance, Record
from deploy.port import Capabilities, Fleet, Readiness, Share, Totals
from deploy.supervise import GONE, ProcessState, Program, Supervisor

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
        self._plane = DataPlane(home, admin, gateway, clock)
        self._supervisor = supervisor
        self._python = python
        self._applied: set[str] = set()
        self._handed_out: set[int] = set()

    @property
    def capabilities(self) -> Capabilities:
        """See `deploy.port.Target.capabilities`."""
        return Capabilities(mirror=True, rolling=True)

    def start(self, fleet: Fleet) -> None:
        """See `deploy.port.Target.start`."""
        with self._plane.lock():
            self._handed_out.clear()
            self._plane.unpack(fleet)
            record = self._plane.load(fleet.id) or Record(fleet)
            record = record.wanting(fleet, self._plane.clock(), lambda: Instance(self._new_port()))
            self._plane.save(record)
            self._run(record)
            self._plane.publish(record)
            self._plane.finish_drains(record, self._ended)

    def ready(self, fleet: Fleet) -> Readiness:
        """See `deploy.port.Target.ready`; also revives instances that the supervisor gave up."""
        with self._plane.lock():
            self._handed_out.clear()
            record = self._plane.load(fleet.id)
            if record is None:
                return Readiness(ready=0, wanted=0, gone=True)
            states = self._supervisor.states()
            record = self._revive(self._look(record, states), states)
        hosts = self._plane.hosts(fleet.id)
        ports = {instance.port for instance in record.serving}
        ready = sum(host.healthy for port, host in hosts.items() if port in ports)
        message = "" if ready >= len(ports) else self._trouble(record, states)
        return Readiness(ready, len(ports), record.crashes, message)

    def route(self, endpoint: str, split: tuple[Share, ...], sticky: str = "") -> None:
        """See `deploy.port.Target.route` and `DataPlane.route`."""
        self._plane.route(endpoint, split, sticky)

    def observe(self, endpoint: str) -> dict[str, Totals]:
        """See `deploy.port.Target.observe`."""
        return self._plane.observe(endpoint)

    def stop(self, fleet: Fleet) -> None:
        """See `deploy.port.Target.stop` and `DataPlane.stop`."""
        self._plane.stop(fleet, self._ended)

    def _program(self, fleet: Fleet, port: int) -> Program:
        name = f"{fleet.id}.{port}"
        package = str(self._plane.package(fleet))
        return Program(
            name=name,
            command=(self._python, "-m", "serving", "--package", package, "--port", str(port)),
            directory=self._plane.fleets,  # not the package's: Python would import modules from there
            log=self._plane.log(name),
            environment=dict(fleet.environment),
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
            self._plane.save(looked)
        return looked

    def _revive(self, record: Record, states: dict[str, ProcessState]) -> Record:
        """Start again, after growing pauses, what the supervisor gave up; elsewhere if its port is taken."""
        for instance in record.serving:
            state = states.get(f"{record.fleet.id}.{instance.port}")
            if state is None or state.state != "FATAL" or self._plane.clock() - state.since < instance.pause:
                continue
            revived = replace(instance, revivals=instance.revivals + 1)
            if _free(instance.port):
                self._supervisor.start(state.name)
            else:
                self._supervisor.remove(state.name)
                revived = replace(revived, port=self._new_port())
                self._supervisor.apply(self._program(record.fleet, revived.port))
            record = record.with_instance(revived, key=instance.key)
            self._plane.save(record)
            self._plane.publish(record)
        return record

    def _ended(self, fleet: Fleet, instance: Instance) -> bool:
        """Ask the process to end, and forget the program once it has."""
        name = f"{fleet.id}.{instance.port}"
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
                return f"instance on port {instance.port}: {state.message}\n{tail(program.log)}".strip()
        return "waiting for the instances to answer"

    def _new_port(self) -> int:
        """A free port that no instance of this home has; homes begin to search at different places."""
        taken = {instance.port for record in self._plane.records() for instance in record.instances}
        taken |= self._handed_out
        first = zlib.crc32(os.fsencode(self._plane.home)) % len(_PORTS)
        for offset in range(len(_PORTS)):
            port = _PORTS[(first + offset) % len(_PORTS)]
            if port not in taken and _free(port):
                self._handed_out.add(port)
                return port
        raise RolloutRefused(f"no free port between {_PORTS.start} and {_PORTS.stop - 1}; stop an endpoint")


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
