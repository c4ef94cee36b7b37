"""The model server's HTTP face: `GET /ping`, `POST /invocations`, as SageMaker calls a container.

`Application.answer` is the whole behaviour, from request values to response values.
`Application.__rsgi__` connects it to Granian: it reads the body, counts requests in flight, and keeps the
event loop free for `/ping` while a large request is computed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson

from serving import codec
from serving.errors import PayloadTooLarge, RequestRefused, ServingError
from serving.manifest import Manifest
from serving.predictor import Predictor

MAX_PAYLOAD = "SAGEMAKER_MAX_PAYLOAD_IN_MB"
"""Environment variable: largest request body in MiB, 25 when not set."""
LARGE = 32 * 1024
"""Bodies of at least this many bytes are computed beside the event loop."""
DISCARDED = 64 * 1024 * 1024
"""Bytes over the limit that are read before the connection is given up."""

log = logging.getLogger("serving")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    body: bytes = b""
    content_type: str = ""
    allow: str = ""
    """Methods the path takes, for 405."""

    def headers(self, *, close: bool) -> list[tuple[str, str]]:
        """Header lines, names in lower case; `close` asks the client to connect anew."""
        pairs = (
            ("content-type", self.content_type),
            ("allow", self.allow),
            ("connection", "close" if close else ""),
        )
        return [(name, value) for name, value in pairs if value]


READY, UNKNOWN_PATH = Answer(200), Answer(404, b"{}", codec.JSON)
ROUTES = {"/ping": "GET", "/invocations": "POST"}


def payload_limit(environ: Mapping[str, str]) -> int:
    """The largest accepted request body in bytes.

    Raises:
        ValueError: the variable is no positive number.
    """
    text = environ.get(MAX_PAYLOAD, "25")
    try:
        limit = int(float(text) * 1024 * 1024)
    except (ValueError, OverflowError):
        limit = 0
    if limit <= 0:
        raise ValueError(f"{MAX_PAYLOAD} is {text!r}; set it to a positive number of MiB")
    return limit


class Application:
    """Answers requests with one loaded model."""

    def __init__(self, predictor: Predictor, limit: int) -> None:
        self._predictor = predictor
        self._limit = limit
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="large")
        self.in_flight = 0
        """Requests begun and not yet handed to the network."""
        self.draining = False
        """Set when the server ends; answers then close their connections."""

    @property
    def manifest(self) -> Manifest:
        """What the model takes and answers."""
        return self._predictor.manifest

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The response to a request; never raises."""
        if (refusal := refuse(method, path)) is not None:
            return refusal
        if path == "/ping":
            return READY
        try:
            return self._invoke(headers, body)
        except RequestRefused as error:
            return _error(error.status, str(error), field=error.field, row=error.row)
        except ServingError as error:
            log.exception("the model failed")
            return _error(error.status, str(error))
        except Exception:
            log.exception("unexpected error")
            return _error(500, "the model server failed on this request; its log says why")

    def _invoke(self, headers: Mapping[str, str], body: bytes) -> Answer:
        if len(body) > self._limit:
            raise too_large(self._limit)
        manifest = self.manifest
        media = codec.media_type(headers.get("content-type"))
        accepted = codec.answer_type(headers.get("accept"), media)
        predictions = self._predictor.predict(codec.decode(body, media, manifest))
        return Answer(200, codec.encode(predictions, accepted, manifest), accepted)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Serve one request of Granian's RSGI interface."""
        self.in_flight += 1
        try:
            answer = await self._serve(scope, protocol)
            protocol.response_bytes(answer.status, answer.headers(close=self.draining), answer.body)
        finally:
            self.in_flight -= 1

    async def _serve(self, scope: Any, protocol: Any) -> Answer:
        if (refusal := refuse(scope.method, scope.path)) is not None or scope.path == "/ping":
            return refusal or READY
        headers = scope.headers
        body = await self._body(headers.get("content-length"), protocol)
        if body is None:
            error = too_large(self._limit)
            return _error(error.status, str(error))
        if len(body) < LARGE:
            return self.answer(scope.method, scope.path, headers, body)
        values = {name: headers.get(name) or "" for name in ("content-type", "accept")}
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._beside, self.answer, scope.method, scope.path, values, body)

    async def _body(self, length: str | None, protocol: Any) -> bytes | None:
        """The body, or None when it is longer than the limit.

        What is too long is read and thrown away: a client that is still sending would see its connection
        reset instead of the refusal.
        """
        if length is not None and length.isdecimal() and int(length) <= self._limit:
            return bytes(await protocol())
        parts: list[bytes] = []
        size = 0
        async for part in protocol:
            size += len(part)
            if size > self._limit:
                parts.clear()
            else:
                parts.append(part)
            if size > self._limit + DISCARDED:
                break
        return b"".join(parts) if size <= self._limit else None


def refuse(method: str, path: str) -> Answer | None:
    """404 and 405, by method and path."""
    allowed = ROUTES.get(path)
    if allowed is None:
        return UNKNOWN_PATH
    if method != allowed:
        problem = orjson.dumps({"error": f"{path} takes {allowed}, not {method}"})
        return Answer(405, problem, codec.JSON, allowed)
    return None


def too_large(limit: int) -> PayloadTooLarge:
    """The error for a body over the limit."""
    return PayloadTooLarge(f"the body is longer than {limit / 1024 / 1024:g} MiB; send fewer rows at a time")


def _error(status: int, message: str, *, field: str | None = None, row: int | None = None) -> Answer:
    content = {"error": message, "field": field, "row": row}
    kept = {name: value for name, value in content.items() if value is not None}
    return Answer(status, orjson.dumps(kept), codec.JSON)
