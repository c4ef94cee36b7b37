"""The platform on this machine: up, down, status, logs."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from configs.settings import GATEWAYS, Settings
from deploy.envoy import ConfigFolder
from deploy.gateway import bootstrap
from deploy.listener import AsyncPorts
from deploy.supervise import GONE, ProcessState, Supervisor
from seaway import secrets
from seaway.memory import proportional_bytes
from seaway.programs import (
    POOL,
    PORTS_OF,
    STOP_ORDER,
    Service,
    bootstrap_file,
    choose_ports,
    gateway_folder,
    services,
)

if TYPE_CHECKING:
    from deploy.engine import Engine

RESUMED = "approval"
"""Tag of the runs that the controller starts again when their process was killed."""
LAST_LINES = 15
"""Lines of a failing program's log in the error message."""


class PlatformError(Exception):
    """The platform cannot do what was asked; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class Health:
    """A service as it is now."""

    name: str
    state: str
    """As supervisord calls it; STOPPED when it is not there at all."""
    healthy: bool
    """It answers its health check."""
    url: str
    pid: int
    since: float
    """Seconds since the epoch."""
    message: str
    memory: int = 0
    """Bytes (PSS) of the process and its children; 0 when not measured."""


Report = Callable[[str, str], None]
"""Told the name of a service, or of a step, and what happened to it."""


def silent(_name: str, _news: str) -> None:
    """Report nothing."""


class Platform:
    """The platform of one home.

    Args:
        settings: where it lives.
        only: names of the programs to run; all of them by default.
    """

    def __init__(self, settings: Settings, only: tuple[str, ...] = tuple(PORTS_OF)) -> None:
        self.settings = settings
        self._only = only
        self._supervisor = Supervisor(settings.home)

    def up(self, timeout: float = 120.0, report: Report = silent) -> list[Health]:
        """Start what does not run and return when every service is healthy.

        Raises:
            PlatformError: a program failed or took longer than `timeout` seconds.
        """
        self._prepare()
        if self.settings.target == "docker":
            self._stock(report)
        for service in self._services():
            self._supervisor.apply(service.program)
        self._supervisor.launch()
        for name, state in self._supervisor.states().items():
            if name in self._only and state.state in GONE:
                self._supervisor.start(name)
        self._await_health(time.monotonic() + timeout, report)
        return self.status()

    def status(self, *, memory: bool = True) -> list[Health]:
        """Every service, looked at now and at the same time."""
        states = self._supervisor.states()

        def look(service: Service) -> Health:
            return _health(service, states.get(service.name), memory=memory)

        with ThreadPoolExecutor(len(self._only)) as pool:
            return list(pool.map(look, self._services()))

    def models(self) -> list[Health]:
        """The model servers that supervisord runs; the gateway checks their health."""
        return [
            Health(
                name=name,
                state=state.state,
                healthy=state.state == "RUNNING",
                url="",
                pid=state.pid,
                since=state.since,
                message=state.message,
                memory=proportional_bytes(state.pid) if state.pid else 0,
            )
            for name, state in sorted(self._supervisor.states().items())
            if name not in PORTS_OF
        ]

    def down(self, timeout: float = 60.0, report: Report = silent) -> None:
        """Stop in order: no new runs, runs in progress, servers, and the data plane last.

        Args:
            timeout: seconds that runs in progress get before they are cancelled.
            report: told about every step.
        """
        if not self._supervisor.running():
            self._supervisor.shutdown()
            return
        self._drain(timeout, report)
        for name in STOP_ORDER:
            self._supervisor.stop(name)
            report(name, "stopped")
        self._supervisor.shutdown()
        if self.settings.target == "docker":
            self._engine().halt()
        report("model servers", "stopped")

    def purge(self) -> None:
        """Remove the home with everything in it.

        Raises:
            PlatformError: the platform runs, or the folder is not a Seaway home.
        """
        home = self.settings.home
        if self._supervisor.running():
            raise PlatformError("the platform runs; stop it with `seaway down` first")
        if home.exists() and not (home / "settings.json").exists():
            raise PlatformError(f"{home} holds no settings.json, so it is no Seaway home; remove it by hand")
        shutil.rmtree(home, ignore_errors=True)

    def log(self, name: str) -> Path:
        """The log of a service or model server.

        Raises:
            PlatformError: there is none.
        """
        logs = self.settings.home / "logs"
        for file in (logs / f"{name}.log", logs / "models" / f"{name}.log"):
            if file.exists():
                return file
        known = ", ".join(sorted(file.stem for file in logs.rglob("*.log"))) or "none yet"
        raise PlatformError(f"there is no log of {name!r}; there are: {known}")

    def _engine(self) -> Engine:
        from deploy.containers import home_id
        from deploy.engine import Engine

        return Engine(home_id(self.settings.home))

    def _stock(self, report: Report) -> None:
        """The images into which packages are mounted, made once for each version of Seaway."""
        from deploy.image import Builder

        with closing(Builder(tell=lambda news: report("images", news))) as builder:
            for runtime in ("onnx", "full"):
                builder.stock(runtime)
        report("images", "ready")

    def _services(self) -> tuple[Service, ...]:
        envoy = str(Path(sys.executable).with_name("envoy"))
        found = services(self.settings, sys.executable, envoy)
        return tuple(service for service in found if service.name in self._only)

    def _prepare(self) -> None:
        """Ports, settings, secrets and Envoy's files. Changes nothing that runs."""
        settings = self.settings
        running = [name for name, state in self._supervisor.states().items() if state.pid]
        free = _Free(settings.host)
        ports = choose_ports(settings.ports, free, running)
        self.settings = settings = settings.model_copy(update={"ports": ports})
        settings.save()
        for name in ("logs", "prefect"):
            (settings.home / name).mkdir(parents=True, exist_ok=True)
        secrets.ensure(settings.home, auth=settings.auth)
        folder = gateway_folder(settings)
        ConfigFolder(folder).prepare()
        for name, admin in GATEWAYS.items():
            configuration = bootstrap(
                admin_host="127.0.0.1",
                admin_port=ports[admin],
                host=settings.host,
                port=ports["gateway"],
                folder=folder,
                node=f"{socket.gethostname()} {name}",
                asynchronous=AsyncPorts(ports["asynchronous"], ports["internal"]),
            )
            _replace(bootstrap_file(settings, name), json.dumps(configuration, indent=1))

    def _await_health(self, deadline: float, report: Report) -> None:
        begun = time.monotonic()
        waiting = {service.name: "" for service in self._services()}
        while waiting:
            for health in self.status(memory=False):
                if health.name not in waiting:
                    continue
                if health.healthy:
                    del waiting[health.name]
                    report(health.name, f"ready after {time.monotonic() - begun:.1f} s")
                elif health.state == "FATAL":
                    raise PlatformError(self._failure(health, "does not start"))
                elif time.monotonic() > deadline:
                    raise PlatformError(self._failure(health, "is not healthy in time"))
                elif waiting[health.name] != health.state:
                    waiting[health.name] = health.state
                    report(health.name, health.state.lower())
            if waiting:
                time.sleep(0.2)

    def _failure(self, health: Health, what: str) -> str:
        file = self.settings.home / "logs" / f"{health.name}.log"
        lines = "\n".join(last_lines(file, LAST_LINES)) if file.exists() else "(no log)"
        return f"{health.name} {what} ({health.state}: {health.message}); see {file}, which ends:\n{lines}"

    def _drain(self, timeout: float, report: Report) -> None:
        """Wait for runs that nobody starts again; deployments go on by themselves at the next `up`."""
        from flows.trigger import Trigger, TriggerError

        states = self._supervisor.states()
        worker, prefect = states.get("worker"), states.get("prefect")
        if not (worker and worker.pid and prefect and prefect.pid):
            return
        os.kill(worker.pid, signal.SIGUSR1)
        api = f"{self.settings.url('prefect')}/api"
        try:
            with Trigger(api, patience=5.0) as trigger:
                for last_resort, seconds in ((False, timeout), (True, 30.0)):
                    if last_resort:
                        for run in trigger.active(POOL, RESUMED):
                            trigger.cancel(run)
                            report("flow runs", f"{trigger.flow_run_url(run)} is cancelled")
                    if self._idle(lambda: len(trigger.active(POOL, RESUMED)), seconds, report):
                        return
        except TriggerError as error:
            report("flow runs", f"cannot be drained: {error}")

    def _idle(self, count: Callable[[], int], seconds: float, report: Report) -> bool:
        deadline = time.monotonic() + seconds
        shown = 0
        while running := count():
            if running != shown:
                report("flow runs", f"waiting for {running}")
                shown = running
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.25)
        return True


class _Free:
    """Whether a port can be listened on."""

    def __init__(self, host: str) -> None:
        self._host = host

    def __call__(self, port: int) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, port))
            except OSError:
                return False
            return True


def last_lines(file: Path, count: int) -> list[str]:
    """The end of a log, without reading all of it."""
    with file.open("rb") as opened:
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - 400 * count))
        return opened.read().decode(errors="replace").splitlines()[-count:]


def follow(file: Path, more: Callable[[], bool]) -> Iterator[str]:
    """Lines that are written from now on, across rotations, for as long as `more()`."""
    opened = file.open(errors="replace")
    opened.seek(0, os.SEEK_END)
    rest = ""
    try:
        while more():
            rest += opened.read()
            *lines, rest = rest.split("\n")
            yield from lines
            if not lines:
                time.sleep(0.2)
            if file.exists() and file.stat().st_ino != os.fstat(opened.fileno()).st_ino:
                opened.close()
                opened = file.open(errors="replace")
    finally:
        opened.close()


def _health(service: Service, state: ProcessState | None, *, memory: bool) -> Health:
    pid = state.pid if state else 0
    return Health(
        name=service.name,
        state=state.state if state else "STOPPED",
        healthy=bool(pid) and _answers(service, pid),
        url=service.url,
        pid=pid,
        since=state.since if state else 0.0,
        message=state.message if state else "not started",
        memory=proportional_bytes(pid) if memory and pid else 0,
    )


def _answers(service: Service, pid: int) -> bool:
    if service.ready_file:
        return service.ready_file.exists() and service.ready_file.read_text().strip() == str(pid)
    address = urlsplit(service.health)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=2.0)
    try:
        connection.request("GET", address.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _replace(file: Path, text: str) -> None:
    new = file.with_name(file.name + ".new")
    new.write_text(text)
    new.replace(file)
