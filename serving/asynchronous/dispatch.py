"""Keeps as many requests of each endpoint in process as its settings allow, while there is a backlog."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from serving.asynchronous.backlog import Backlog, Entry
from serving.asynchronous.carrier import Carrier, Saved
from serving.asynchronous.configuration import CONCURRENCY, Configurations
from serving.asynchronous.teller import until

TICK = 0.5
"""Seconds between looks at requests that wait for a time: expiry, another attempt."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""Seconds between attempts at an endpoint without capacity."""
KEPT = 24 * 3600.0
"""Seconds for which a finished request is remembered, so that a repeated call is recognised."""
SWEEP = 300.0
"""Seconds between removals of what is older."""
EXPIRIES = 64
"""Expired requests that are ended at once."""
AFTER_ERROR = 5.0
"""Seconds until a request is tried again after a fault of this program."""

log = logging.getLogger("serving")


@dataclass(slots=True)
class _Lane:
    """One endpoint's requests in process."""

    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    refusals: int = 0
    """Attempts in a row that met no capacity."""
    paused_until: float = 0.0
    """The loop's clock."""
    instances: int = 0
    """As last told; when there are more, no pause is needed any longer."""


class Dispatch:
    """The loop that begins requests."""

    def __init__(
        self,
        backlog: Backlog,
        saved: Saved,
        carrier: Carrier,
        configurations: Configurations,
        clock: Callable[[], float],
        published: Callable[[], None],
    ) -> None:
        self._backlog = backlog
        self._saved = saved
        self._carrier = carrier
        self._configurations = configurations
        self._clock = clock
        self._published = published
        self._lanes: dict[str, _Lane] = defaultdict(_Lane)
        self._wake = asyncio.Event()
        self._expiring: set[asyncio.Task[None]] = set()

    def came(self, endpoint: str) -> None:
        """There is a new request."""
        self._lanes[endpoint]  # makes the lane
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled; what was decided before comes first."""
        loop = asyncio.get_running_loop()
        for entry in await self._saved(self._backlog.unpublished):
            self._begin(entry)
        next_look = next_sweep = loop.time()
        while True:
            self._wake.clear()
            try:
                if loop.time() >= next_sweep:
                    await self._saved(self._backlog.forget, self._clock() - KEPT)
                    next_sweep = loop.time() + SWEEP
                if loop.time() >= next_look:
                    next_look = loop.time() + TICK
                    await self._look()
                await self._fill()
            except Exception:
                log.exception("the queue could not be read; the next try follows")
            await until(self._wake, max(next_look - loop.time(), 0.0))

    async def stop(self, seconds: float) -> None:
        """Give requests in process up to `seconds`; what is left is begun again at the next start."""
        tasks = {task for lane in self._lanes.values() for task in lane.tasks} | self._expiring
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        """Find endpoints with requests, and end what is too old."""
        for endpoint in await self._saved(self._backlog.waiting):
            self._lanes[endpoint]  # makes the lane
        if len(self._expiring) < EXPIRIES:
            for entry in await self._saved(self._backlog.overdue, EXPIRIES, self._clock()):
                self._start(entry, self._expiring)

    async def _fill(self) -> None:
        for endpoint, lane in list(self._lanes.items()):
            configuration = self._configurations.last(endpoint)
            most = configuration.concurrency if configuration else CONCURRENCY
            instances = configuration.instance_count if configuration else 0
            if instances > lane.instances:
                lane.refusals, lane.paused_until = 0, 0.0
            lane.instances = instances
            free = most - len(lane.tasks)
            if free <= 0 or asyncio.get_running_loop().time() < lane.paused_until:
                continue
            for entry in await self._saved(self._backlog.claim, endpoint, free, self._clock()):
                self._begin(entry)

    def _begin(self, entry: Entry) -> None:
        self._start(entry, self._lanes[entry.request.endpoint].tasks)

    def _start(self, entry: Entry, tasks: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(self._carry(entry))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: self._wake.set())

    async def _carry(self, entry: Entry) -> None:
        current: Entry | None = entry
        while current is not None:
            try:
                met = await self._carrier.carry(current, self._configurations.last(entry.request.endpoint))
            except Exception:
                log.exception("request %s is tried again after a fault of this program", entry.request.id)
                current = await self._recovered(entry.request.id)
            else:
                self._note(self._lanes[entry.request.endpoint], met=met)
                self._published()
                return

    async def _recovered(self, ident: str) -> Entry | None:
        """Put a request back, or take it up again when it is decided, as soon as the queue can be written."""
        while True:
            await asyncio.sleep(AFTER_ERROR)
            try:
                entry: Entry | None = await self._saved(self._backlog.recover, ident)
            except Exception:
                log.exception("the queue could not be written; the next try follows")
            else:
                return entry

    def _note(self, lane: _Lane, *, met: bool) -> None:
        """After a refusal for lack of capacity the endpoint gets a pause; several at once count as one."""
        now = asyncio.get_running_loop().time()
        if met:
            lane.refusals, lane.paused_until = 0, 0.0
        elif now >= lane.paused_until:
            lane.paused_until = now + min(FIRST_PAUSE * 2.0 ** min(lane.refusals, 16), LONGEST_PAUSE)
            lane.refusals += 1
