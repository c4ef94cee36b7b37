"""Tells who wants to know how requests ended, at least once each; an outcome never waits for its message."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from serving.asynchronous import notices
from serving.asynchronous.backlog import Backlog, Entry
from serving.asynchronous.carrier import Saved
from serving.asynchronous.configuration import Configurations
from serving.asynchronous.metrics import Metrics
from serving.asynchronous.notices import NotTold

TELLINGS = 8
"""Times a message is sent before it is given up."""
AT_ONCE = 16
"""Messages on their way at once."""
LONGEST_PAUSE = 60.0
LOOK = 1.0
"""Seconds between looks when nobody says that there is something to tell."""

log = logging.getLogger("serving")


class Teller:
    """A loop over outcomes that were published and not yet told."""

    def __init__(
        self,
        backlog: Backlog,
        saved: Saved,
        configurations: Configurations,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._backlog = backlog
        self._saved = saved
        self._configurations = configurations
        self._metrics = metrics
        self._clock = clock
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._saved(self._backlog.resume_tellings)
        while True:
            self.wake.clear()
            try:
                busy = await self.round()
                await self._introduce()
            except Exception:
                log.exception("messages could not be sent; the next try follows")
                busy = False
            if not busy:
                await until(self.wake, LOOK)

    async def round(self) -> bool:
        """Tell what is due; whether there was something."""
        entries = await self._saved(self._backlog.untold, AT_ONCE, self._clock())
        await asyncio.gather(*(self.tell(entry) for entry in entries))
        return bool(entries)

    async def tell(self, entry: Entry) -> None:
        """Send one message, and note whether it arrived."""
        configuration = self._configurations.last(entry.request.endpoint)
        address = notices.topic(entry.outcome, configuration)
        if address and configuration is not None:
            try:
                content = notices.message(entry, notices.region(address, os.environ))
                await notices.send(address, content, configuration)
            except NotTold as error:
                if entry.tellings < TELLINGS:
                    pause = min(2.0 ** (entry.tellings - 1), LONGEST_PAUSE)
                    await self._saved(self._backlog.later, entry.request.id, self._clock() + pause)
                    return
                self._metrics.count(entry.request.endpoint, "NotificationFailures")
                log.error("nobody was told of request %s: %s", entry.request.id, error)  # noqa: TRY400 - said
        await self._saved(self._backlog.told, entry.request.id)

    async def _introduce(self) -> None:
        """Send the test message of endpoints whose settings are new."""
        for endpoint in self._configurations.names():
            configuration = self._configurations.last(endpoint)
            if configuration is None or not configuration.topics:
                continue
            if not await self._saved(self._backlog.announce, endpoint, configuration.digest):
                continue
            for address in configuration.topics:
                try:
                    await notices.send(address, notices.TEST, configuration)
                except NotTold as error:
                    self._metrics.count(endpoint, "NotificationFailures")
                    log.error("the test message of endpoint %s did not arrive: %s", endpoint, error)  # noqa: TRY400


async def until(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
