"""The process of one model server: start, readiness, memory, end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from serving import contract
from serving.relay import Relay
from serving.serverless import VARIABLE
from serving.serverless.processors import threads

HOST = "127.0.0.1"
PROBE_SECONDS = 0.005
"""Pause between attempts to connect to a server that starts: a tenth of the shortest start."""
END_SECONDS = 5.0
"""Time from SIGTERM to SIGKILL; the server has no request when it is asked to end."""
HEADROOM = 1.25
"""Private memory the kernel grants, as a multiple of the limit. What a server really uses is looked at; this
stops one large allocation between two looks."""
_PAGE = os.sysconf("SC_PAGE_SIZE")

log = logging.getLogger("serving")


class Process:
    """A model server that was started.

    Args:
        command: arguments of `python -m serving` without the port.
        environ: its environment.
        memory: bytes it may have in memory.
        share: processors it may use.
        gone: called in the event loop when the process has ended.
    """

    def __init__(
        self,
        command: list[str],
        environ: Mapping[str, str],
        memory: int,
        share: float,
        gone: Callable[[], None],
    ) -> None:
        self.over_memory = False
        """It was killed because it needed more memory than it may have."""
        self.end = asyncio.Event()
        """Set when the process is gone."""
        self._memory, self._gone = memory, gone
        self._port = _reserved()
        self._popen = subprocess.Popen(
            [
                *(sys.executable, "-m", "serving.serverless.confine"),
                *(str(os.getpid()), str(int(memory * HEADROOM)), str(share)),
                *(*command, "--port", str(self.port)),
            ],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.relay = Relay(f"http://{HOST}:{self.port}")
        """Connections to it."""
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._reap)
        self._killer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._port.getsockname()[1]
        return port

    @property
    def alive(self) -> bool:
        """Whether it runs at this moment, also when the event loop has not heard of its end yet."""
        if self.end.is_set():
            return False
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    @property
    def code(self) -> int | None:
        """Exit code; minus the signal that killed it; None while it runs."""
        return self._popen.returncode

    async def ready(self, seconds: float) -> bool:
        """Wait until it answers `/ping`; false when it ended, or is not ready in time."""
        deadline = self._loop.time() + seconds
        while not self.end.is_set() and self._loop.time() < deadline:
            if await self._listens():
                async with self.relay.ask("GET", contract.PING, (), b"", deadline) as reply:
                    await reply.read(deadline)
                    return reply.status == 200
            await asyncio.sleep(PROBE_SECONDS)
        return False

    def resident(self) -> int:
        """Bytes it has in memory; kills it when these are more than it may have."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:  # noqa: PTH123 - ten times a second
                used = int(file.read().split()[1]) * _PAGE
        except (OSError, IndexError):  # it ends just now
            return 0
        if used > self._memory:
            self.kill_for_memory()
        return used

    def kill_for_memory(self) -> None:
        """Kill it because it needs more memory than it may have."""
        if not self.over_memory:
            self.over_memory = True
            log.error("model server %d needs more than %d bytes of memory; killed", self.pid, self._memory)
            self.kill()

    def was_over_memory(self) -> bool:
        """Whether it had more in memory than it may, if only for a moment."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except OSError:  # it ends just now
            return False
        peak = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
        return peak * 1024 > self._memory

    def terminate(self) -> None:
        """Ask it to end, and kill it when it does not."""
        if not self.end.is_set() and self._killer is None:
            self._popen.terminate()
            self._killer = self._loop.call_later(END_SECONDS, self.kill)

    def kill(self) -> None:
        """Kill it, with all it started."""
        if not self.end.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def finish(self, deadline: float) -> None:
        """End it without an event loop; `deadline` is one of `time.monotonic`, after which it is killed."""
        if self.end.is_set():
            return
        self._popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(max(0.0, deadline - time.monotonic()))
        self.kill()
        self._popen.wait()

    async def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.setblocking(False)
            try:
                await self._loop.sock_connect(probe, (HOST, self.port))
            except OSError:
                return False
            return True

    def _reap(self) -> None:
        """The process is a zombie: end what it left behind, then forget it."""
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.kill()
        self._popen.wait()
        self.end.set()
        if self._killer is not None:
            self._killer.cancel()
        self._port.close()
        self._gone()


def command(folder: Path, log_level: str) -> list[str]:
    """The arguments of a model server, without the port."""
    return ["--package", str(folder), "--host", HOST, "--log-level", log_level]


def environment(environ: Mapping[str, str], share: float) -> dict[str, str]:
    """A model server's environment: the activator's, without what made it one, and its number of threads."""
    rest = {name: value for name, value in environ.items() if name != VARIABLE}
    return rest | {contract.WORKERS: "1", contract.THREADS: str(threads(share))}


def _reserved() -> socket.socket:
    """A port that nobody else gets while the socket is open: it is bound, but does not listen.

    Without it a probe could meet somebody else's server, or itself, for the port is one of those that the
    kernel hands out to outgoing connections.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((HOST, 0))
    return holder
