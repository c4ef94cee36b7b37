"""The model server as a WSGI application: `gunicorn serving.wsgi:app`.

The same `Application` answers as under Granian, event streams included; but it answers one request after the
other, and nobody ends a call that takes too long except gunicorn, which ends the worker. The model is loaded
when somebody asks this module for `app`; importing it does nothing. Every worker captures for itself, and
writes what it still holds when it ends.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from serving import contract
from serving.answers import failure, too_large
from serving.app import DISCARDED, MODELS, Application, Limits
from serving.responder import Answer, Responder
from serving.streaming import framed

if TYPE_CHECKING:
    from serving.capture import Recorder
    from serving.capture.record import Missing

LAST_CAPTURES = 10.0
"""Seconds captured exchanges get to be written when a worker ends."""

StartResponse = Callable[..., Any]
_BLOCK = 1 << 16


class WsgiApplication:
    """A WSGI application over any responder."""

    def __init__(self, responder: Responder, limits: Limits, recorder: Recorder | None = None) -> None:
        self._application = Application(responder, limits, recorder)
        self._limit = limits.payload
        self._captures = recorder is not None

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        came, method, path = time.time(), environ["REQUEST_METHOD"], _path(environ)
        call = _Call(came, method, path, headers(environ), _body(environ, self._limit))
        answer = self._answer(call)
        lines = [*answer.headers]
        if answer.content_type:
            lines.append(("content-type", answer.content_type))
        if answer.stream is None:
            lines.append(("content-length", str(len(answer.body))))
        start_response(f"{answer.status} {_phrase(answer.status)}", lines)
        if answer.stream is None:
            self._offer(call, answer, answer.body)
            return [answer.body]
        return self._kept(call, answer, answer.stream) if self._captures else answer.stream

    def _answer(self, call: _Call) -> Answer:
        if call.body is None:
            error = too_large(self._limit)
            return failure(error.status, str(error))
        if not call.events:
            return self._application.answer(call.method, call.path, call.headers, call.body)
        call.headers["accept"] = call.headers.get(contract.STREAM_ACCEPT, "")
        answer = self._application.answer("POST", contract.INVOCATIONS, call.headers, call.body)
        return framed(answer, call.failures.append)

    def _kept(self, call: _Call, answer: Answer, stream: Iterable[bytes]) -> Iterator[bytes]:
        """The parts of a streamed answer, offered for capture once it is complete."""
        parts, size = list[bytes](), 0
        try:
            for part in stream:
                size += len(part)
                if size <= self._limit:
                    parts.append(part)
                yield part
        except Exception:
            self._offer(call, replace(answer, status=500), b"")
            raise
        status = call.failures[0] if call.failures else answer.status
        self._offer(call, replace(answer, status=status), b"".join(parts) if size <= self._limit else None)

    def _offer(self, call: _Call, answer: Answer, body: bytes | None) -> None:
        """Have it captured, unless the model was never asked; `body` is None when it was too long to keep."""
        if self._application.refused(call.method, call.path) is not None:
            return
        took = None if call.body is None else time.perf_counter() - call.began
        missing: Missing | None = "streamed" if call.events else "too long" if body is None else None
        kept = replace(answer, body=body or b"")
        self._application.offer(call.path, (call.came, took), call.headers, call.body or b"", kept, missing)


@dataclass(slots=True)
class _Call:
    """One request, and what became of it."""

    came: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None
    """None when it is longer than the limit."""
    began: float = field(default_factory=time.perf_counter)
    failures: list[int] = field(default_factory=list)
    """Statuses of what broke off within an event stream."""

    @property
    def events(self) -> bool:
        """Its answer is to be an event stream."""
        return self.path == contract.RESPONSE_STREAM and self.method == "POST"


def headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """The request's header lines, names in lower case."""
    found = {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if value := environ.get(name):
            found[name.replace("_", "-").lower()] = str(value)
    return found


def _path(environ: Mapping[str, Any]) -> str:
    """The path; of `/models` with its query, which pages through the list."""
    path = str(environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8", "replace")
    query = environ.get("QUERY_STRING")
    return f"{path}?{query}" if query and path == MODELS else path


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"


def _body(environ: Mapping[str, Any], limit: int) -> bytes | None:
    """The request's body, or None when it is longer than the limit; what is too long is read all the same."""
    size, parts = 0, []
    for part in _parts(environ):
        size += len(part)
        if size <= limit:
            parts.append(part)
        else:
            parts.clear()
        if size > limit + DISCARDED:
            break
    return b"".join(parts) if size <= limit else None


def _parts(environ: Mapping[str, Any]) -> Iterator[bytes]:
    """Blocks up to the announced length, or up to the end where the body comes in chunks."""
    stream, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH")
    left = int(length) if length and length.isdecimal() else None
    if left is None and "HTTP_TRANSFER_ENCODING" not in environ:
        return
    while left is None or left > 0:
        part = stream.read(_BLOCK if left is None else min(left, _BLOCK))
        if not part:
            return
        if left is not None:
            left -= len(part)
        yield part


def build(environ: Mapping[str, str]) -> WsgiApplication:
    """The application for the model in the container's tree.

    Raises:
        ServingError: the model cannot be loaded, or capture is set wrongly; the message says why.
    """
    from serving.environment import flag
    from serving.loading import load

    tree = contract.Tree.of(environ)
    folder = tree.models if flag(environ, contract.MULTI_MODEL) else tree.model
    return WsgiApplication(load(folder, environ), Limits.read(environ), _recorder(environ))


def _recorder(environ: Mapping[str, str]) -> Recorder | None:
    """What captures in this worker, and writes what is left when the worker ends."""
    if not environ.get("SEAWAY_CAPTURE"):
        return None
    from serving.capture import from_environment

    recorder = from_environment(environ)
    if recorder is not None:
        atexit.register(recorder.close, LAST_CAPTURES)
    return recorder


def __getattr__(name: str) -> Any:
    """`app`, made by the first one who asks for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["app"] = build(os.environ)
    return made
