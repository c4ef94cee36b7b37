"""A process that has imported everything and forks ready-made children on request.

Starting Python and importing Prefect takes seconds; forking takes milliseconds. The zygote stays
single-threaded, because only such a process may be forked safely. It imports, forks the worker as its first
child, and then only forks runs, reaps them and reports. Its children die with it. Worker and zygote talk over
a socket pair, one JSON document per line:

    worker → zygote   {"id": 1, "argv": [...], "environment": {...}, "directory": "..."}
    zygote → worker   {"id": 1, "pid": 42}   and later   {"pid": 42, "returncode": 0}
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn, Self

from deploy.tether import die_with_parent

GRACE_SECONDS = 20.0
"""How long runs may take to end after their worker has died."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a forked child is to run."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str


@dataclass(slots=True)
class Run:
    """A forked child as the worker sees it."""

    pid: int
    returncode: int | None = None
    """Exit code, or the negative number of the signal that killed it; None while it lives."""
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> int | None:
        """Wait for its end."""
        await self._ended.wait()
        return self.returncode

    def end(self, returncode: int) -> None:
        """Note its end."""
        self.returncode = returncode
        self._ended.set()


class Nursery:
    """The worker's end of the socket pair; use as an async context manager."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._asked: dict[int, asyncio.Future[Run]] = {}
        self._count = 0
        self.runs: dict[int, Run] = {}
        """Living runs by process id."""

    async def __aenter__(self) -> Self:
        reader, self._writer = await asyncio.open_connection(sock=self._connection)
        self._listener = asyncio.create_task(self._listen(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.cancel()
        self._writer.close()

    async def spawn(self, job: Job) -> Run:
        """Fork a child that runs the job."""
        self._count += 1
        asked: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
        self._asked[self._count] = asked
        self._writer.write(_line({"id": self._count, **asdict(job)}))
        await self._writer.drain()
        return await asked

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            if "id" in message:
                run = self.runs[message["pid"]] = Run(message["pid"])
                asked = self._asked.pop(message["id"])
                if not asked.cancelled():
                    asked.set_result(run)
            elif run_ended := self.runs.pop(message["pid"], None):
                run_ended.end(message["returncode"])


def start(work: Callable[[socket.socket], None], execute: Callable[[Job], None]) -> None:
    """Fork the worker, then serve it until it ends; every forked run returns from here after `execute`."""
    gc.collect()
    gc.freeze()
    ours, theirs = socket.socketpair()
    us = os.getpid()
    worker = os.fork()
    if worker == 0:
        die_with_parent(us)
        ours.close()
        work(theirs)
        return
    theirs.close()
    job = _Zygote(ours, worker).serve()
    execute(job)


class _Zygote:
    def __init__(self, connection: socket.socket, worker: int) -> None:
        self._connection = connection
        self._worker = worker
        self._worker_status: int | None = None
        self._runs: set[int] = set()
        self._buffer = b""

    def serve(self) -> Job:
        """Serve the worker. Returns only in a forked child, with its job; the zygote itself exits."""
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._pass_on)
        selector = selectors.DefaultSelector()
        selector.register(self._connection, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while self._worker_status is None:
            ready = {key.fileobj for key, _ in selector.select(timeout=1.0)}
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(4096)
            self._reap()
            if self._connection in ready:
                for request in self._requests():
                    if job := self._fork(request, (selector, woken, waker)):
                        return job
        return self._finish()

    def _pass_on(self, number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._worker, number)

    def _requests(self) -> list[dict[str, Any]]:
        self._buffer += self._connection.recv(1 << 20)
        *lines, self._buffer = self._buffer.split(b"\n")
        return [json.loads(line) for line in lines]

    def _fork(self, request: dict[str, Any], to_close: tuple[Any, ...]) -> Job | None:
        us = os.getpid()
        pid = os.fork()
        if pid:
            self._runs.add(pid)
            self._tell({"id": request["id"], "pid": pid})
            return None
        os.setsid()
        die_with_parent(us)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for thing in (*to_close, self._connection):
            thing.close()
        return Job(tuple(request["argv"]), request["environment"], request["directory"])

    def _reap(self) -> None:
        while self._worker_status is None or self._runs:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            returncode = os.waitstatus_to_exitcode(status)
            if pid == self._worker:
                self._worker_status = returncode
            elif pid in self._runs:
                self._runs.discard(pid)
                self._tell({"pid": pid, "returncode": returncode})

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(_line(message))

    def _finish(self) -> NoReturn:
        """The worker is gone: runs get a chance to report, then we go and the kernel ends what is left."""
        for pid in self._runs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while self._runs and time.monotonic() < deadline:
            time.sleep(0.05)
            self._reap()
        sys.exit(0 if self._worker_status == 0 else 1)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
