"""The model server's HTTP face: SageMaker's container contract, and the Open Inference Protocol beside it.

`Application.answer` is the whole behaviour, from request values to response values.
`Application.__rsgi__` connects it to Granian: it reads the body, counts requests in flight, keeps the event
loop free for `/ping` while a model works, holds the time limit, and sends streamed answers part by part.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import orjson

from serving import contract
from serving.answers import JSON, MIB, failure, send, too_large, too_slow
from serving.environment import wanted
from serving.errors import RequestRefused, ServingError
from serving.lane import Lane
from serving.responder import Answer, Request, Responder
from serving.streaming import Stream, framed

if TYPE_CHECKING:
    from serving.capture import Recorder
    from serving.capture.record import Missing

LARGE = 32 * 1024
"""Bodies of at least this many bytes are computed beside the event loop."""
DISCARDED = 64 * 1024 * 1024
"""Bytes over the limit that are read before the connection is given up."""
V2 = "/v2"
"""Root of the Open Inference Protocol."""
MODELS, METRICS = "/models", "/metrics"
"""Paths of responders that have more than one model, and of those that count."""
INVOKED = (contract.INVOCATIONS, contract.RESPONSE_STREAM)
"""Paths that ask the model; how these requests go is recorded, where there is a recorder."""

ROUTES = {
    contract.PING: "GET",
    contract.INVOCATIONS: "POST",
    contract.RESPONSE_STREAM: "POST",
    contract.EXECUTION_PARAMETERS: "GET",
}
READY, UNKNOWN_PATH = Answer(200), Answer(404, b"{}", JSON)

log = logging.getLogger("serving")

__all__ = ["DISCARDED", "LARGE", "Application", "AtOnce", "Limits", "failure", "refuse", "too_large"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take."""

    payload: int = 25 * MIB
    """Largest body in bytes."""
    seconds: float = 60.0
    """Time until the answer, waiting for other requests included; of a stream, until each of its parts."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Limits:
        """The limits that the container's environment variables set.

        Raises:
            EnvironmentInvalid: a variable is no positive number.
        """
        asked = wanted(environ, 1)
        return cls(max(1, int(asked.max_payload * MIB)), asked.timeout)


@runtime_checkable
class AtOnce(Protocol):
    """A responder that may be called on the event loop, and from several threads at once."""

    def at_once(self, content_type: str) -> bool:
        """Whether a small body of this type is answered faster than another thread is woken."""
        ...


@runtime_checkable
class Manages(Protocol):
    """A responder of many models, which may be called from several threads at once."""

    def lane(self, path: str, headers: Mapping[str, str]) -> int:
        """Which queue a call belongs to; 0 for those that may load or unload a model."""
        ...

    def manage(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """The answer to a call below `/models`, its query included; None when the path is another."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A responder that counts."""

    def metrics(self) -> str:
        """Counters in Prometheus' text format."""
        ...


@runtime_checkable
class Elsewhere(Protocol):
    """A responder that needs other processes."""

    def unready(self) -> tuple[str, ...]:
        """Why it cannot answer now, one sentence each; takes seconds."""
        ...


class Application:
    """Answers requests with one responder; hands them to the recorder afterwards, where there is one."""

    def __init__(self, responder: Responder, limits: Limits, recorder: Recorder | None = None) -> None:
        self._responder = responder
        self._limits = limits
        self._recorder = recorder
        self._at_once = responder.at_once if isinstance(responder, AtOnce) else None
        self._manages = responder if isinstance(responder, Manages) else None
        self._counts = responder if isinstance(responder, Counting) else None
        self._elsewhere = responder if isinstance(responder, Elsewhere) else None
        self._lanes = {0: Lane("model")}
        self._beside = Lane("ready")
        self.in_flight = 0
        """Requests begun and not yet handed to the network."""
        self.draining = False
        """Set when the server ends; answers then close their connections."""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The response to a request; never raises."""
        try:
            if path == contract.INVOCATIONS and method == "POST":
                return self._invoke(headers, body)
            return self._other(method, path, headers, body)
        except RequestRefused as error:
            return failure(error.status, str(error), field=error.field, row=error.row)
        except ServingError as error:
            log.exception("the model failed")
            return failure(error.status, str(error))
        except Exception:
            log.exception("unexpected error")
            return failure(500, "the model server failed on this request; its log says why")

    def close(self, seconds: float) -> None:
        """Give captured exchanges up to `seconds` to be written."""
        if self._recorder is not None:
            self._recorder.close(seconds)

    def _invoke(self, headers: Mapping[str, str], body: bytes) -> Answer:
        if len(body) > self._limits.payload:
            raise too_large(self._limits.payload)
        kind = content_type(headers)
        return self._responder.respond(Request(body, kind, headers.get("accept") or "", headers))

    def _other(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if (more := self._more(method, path, headers, body)) is not None:
            return more
        if (refusal := refuse(method, path)) is not None:
            return refusal
        if path == contract.PING:
            return self._ready()
        if path == contract.EXECUTION_PARAMETERS:
            return Answer(200, orjson.dumps(dict(self._responder.execution_parameters)), JSON)
        if len(body) > self._limits.payload:
            raise too_large(self._limits.payload)
        from serving import oip

        return oip.answer(self._responder, method, path, headers, body, ready=self._ready().status == 200)

    def _more(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """What this responder has beside the paths that all have."""
        if self._counts is not None and path == METRICS and method == "GET":
            return Answer(200, self._counts.metrics().encode(), "text/plain; version=0.0.4")
        return None if self._manages is None else self._manages.manage(method, path, headers, body)

    def refused(self, method: str, path: str) -> Answer | None:
        """404 and 405, before anything is read."""
        own = self._counts is not None and path == METRICS
        own = own or (self._manages is not None and (path == MODELS or path.startswith(MODELS + "/")))
        return None if own else refuse(method, path)

    async def _pinged(self) -> Answer:
        """The answer to `/ping`, other processes asked too."""
        if self._elsewhere is None:
            return self._ready()
        try:
            problems = await self._beside.call(self._elsewhere.unready, seconds=self._limits.seconds)
        except TimeoutError:
            problems = ("stages do not answer in time",)
        return failure(503, "; ".join(problems)) if problems else self._ready()

    def _lane(self, path: str, headers: Mapping[str, str]) -> Lane:
        """Where a call is made: one after the other, but of many models beside each other."""
        number = 0 if self._manages is None else self._manages.lane(path, headers)
        if number not in self._lanes:
            self._lanes[number] = Lane(f"model-{number}")
        return self._lanes[number]

    def _ready(self) -> Answer:
        """200, but 503 while a call of the model is past its time: then this instance should be replaced."""
        # Of many models, lane 0 loads: that may take long.
        lanes = (lane for number, lane in self._lanes.items() if number or self._manages is None)
        if not any(lane.overdue(self._limits.seconds) for lane in lanes):
            return READY
        return failure(503, f"a request has taken longer than {self._limits.seconds:g} s and still does")

    # --- Granian --------------------------------------------------------------------------------------

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Serve one request of Granian's RSGI interface."""
        self.in_flight += 1
        try:
            await self._serve(scope, protocol)
        finally:
            self.in_flight -= 1

    async def _serve(self, scope: Any, protocol: Any) -> None:
        method, path = scope.method, scope.path
        refusal = self.refused(method, path)
        if refusal is not None or path == contract.PING:
            send(refusal or await self._pinged(), protocol, close=self.draining)
            return
        came = time.time()
        headers = dict(scope.headers.items())
        body = await self._body(headers.get("content-length"), protocol)
        if body is None:
            error = too_large(self._limits.payload)
            refused = failure(error.status, str(error))
            send(refused, protocol, close=self.draining)
            self.offer(path, (came, None), headers, b"", refused, "failed")
            return
        began = time.perf_counter()
        if path == MODELS and scope.query_string:
            path = f"{path}?{scope.query_string}"
        events, failures = path == contract.RESPONSE_STREAM, list[int]()
        if events:
            headers["accept"] = headers.get(contract.STREAM_ACCEPT, "")
            answer = await self._computed(method, contract.INVOCATIONS, headers, body)
            answer = framed(answer, failures.append)
        else:
            answer = await self._computed(method, path, headers, body)
        missing: Missing | None = "streamed" if events else None
        if answer.stream is None:
            took = time.perf_counter() - began
            send(answer, protocol, close=self.draining)
        else:
            kept = self._limits.payload if self._recorder is not None else -1
            stream = Stream(answer, self._lane(path, headers), self._limits.seconds, kept, events=events)
            whole = await stream.send(protocol, scope.client, close=self.draining)
            if stream.left:
                return
            took = time.perf_counter() - began
            if whole is None:
                missing = missing or "too long"
            answer = replace(whole or answer, status=failures[0] if failures else stream.status)
        self.offer(path, (came, took), headers, body, answer, missing)

    async def _computed(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer, made on the event loop where that is quicker, else beside it and in time."""
        at_once = self._at_once
        if len(body) < LARGE and at_once is not None and at_once(content_type(headers)):
            return self.answer(method, path, headers, body)
        if method == "GET" and path.startswith(V2):
            return self.answer(method, path, headers, body)
        try:
            return await self._lane(path, headers).call(
                self.answer, method, path, headers, body, seconds=self._limits.seconds
            )
        except TimeoutError:
            return too_slow(self._limits.seconds)

    async def _body(self, length: str | None, protocol: Any) -> bytes | None:
        """The body, or None when it is longer than the limit.

        What is too long is read and thrown away: a client that is still sending would see its connection
        reset instead of the refusal.
        """
        limit = self._limits.payload
        if length is not None and length.isdecimal() and int(length) <= limit:
            return bytes(await protocol())
        parts: list[bytes] = []
        size = 0
        async for part in protocol:
            size += len(part)
            if size > limit:
                parts.clear()
            else:
                parts.append(part)
            if size > limit + DISCARDED:
                break
        return b"".join(parts) if size <= limit else None

    def offer(
        self,
        path: str,
        times: tuple[float, float | None],
        headers: Mapping[str, str],
        body: bytes,
        answer: Answer,
        missing: Missing | None,
    ) -> None:
        """Hand an exchange to the recorder; its answer is already on the way.

        `times` are when it came and how many seconds the model took; of a failure only the outcome is kept.
        """
        if self._recorder is None or path not in INVOKED:
            return
        from serving.capture import Exchange, Outcome

        came, took = times
        if not 200 <= answer.status < 300:
            missing = "failed"
        exchange = Exchange(
            event_id=headers.get(contract.REQUEST_ID, ""),
            at=came,
            content_type=content_type(headers),
            body=b"" if missing else body,
            answer_content_type=answer.content_type,
            answer_body=b"" if missing else answer.body,
            outcome=Outcome(answer.status, None if took is None else round(took * 1e6)),
            missing=missing,
            inference_id=headers.get(contract.INFERENCE_ID, ""),
            custom_attributes=headers.get(contract.CUSTOM_ATTRIBUTES, ""),
        )
        self._recorder.offer(exchange)


def content_type(headers: Mapping[str, str]) -> str:
    """What the client says its body is; the toolkits read both names, in this order."""
    return headers.get("contenttype") or headers.get("content-type") or ""


def refuse(method: str, path: str) -> Answer | None:
    """404 and 405, by method and path; what is below `/v2` refuses by itself."""
    allowed = ROUTES.get(path)
    if allowed is None:
        return None if path == V2 or path.startswith(V2 + "/") else UNKNOWN_PATH
    if method != allowed:
        problem = orjson.dumps({"error": f"{path} takes {allowed}, not {method}"})
        return Answer(405, problem, JSON, (("allow", allowed),))
    return None
