"""Local processes by supervisord: the platform's services and every local model server.

Everything lives in `home/supervisor/`: the configuration, one file per program, the lock. A program's file is
the wish; supervisord is told to look at it again. So programs come back by themselves at the next `launch`.
Children are tethered (`deploy/tether.py`): the kernel kills them when supervisord dies, whatever it dies of.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import pwd
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import Temporary
from deploy.program import Program, ProgramRefused, line, percent, render

__all__ = [
    "GONE",
    "ProcessState",
    "Program",
    "ProgramRefused",
    "Supervisor",
    "SupervisorUnavailable",
    "render",
]

SOCKET_PATH_LIMIT = 95
"""Bytes; the kernel allows 107, and supervisord first binds a name that is longer by its process id."""
RPC_TIMEOUT = 10.0
"""Seconds supervisord may take to answer one call."""
GONE = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})
"""States without a process."""

_BAD_NAME, _NOT_RUNNING, _ALREADY_STARTED, _ALREADY_ADDED, _STILL_RUNNING = 10, 70, 60, 90, 91


class SupervisorUnavailable(Temporary):
    """supervisord does not run or does not answer."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One program as supervisord sees it."""

    name: str
    state: str
    """STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN."""
    pid: int
    """0 without a process."""
    exit_status: int
    """Of the last process that ended."""
    since: float
    """Seconds since the epoch at which the process started, or ended when there is none."""
    message: str
    """Why it does not run, or how long it has."""


class Supervisor:
    """The supervisord of one home. Every call may be repeated, and from several processes at once."""

    def __init__(self, home: Path) -> None:
        self._folder = home.absolute() / "supervisor"
        self._programs = self._folder / "programs"
        self._socket = _socket_path(self._folder)

    def launch(self) -> None:
        """Start supervisord detached unless it runs; it starts every program it knows.

        Raises:
            SupervisorUnavailable: it did not come up; the message holds its last words.
        """
        with self._lock():
            if self.running():
                return
            self._until_gone(30)
            _private(self._socket.parent)
            configuration = self._folder / "supervisord.conf"
            _write(configuration, _configuration(self._folder, self._socket))
            command = [sys.executable, "-X", "utf8", "-W", "ignore", "-m", "supervisor.supervisord"]
            started = subprocess.run(
                [*command, "-c", str(configuration)],
                env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if started.returncode != 0 or not self._answers_within(RPC_TIMEOUT):
                log = self._folder / "supervisord.log"
                raise SupervisorUnavailable(f"supervisord did not start; see {log}: {started.stdout.strip()}")

    def apply(self, program: Program) -> None:
        """Make supervisord run the program exactly as described; a changed one is restarted.

        Without a running supervisord the program is only written down, for the next `launch`.

        Raises:
            ProgramRefused: supervisord does not accept the description.
        """
        text = render(program)
        file = self._file(program.name)
        program.log.parent.mkdir(parents=True, exist_ok=True)
        with self._lock():
            if not file.exists() or file.read_text() != text:
                _write(file, text)
            if not self.running():
                return
            added, changed, _ = self._reload()
            if program.name in added:
                self._call("addProcessGroup", program.name, accept=(_ALREADY_ADDED,))
        if program.name in changed:
            self._drop(program.name)
            with self._lock():
                self._reload()
                self._call("addProcessGroup", program.name, accept=(_ALREADY_ADDED, _BAD_NAME))

    def remove(self, name: str) -> None:
        """Stop the program, wait for its end and forget it."""
        with self._lock():
            self._file(name).unlink(missing_ok=True)
            if not self.running():
                return
            self._reload()
        self._drop(name)

    def states(self) -> dict[str, ProcessState]:
        """Every program by name; empty when supervisord does not run."""
        if not self.running():
            return {}
        return {info["name"]: _state(info) for info in self._call("getAllProcessInfo")}

    def start(self, name: str) -> None:
        """Start a stopped program; returns before it is up.

        Raises:
            ProgramRefused: there is no such program, or its command cannot be run.
        """
        self._call("startProcess", name, False, accept=(_ALREADY_STARTED,))

    def stop(self, name: str, *, wait: bool = True) -> None:
        """Send the stop signal; with `wait` return after the process has ended. Unknown names are stopped."""
        self._call("stopProcess", name, False, accept=(_NOT_RUNNING, _BAD_NAME))
        while wait and (state := self.states().get(name)) and state.state not in GONE:
            time.sleep(0.05)

    def shutdown(self) -> None:
        """Stop every program, the highest priority number first, then supervisord. Returns after its end."""
        with self._lock():
            if self.running():
                self._call("shutdown")
            self._until_gone(None)

    def pid(self) -> int:
        """Process id of supervisord itself; 0 when it does not run."""
        try:
            return int(self._call("getPID"))
        except (SupervisorUnavailable, ProgramRefused):
            return 0

    def running(self) -> bool:
        """Tell whether supervisord answers and is not on its way out."""
        from supervisor.states import SupervisorStates

        try:
            return bool(self._call("getState")["statecode"] == SupervisorStates.RUNNING)
        except (SupervisorUnavailable, ProgramRefused):
            return False

    def _file(self, name: str) -> Path:
        return self._programs / f"{name}.conf"

    def _reload(self) -> tuple[list[str], list[str], list[str]]:
        ((added, changed, removed),) = self._call("reloadConfig")
        return added, changed, removed

    def _drop(self, name: str) -> None:
        """Stop and forget the group; outside the lock, because stopping may take long."""
        while True:
            self.stop(name)
            try:
                self._call("removeProcessGroup", name, accept=(_BAD_NAME,))
            except _StillRunning:
                continue
            return

    def _call(self, method: str, *arguments: Any, accept: tuple[int, ...] = ()) -> Any:
        transport = _UnixTransport(self._socket)
        server = xmlrpc.client.ServerProxy("http://supervisor", transport=transport)
        try:
            with contextlib.closing(transport):
                return getattr(server.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in accept:
                return None
            kind = _StillRunning if fault.faultCode == _STILL_RUNNING else ProgramRefused
            raise kind(f"supervisord refuses {method}{arguments}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise SupervisorUnavailable(
                f"supervisord does not answer ({error}); start the platform with `seaway up`"
            ) from error

    def _answers_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.running():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _until_gone(self, seconds: float | None) -> None:
        """Wait until nobody listens on the socket any more."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while _listening(self._socket):
            if deadline and time.monotonic() > deadline:
                raise SupervisorUnavailable("the former supervisord does not end; kill it and try again")
            time.sleep(0.05)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        _private(self._folder)
        _private(self._programs)
        with (self._folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class _StillRunning(ProgramRefused):
    """The group has a process again: somebody started it in between."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=RPC_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        self._connection = host, _UnixConnection(self._path)
        return self._connection[1]


def _state(info: dict[str, Any]) -> ProcessState:
    alive = info["pid"] != 0
    return ProcessState(
        name=info["name"],
        state=info["statename"],
        pid=info["pid"],
        exit_status=info["exitstatus"],
        since=float(info["start"] if alive else info["stop"]),
        message=info["spawnerr"] or info["description"],
    )


def _configuration(folder: Path, path: Path) -> str:
    user = f"user={pwd.getpwuid(0).pw_name}\n" if os.geteuid() == 0 else ""
    place = percent(line(str(folder)))
    return (
        f"[unix_http_server]\nfile={percent(line(str(path)))}\nchmod=0700\n\n"
        f"[supervisord]\nlogfile={place}/supervisord.log\nlogfile_maxbytes=10MB\nlogfile_backups=3\n"
        f"pidfile={percent(line(str(path.parent)))}/supervisord.pid\nnocleanup=true\n{user}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\n"
        "[include]\nfiles=programs/*.conf\n"
    )


def _socket_path(folder: Path) -> Path:
    """In the home when the kernel allows a path that long, else in a private folder with a short name."""
    path = folder / "supervisor.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path("/tmp") / f"seaway-{os.getuid()}-{digest}" / "supervisor.sock"  # noqa: S108 - checked by _private


def _private(folder: Path) -> None:
    """Make the folder, for us alone.

    Raises:
        SupervisorUnavailable: it belongs to somebody else.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or folder.is_symlink():
        raise SupervisorUnavailable(f"{folder} belongs to another user; choose another SEAWAY_HOME")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def _write(file: Path, text: str) -> None:
    """Replace the file in one step; only we may read it, since environments hold secrets."""
    new = file.with_name(file.name + ".new")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(file)


def _listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True
