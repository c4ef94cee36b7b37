"""The service's HTTP side: SageMaker's call, the backlog of an endpoint, and metrics."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from serving.asynchronous.admission import INLINE_BYTES, admit, name
from serving.asynchronous.backlog import Backlog
from serving.asynchronous.carrier import Saved
from serving.asynchronous.configuration import Configurations
from serving.asynchronous.errors import ConfigurationInvalid, Invalid
from serving.asynchronous.metrics import Metrics

if TYPE_CHECKING:
    from aiohttp import web

DISCARDED = 32 * 1024 * 1024
"""Bytes of a too long body that are read before its refusal: a client that still sends would not see it."""
OUTPUT_LOCATION = "X-Amzn-SageMaker-OutputLocation"
FAILURE_LOCATION = "X-Amzn-SageMaker-FailureLocation"

log = logging.getLogger("serving")


class Desk:
    """Takes requests into the queue.

    Args:
        backlog: the queue.
        saved: how to call the queue without blocking.
        configurations: which endpoints are asynchronous.
        metrics: what is counted.
        clock: seconds since 1970.
        came: told of the endpoint of each new request.
    """

    def __init__(
        self,
        backlog: Backlog,
        saved: Saved,
        configurations: Configurations,
        metrics: Metrics,
        clock: Callable[[], float],
        came: Callable[[str], None],
    ) -> None:
        self._backlog = backlog
        self._saved = saved
        self._configurations = configurations
        self._metrics = metrics
        self._clock = clock
        self._came = came

    def application(self) -> web.Application:
        """The routes."""
        from aiohttp import web

        application = web.Application(client_max_size=0)
        for method, path, handler in (
            ("POST", "/endpoints/{name}/async-invocations", self._invoke),
            ("GET", "/async/endpoints/{name}/backlog", self._report),
            ("GET", "/metrics", self._numbers),
            ("GET", "/ping", self._ping),
            ("*", "/{rest:.*}", self._unknown),
        ):
            application.router.add_route(method, path, self._guarded(handler), expect_handler=_expected)
        return application

    def _guarded(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Errors in SageMaker's shape."""

        async def guarded(request: web.Request) -> web.Response:
            try:
                return await handler(request)
            except Invalid as error:
                return _error(400, "ValidationError", str(error))
            except ConfigurationInvalid as error:
                log.error("%s", error)  # noqa: TRY400 - the message says it all
                return _error(500, "InternalFailure", str(error))
            except Exception as error:
                if not _of_the_queue(error):
                    raise
                log.exception("the queue does not take requests")
                return _error(503, "ServiceUnavailable", "the queue cannot be written now; try again later")

        return guarded

    async def _invoke(self, request: web.Request) -> web.Response:
        endpoint = name(request.match_info["name"])
        body = await _body(request)
        configuration = self._configurations.find(endpoint)
        if configuration is None:
            raise Invalid(
                f"Endpoint {endpoint} not found, or it has no asynchronous configuration; add one, or call "
                "/invocations"
            )
        headers = {key.lower(): value for key, value in request.headers.items()}
        asked = admit(endpoint, headers, body, configuration, self._clock(), str(uuid.uuid4()))
        kept = await self._saved(self._backlog.add, asked)
        self._came(endpoint)
        places = {OUTPUT_LOCATION: kept.output_location}
        if kept.failure_location:
            places[FAILURE_LOCATION] = kept.failure_location
        return _json(202, {"InferenceId": kept.inference_id}, places)

    async def _unknown(self, _request: web.Request) -> web.Response:
        said = "Call POST /endpoints/NAME/async-invocations."
        return _error(404, "UnknownOperationException", said)

    async def _report(self, request: web.Request) -> web.Response:
        endpoint = name(request.match_info["name"])
        waiting = (await self._saved(self._backlog.waiting)).get(endpoint)
        if waiting is None and self._configurations.find(endpoint) is None:
            return _error(
                404, "ValidationError", f"endpoint {endpoint} has no asynchronous configuration; add one"
            )
        instances = self._instances(endpoint)
        return _json(200, self._metrics.report(endpoint, waiting, self._clock(), instances), {})

    async def _numbers(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        instances = {name: self._instances(name) for name in self._configurations.names()}
        text = self._metrics.text(await self._saved(self._backlog.waiting), self._clock(), instances)
        return web.Response(
            body=text.encode(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    def _instances(self, endpoint: str) -> int:
        found = self._configurations.last(endpoint)
        return found.instance_count if found else 0

    async def _ping(self, _request: web.Request) -> web.Response:
        await self._saved(self._backlog.waiting)
        return _json(200, {}, {})


async def _expected(request: web.Request) -> web.Response | None:
    """Let a client that asks first send its body; nothing else can be expected."""
    if request.headers.get("expect", "").lower() != "100-continue":
        return _error(417, "ValidationError", "the header Expect may only be 100-continue; remove it")
    if request.version < (1, 1):
        return None
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # what was written so far is no part of the answer
    return None


async def _body(request: web.Request) -> bytes:
    """The body, as far as it may be one; the rest is read and thrown away."""
    kept, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size <= INLINE_BYTES:
            kept.append(part)
        elif size > INLINE_BYTES + DISCARDED:
            break
    if size > INLINE_BYTES:
        raise Invalid(f"the body is longer than {INLINE_BYTES} bytes; put it into the object store instead")
    return b"".join(kept)


def _of_the_queue(error: Exception) -> bool:
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, SQLAlchemyError)


def _json(status: int, content: dict[str, Any], headers: dict[str, str]) -> web.Response:
    from aiohttp import web

    return web.json_response(content, status=status, headers=headers)


def _error(status: int, kind: str, message: str) -> web.Response:
    return _json(status, {"message": message}, {"x-amzn-ErrorType": kind})
