"""The HTTP face of serverless inference: takes requests, has them answered by model servers that it starts.

`/ping`, `/metrics` and the health paths of the Open Inference Protocol are answered at once, whether a model
server runs or not; all else is held until one is ready.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import orjson

from serving import contract
from serving.answers import JSON, MIB, failure, send, too_large
from serving.app import DISCARDED, refuse
from serving.environment import EnvironmentInvalid
from serving.errors import Permanent, ServingError
from serving.loading import MODELS, PIPELINE
from serving.relay import HOP, Broken, Relay, Reply, Unreachable
from serving.responder import Answer
from serving.serverless.changes import LOOK_SECONDS, Changes
from serving.serverless.config import Serverless, read
from serving.serverless.metrics import Metrics
from serving.serverless.pool import ATTEMPTS
from serving.serverless.process import Process, command, environment
from serving.serverless.processors import share
from serving.serverless.servers import Lease, NotStarted, Servers, Throttled

METRICS = "/metrics"
THROTTLED = "x-seaway-throttled"
"""Tells the gateway that the answer is the endpoint's, not the model's."""
SETUP_TIME = "x-seaway-model-setup-time"
"""Microseconds the request waited for its model server to start; only then."""
LATE = 2.0
"""Seconds a model server has beyond the time limit, to say itself that the limit was passed."""
CUT_SECONDS = 24.0
"""Time from SIGTERM until requests that are still not answered are given up."""
REAPED = 1.0
"""Longest wait for the kernel to tell of the end of a process whose connection broke."""

_HEALTH = re.compile(r"/v2/(?:health/(?P<health>live|ready)|models/(?P<model>[^/]+)/ready)/?")
_NOT_ASKED = HOP | {"host", "content-length"}
_ERROR_TYPE = "x-amzn-errortype"
_NOT_ANSWERED = HOP | {"date", "server", "content-length", THROTTLED, _ERROR_TYPE}
"""The last two say that no model has seen a request: the gateway believes them, so no model may say so."""

log = logging.getLogger("serving")


class AnswerTooLong(Permanent):
    """The model's answer is longer than this endpoint allows."""


class Activator:
    """Answers requests with model servers that run only as long as they are needed."""

    def __init__(self, asked: Serverless, folder: Path, log_level: str, environ: Mapping[str, str]) -> None:
        self._asked = asked
        self._changes = Changes(asked, environ)
        self._metrics = Metrics()
        limit, processors = asked.memory_size_in_mb * MIB, share(asked.memory_size_in_mb)
        start = partial(
            Process, command(folder, log_level), environment(environ, processors), limit, processors
        )
        self.servers = Servers(self._changes.read(), start, self._metrics)
        """The model servers."""
        names = (("endpoint", "SEAWAY_ENDPOINT"), ("variant", "SEAWAY_VARIANT"))
        self._labels = {label: environ[name] for label, name in names if environ.get(name)}
        self.in_flight = 0
        """Requests begun and not yet handed to the network."""
        self._draining = False

    @property
    def draining(self) -> bool:
        """Set when the server ends, by whoever heard the signal; answers then close their connections."""
        return self._draining

    @draining.setter
    def draining(self, value: bool) -> None:
        if value and not self._draining:
            self._draining = True
            self.servers.close()
            asyncio.get_running_loop().call_later(CUT_SECONDS, self.servers.cut_off)

    # ---- Granian ------------------------------------------------------------------------------------------

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Granian takes connections from now on."""
        loop.call_soon(self.servers.begin)
        if self._changes.file is not None:
            loop.call_later(LOOK_SECONDS, self._follow, loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Granian takes no more connections; without a request in flight nobody else closes ours."""
        if not self.in_flight:
            self._ending = loop.create_task(self.servers.disconnect())

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take up other limits of concurrency, now and later."""
        if not self.draining:
            self.servers.resize(self._changes.read())
            loop.call_later(LOOK_SECONDS, self._follow, loop)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Serve one request of Granian's RSGI interface."""
        self.in_flight += 1
        try:
            await self._serve(scope, protocol)
        except Exception:
            log.exception("unexpected error")
            send(failure(500, "the activator failed; its log says why"), protocol, close=True)
        finally:
            self.in_flight -= 1
            if self.draining and not self.in_flight:
                await self.servers.disconnect()

    async def _serve(self, scope: Any, protocol: Any) -> None:
        answer = self._at_once(scope.method, scope.path)
        if answer is None:
            answer = await self._invoked(scope, protocol)
        send(answer, protocol, close=self.draining)

    def _at_once(self, method: str, path: str) -> Answer | None:
        """Answers that need no model server."""
        if path == METRICS and method == "GET":
            text = self._metrics.text(self.servers.gauges(), self._labels)
            return Answer(200, text.encode(), "text/plain; version=0.0.4")
        if (found := _HEALTH.fullmatch(path)) and method == "GET":
            name, health = found["model"], found["health"]
            return Answer(200, orjson.dumps({"name": name, "ready": True} if name else {health: True}), JSON)
        return Answer(200) if path == contract.PING and method == "GET" else refuse(method, path)

    # ---- a request ----------------------------------------------------------------------------------------

    async def _invoked(self, scope: Any, protocol: Any) -> Answer:
        """The answer to a request that needs a model server, counted."""
        loop, metrics = asyncio.get_running_loop(), self._metrics
        came = loop.time()
        headers = dict(scope.headers.items())
        body = await self._body(headers.get("content-length"), protocol)
        counted = scope.method == "POST"
        if counted:
            self._count_provisioned()
        model_seconds: list[float] = []
        try:
            if body is None:
                raise too_large(int(self._asked.max_request_mb * MIB))
            answer = await self._answer(scope.method, scope.path, headers, body, model_seconds)
        except Throttled as error:
            metrics.counters.Throttles += 1
            lines = ((_ERROR_TYPE, "ThrottlingException"), (THROTTLED, "1"))
            return Answer(error.status, orjson.dumps({"message": str(error)}), JSON, lines)
        except ServingError as error:
            log.warning("%d: %s", error.status, error)
            answer = failure(error.status, str(error))
        if counted:
            metrics.answered(answer.status, loop.time() - came, sum(model_seconds) if model_seconds else None)
        return answer

    def _count_provisioned(self) -> None:
        """Note whether the request finds provisioned capacity; refused ones are counted elsewhere."""
        counters, kept = self._metrics.counters, self.servers.asked.provisioned_concurrency
        if self.servers.in_flight < kept:
            counters.ServerlessProvisionedConcurrencyInvocations += 1
        elif kept and self.servers.in_flight < self.servers.asked.max_concurrency:
            counters.ServerlessProvisionedConcurrencySpilloverInvocations += 1

    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, model_seconds: list[float]
    ) -> Answer:
        """What a model server answers; the time it took is added to `model_seconds`."""
        loop = asyncio.get_running_loop()
        for _ in range(ATTEMPTS):
            lease = await self.servers.lease()
            began = loop.time()
            try:
                answer = await self._asked_of(lease, method, path, headers, body)
            except Unreachable:  # nothing was sent: it ended in the moment it was chosen
                lease.usable = False
                continue
            except BaseException:
                lease.usable = False
                model_seconds.append(loop.time() - began)
                raise
            finally:
                self.servers.release(lease)
            model_seconds.append(loop.time() - began)
            return self._marked(answer, lease)
        raise NotStarted("model servers end before they can be asked; their log says why")

    def _marked(self, answer: Answer, lease: Lease) -> Answer:
        """The answer, with the time its cold start took."""
        if lease.setup is None:
            return answer
        self._metrics.counters.ColdStarts += 1
        self._metrics.setup.add(lease.setup)
        line = (SETUP_TIME, str(round(lease.setup * 1e6)))
        return Answer(answer.status, answer.body, answer.content_type, (*answer.headers, line))

    async def _asked_of(
        self, lease: Lease, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        seconds = self._asked.invocation_seconds
        deadline = asyncio.get_running_loop().time() + seconds + LATE
        lines = [(name, value) for name, value in headers.items() if name not in _NOT_ASKED]
        relay: Relay = lease.process.relay
        try:
            async with relay.ask(method, path, lines, body, deadline) as reply:
                content = await self._content(reply, deadline)
        except TimeoutError:
            lease.usable = False
            return failure(
                504, f"the model did not answer within {seconds:g} s; send less, or allow more time"
            )
        except Broken as error:
            raise await self._cause(lease.process, error) from error
        if reply.status >= 500 and lease.process.was_over_memory():
            lease.process.kill_for_memory()
            raise self._too_much_memory()
        lease.usable = reply.status != 504  # past its time limit the model still computes
        kept = tuple((name, value) for name, value in reply.headers if name not in _NOT_ANSWERED)
        return Answer(reply.status, content, "", kept)

    async def _content(self, reply: Reply, deadline: float) -> bytes:
        limit, size, parts = int(self._asked.max_response_mb * MIB), reply.length or 0, []
        if size <= limit:
            size = 0
            async for part in reply.parts(deadline):
                parts.append(part)
                size += len(part)
                if size > limit:
                    break
        if size > limit:
            raise AnswerTooLong(
                f"the answer is longer than {self._asked.max_response_mb:g} MiB; send fewer rows at a time"
            )
        return b"".join(parts)

    async def _cause(self, process: Process, error: Broken) -> ServingError:
        """Why a model server broke off."""
        try:
            async with asyncio.timeout(REAPED):
                await process.end.wait()
        except TimeoutError:
            return error
        if self.servers.cut:
            return Lost("the endpoint's server was stopped before the model had answered; ask again")
        if process.over_memory:
            return self._too_much_memory()
        return Lost(f"the model server ended with code {process.code} while it answered; its log may say why")

    def _too_much_memory(self) -> Lost:
        limit = self._asked.memory_size_in_mb
        return Lost(
            f"the model needed more than {limit} MB of memory and was ended; send less at a time, "
            "or raise memory_size_in_mb"
        )

    async def _body(self, length: str | None, protocol: Any) -> bytes | None:
        """The body, or None when it is longer than the limit; what is too long is read and thrown away."""
        limit = int(self._asked.max_request_mb * MIB)
        if length is not None and length.isdecimal() and int(length) <= limit:
            return bytes(await protocol())
        parts: list[bytes] = []
        size = 0
        async for part in protocol:
            size += len(part)
            if size <= limit:
                parts.append(bytes(part))
            elif size > limit + DISCARDED:
                break
        return b"".join(parts) if size <= limit else None


class Lost(Permanent):
    """A model server ended with the request it had."""


def _one_model(folder: Path) -> None:
    if (folder / PIPELINE).is_file() or (folder / MODELS).is_file():
        raise EnvironmentInvalid("a serverless endpoint serves one model, no pipeline and not many models")


def run(folder: Path, host: str, port: int, log_level: str) -> int:
    """Serve until a signal comes; returns the exit code."""
    try:
        asked = read(os.environ)
        _one_model(folder)
    except ServingError as error:
        log.error("cannot serve %s: %s", folder, error)  # noqa: TRY400 - the message says it all
        return 1
    import aiohttp  # noqa: F401 - so that no request pays for the import

    from serving.server import serve

    activator = Activator(asked, folder, log_level, os.environ)
    log.info("%s on %s:%d is started on demand: %s", folder.name, host, port, asked)
    try:
        return serve(cast("Any", activator), host, port)
    finally:
        activator.servers.finish()
