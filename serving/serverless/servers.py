"""Does what the pool decides: starts and ends processes, wakes the requests that wait."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from serving.answers import MIB
from serving.errors import ServingError, Temporary
from serving.serverless.config import Serverless
from serving.serverless.metrics import Gauges, Metrics
from serving.serverless.pool import Action, Assign, End, Fail, Phase, Pool, Refuse, Start
from serving.serverless.process import END_SECONDS, Process

LOOK_SECONDS = 0.1
"""Pause between looks at the memory of servers that work."""

log = logging.getLogger("serving")


class Throttled(Temporary):
    """There are as many requests as there may be."""

    status = 429


class NotStarted(Temporary):
    """No model server became ready."""

    status = 503


@dataclass(slots=True)
class Lease:
    """A model server for one request."""

    server: int
    process: Process
    setup: float | None
    """Seconds its start took, if the request waited for it."""
    usable: bool = True
    """Whether it may be given to the next request."""


class Servers:
    """The model servers of an activator, in the running event loop.

    Args:
        asked: limits.
        start: makes a process; is given what to call when that has ended.
        metrics: what happens is counted there.
    """

    def __init__(
        self, asked: Serverless, start: Callable[[Callable[[], None]], Process], metrics: Metrics
    ) -> None:
        self.asked = asked
        """The limits in force."""
        self._start, self._metrics = start, metrics
        self._pool = Pool(asked.max_concurrency, asked.provisioned_concurrency, asked.idle_seconds)
        self._processes: dict[int, Process] = {}
        self._setup: dict[int, float] = {}
        self._requests: dict[int, asyncio.Future[Lease]] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._watched = False
        self._closed = False
        self.cut = False
        """Whether requests that are left were given up."""

    @property
    def in_flight(self) -> int:
        """Requests that wait or are being answered."""
        return self._pool.busy + self._pool.waiting

    def gauges(self) -> Gauges:
        """How things are now."""
        asked = self.asked
        used = max((process.resident() for process in self._processes.values()), default=0)
        return Gauges(
            in_flight=self.in_flight,
            most=asked.max_concurrency,
            provisioned=asked.provisioned_concurrency,
            servers=len(self._processes),
            memory=100 * used / (asked.memory_size_in_mb * MIB),
        )

    # ---- requests -----------------------------------------------------------------------------------------

    async def lease(self) -> Lease:
        """A model server that is ready; give it back with `release`.

        Raises:
            Throttled: there are too many requests.
            NotStarted: no server became ready.
        """
        while not (lease := await self._lease()).process.alive:
            lease.usable = False
            self.release(lease)
        return lease

    def release(self, lease: Lease) -> None:
        """The request is answered, or never will be."""
        told = self._pool.done if lease.usable else self._pool.spoiled
        self._act(told(lease.server, _now()))

    async def _lease(self) -> Lease:
        if self.cut:
            raise NotStarted("the server ends; ask again")
        request = next(self._numbers)
        future: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._requests[request] = future
        self._act(self._pool.arrive(request, _now()))
        try:
            async with asyncio.timeout(self.asked.start_seconds):
                return await future
        except BaseException as error:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.release(future.result())
            self._act(self._pool.leave(request, _now()))
            if isinstance(error, TimeoutError):
                raise NotStarted(
                    f"no model server was ready within {self.asked.start_seconds:g} s; see its log"
                ) from error
            raise
        finally:
            del self._requests[request]

    # ---- beginning and end --------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the provisioned servers."""
        self._act(self._pool.look(_now()))

    def resize(self, asked: Serverless) -> None:
        """Other limits of concurrency hold from now on; no server that has a request ends because of it."""
        if self._closed or asked == self.asked:
            return
        self.asked = asked
        most, kept = asked.max_concurrency, asked.provisioned_concurrency
        log.info("concurrency is now at most %d, %d of it provisioned", most, kept)
        self._act(self._pool.resize(most, kept, _now()))

    def close(self) -> None:
        """End each server that no request needs any more."""
        self._closed = True
        self._act(self._pool.close(_now()))

    def cut_off(self) -> None:
        """Give up the requests that are left."""
        self.cut = True
        for future in list(self._requests.values()):
            if not future.done():
                future.set_exception(NotStarted("the server ends before a model server was ready; ask again"))
        for process in list(self._processes.values()):
            process.kill()

    async def disconnect(self) -> None:
        """Close the connections to all servers."""
        for process in list(self._processes.values()):
            await process.relay.close()

    def finish(self) -> None:
        """End all processes, when the event loop has ended."""
        deadline = time.monotonic() + END_SECONDS
        for process in self._processes.values():
            process.finish(deadline)

    # ---- what the pool decides ----------------------------------------------------------------------------

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(server, waited_for):
                    self._begin(server, waited_for=waited_for)
                case End(server):
                    self._processes[server].terminate()
                case Assign(request, server, cold):
                    setup = self._setup.get(server) if cold else None
                    self._requests[request].set_result(Lease(server, self._processes[server], setup))
                case Refuse(request):
                    most = self.asked.max_concurrency
                    message = f"this endpoint answers {most} requests at once, and has them; ask again later"
                    self._requests[request].set_exception(Throttled(message))
                case Fail(request):
                    message = "the model server does not start; its log says why"
                    self._requests[request].set_exception(NotStarted(message))
        self._look_later()
        if self._active() and not self._watched:
            self._watched = True
            self._do(self._watch())

    def _begin(self, server: int, *, waited_for: bool) -> None:
        try:
            process = self._processes[server] = self._start(partial(self._gone, server))
        except OSError as error:
            log.error("cannot start a model server: %s", error)  # noqa: TRY400 - the message says it all
            self._act(self._pool.gone(server, _now()))
            return
        why = "for a request" if waited_for else "as provisioned"
        log.info("model server %d starts on port %d %s", process.pid, process.port, why)
        self._do(self._bring_up(server, process))

    async def _bring_up(self, server: int, process: Process) -> None:
        began = _now()
        try:
            ready = await process.ready(self.asked.start_seconds)
        except (ServingError, TimeoutError) as error:
            log.warning("model server %d: %s", process.pid, error)
            ready = False
        if not ready or process.end.is_set():
            self._metrics.counters.StartFailures += 1
            log.error("model server %d did not become ready", process.pid)
            process.kill()
            return
        self._setup[server] = _now() - began
        self._metrics.counters.Starts += 1
        log.info("model server %d is ready after %.3f s", process.pid, self._setup[server])
        self._act(self._pool.ready(server, _now()))

    def _gone(self, server: int) -> None:
        process = self._processes.pop(server)
        self._setup.pop(server, None)
        self._metrics.counters.MemoryLimitKills += process.over_memory
        log.info("model server %d has ended with code %s", process.pid, process.code)
        self._do(process.relay.close())
        self._act(self._pool.gone(server, _now()))

    async def _watch(self) -> None:
        """Look at the memory of servers that start or work."""
        try:
            while active := self._active():
                for process in active:
                    process.resident()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._watched = False

    def _active(self) -> list[Process]:
        working = {Phase.STARTING, Phase.BUSY}
        active = (one.id for one in self._pool.servers if one.phase in working)
        return [self._processes[server] for server in active if server in self._processes]

    def _look_later(self) -> None:
        """Have the pool look when something is due."""
        if self._timer is not None:
            self._timer.cancel()
        due = self._pool.next_look()
        self._timer = None
        if due is not None and not self.cut:
            self._timer = asyncio.get_running_loop().call_at(due, self._look)

    def _look(self) -> None:
        self._act(self._pool.look(_now()))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _now() -> float:
    return asyncio.get_running_loop().time()
