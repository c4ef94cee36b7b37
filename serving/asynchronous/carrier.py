"""Carries one request to its end: attempt, decide, publish. What is killed here is taken up again later."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson

from serving.asynchronous import notices
from serving.asynchronous.backlog import Backlog, Entry, Outcome
from serving.asynchronous.configuration import ERROR, Configuration
from serving.asynchronous.errors import InputRefused, Interrupted, NoCapacity, OutputRefused
from serving.asynchronous.invoking import MESSAGE_BYTES, REASON, Invoker, ModelSaidNo
from serving.asynchronous.metrics import Metrics
from serving.asynchronous.objects import Stores

T = TypeVar("T")
ATTEMPTS = 3
"""Attempts at a request whose connection breaks; then it has failed."""
STARTS = 6
"""Times a request may be begun at all: one that ends this process each time must not do so for ever."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds between attempts."""
JSON = "application/json"

log = logging.getLogger("serving")

Saved = Callable[..., Awaitable[Any]]
"""Calls a function of the backlog in the thread that owns it."""


class Carrier:
    """Brings requests to their end.

    Args:
        backlog: the queue.
        saved: how to call the queue without blocking.
        stores: where answers go.
        invoker: asks endpoints.
        metrics: counts and times.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        backlog: Backlog,
        saved: Saved,
        stores: Stores,
        invoker: Invoker,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._backlog = backlog
        self._saved = saved
        self._stores = stores
        self._invoker = invoker
        self._metrics = metrics
        self._clock = clock

    async def carry(self, entry: Entry, configuration: Configuration | None) -> bool:
        """Bring a claimed or decided request as far as it goes now; false when it must wait for capacity."""
        endpoint = entry.request.endpoint
        if entry.outcome is not None:
            await self._publish(entry, entry.outcome, configuration)
            return True
        self._metrics.took(endpoint, "TimeInBacklog", self._clock() - entry.request.received)
        began = time.perf_counter()
        try:
            outcome = await self._outcome(entry, configuration)
        except NoCapacity as error:
            log.info("endpoint %s has no capacity: %s", endpoint, error)
            self._metrics.capacity(endpoint, there=False)
            await self._saved(self._backlog.release, entry.request.id, 0.0, counted=False)
            return False
        except Interrupted as error:
            pause = _pause(entry.attempts)
            log.warning("request %s is tried again in %g s: %s", entry.request.id, pause, error)
            again = self._clock() + pause
            await self._saved(self._backlog.release, entry.request.id, again, counted=True)
            return True
        if await self._saved(self._backlog.decide, entry.request.id, outcome):
            self._note(endpoint, outcome, time.perf_counter() - began)
            await self._publish(entry, outcome, configuration)
        return True

    # ---- attempt ------------------------------------------------------------------------------------------

    async def _outcome(self, entry: Entry, configuration: Configuration | None) -> Outcome:
        """The outcome, staged; raises `NoCapacity` or `Interrupted` when there is none yet."""
        request = entry.request
        if self._clock() >= request.expires:
            self._metrics.count(request.endpoint, "ExpiredRequests")
            waited = request.expires - request.received
            return await self._failure(
                entry, configuration, f"the request expired after {waited:g} s in the queue"
            )
        if entry.attempts > STARTS:
            said = f"the service ended {STARTS} times while it worked on the request"
            return await self._failure(entry, configuration, said)
        try:
            staging = await asyncio.to_thread(
                self._staging, request.output_location, request.id, configuration
            )
            outcome = await self._invoker.answer(request, configuration, staging)
        except TimeoutError:
            said = (
                f"the model did not answer within {request.timeout} s; allow more in InvocationTimeoutSeconds"
            )
            return await self._failure(entry, configuration, said)
        except InputRefused as error:
            self._metrics.count(request.endpoint, "RequestDownloadFailures")
            return await self._failure(entry, configuration, str(error))
        except OutputRefused as error:
            return await self._failure(entry, configuration, str(error))
        except ModelSaidNo as error:
            self._metrics.capacity(request.endpoint, there=True)
            return await self._failure(entry, configuration, str(error), error.body, error.content_type)
        except Interrupted as error:
            if entry.attempts < ATTEMPTS:
                raise
            said = f"{error} ({entry.attempts} attempts)"
            return await self._failure(entry, configuration, said)
        self._metrics.capacity(request.endpoint, there=True)
        return outcome

    async def _failure(
        self,
        entry: Entry,
        configuration: Configuration | None,
        reason: str,
        body: bytes = b"",
        content_type: str = JSON,
    ) -> Outcome:
        """A failure, its object staged where there is to be one."""
        reason = reason[:REASON]
        content = body or orjson.dumps({"Message": reason})
        included = configuration is not None and ERROR in configuration.include_inference_response_in
        staged = bool(entry.request.failure_location)
        if staged:
            try:
                await asyncio.to_thread(self._stage_failure, entry, configuration, content)
            except (OutputRefused, Interrupted, OSError) as error:
                log.error("request %s: its failure cannot be kept: %s", entry.request.id, error)  # noqa: TRY400 - said
                self._metrics.count(entry.request.endpoint, "ResponseUploadFailures")
                staged = False
        return Outcome(
            completed=False,
            at=self._clock(),
            content_type=content_type if body else JSON,
            reason=reason,
            answer=content if included and len(content) <= MESSAGE_BYTES else None,
            staged=staged,
        )

    def _stage_failure(self, entry: Entry, configuration: Configuration | None, content: bytes) -> None:
        location, ident = entry.request.failure_location, f"{entry.request.id}-error"
        with self._staging(location, ident, configuration).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _staging(self, location: str, ident: str, configuration: Configuration | None) -> Path:
        return self._stores.of(location, configuration).staging(location, ident)

    # ---- publish ------------------------------------------------------------------------------------------

    async def _publish(self, entry: Entry, outcome: Outcome, configuration: Configuration | None) -> None:
        """Make the outcome visible, however long the store takes; then drop what was staged besides."""
        tries = 0
        while True:
            tries += 1
            began = time.perf_counter()
            try:
                await asyncio.to_thread(self._put, entry, outcome, configuration)
                break
            except OutputRefused as error:
                log.error("request %s: %s", entry.request.id, error)  # noqa: TRY400 - the message says it all
                self._metrics.count(entry.request.endpoint, "ResponseUploadFailures")
                if not outcome.completed:
                    break
                outcome = await self._failure(entry, configuration, str(error))
                await self._saved(self._backlog.revoke, entry.request.id, outcome)
            except Exception as error:  # noqa: BLE001 - what is decided is published, whatever the trouble
                pause = _pause(tries)
                log.warning("request %s: %s; next try in %g s", entry.request.id, error, pause)
                self._metrics.count(entry.request.endpoint, "ResponseUploadFailures")
                await asyncio.sleep(pause)
        self._metrics.took(entry.request.endpoint, "ResponseUploadLatency", time.perf_counter() - began)
        await asyncio.to_thread(self._sweep, entry, configuration)
        ended = self._backlog.published if notices.topic(outcome, configuration) else self._backlog.told
        await self._saved(ended, entry.request.id)

    def _put(self, entry: Entry, outcome: Outcome, configuration: Configuration | None) -> None:
        if not outcome.staged:
            return
        request = entry.request
        location = request.output_location if outcome.completed else request.failure_location
        ident = request.id if outcome.completed else f"{request.id}-error"
        store = self._stores.of(location, configuration)
        store.publish(store.staging(location, ident), location, outcome.content_type)

    def _sweep(self, entry: Entry, configuration: Configuration | None) -> None:
        """Remove staging files that were not published."""
        request = entry.request
        pairs = ((request.output_location, request.id), (request.failure_location, f"{request.id}-error"))
        for location, ident in pairs:
            if not location:
                continue
            try:
                self._staging(location, ident, configuration).unlink(missing_ok=True)
            except (OutputRefused, Interrupted, OSError) as error:
                log.debug("nothing to remove for %s: %s", location, error)

    def _note(self, endpoint: str, outcome: Outcome, seconds: float) -> None:
        self._metrics.count(endpoint, "InvocationsProcesssed" if outcome.completed else "InvocationFailures")
        self._metrics.took(endpoint, "TotalProcessingTime", seconds)


def _pause(tries: int) -> float:
    return min(FIRST_PAUSE * 2.0 ** min(tries - 1, 16), LONGEST_PAUSE)
