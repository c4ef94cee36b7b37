"""The model server as a WSGI application: `gunicorn serving.wsgi:app`.

The same behaviour as under Granian, since the same `Application` answers. The model is loaded when somebody
asks this module for `app`; importing it does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from serving import contract
from serving.answers import failure, too_large
from serving.app import DISCARDED, Application, Limits
from serving.responder import Responder

StartResponse = Callable[..., Any]
_BLOCK = 1 << 16


class WsgiApplication:
    """A WSGI application over any responder."""

    def __init__(self, responder: Responder, limits: Limits) -> None:
        self._application = Application(responder, limits)
        self._limit = limits.payload

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        body = _body(environ, self._limit)
        if body is None:
            error = too_large(self._limit)
            answer = failure(error.status, str(error))
        else:
            path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
            answer = self._application.answer(environ["REQUEST_METHOD"], path, headers(environ), body)
        lines = [*answer.headers]
        if answer.content_type:
            lines.append(("content-type", answer.content_type))
        if answer.stream is None:
            lines.append(("content-length", str(len(answer.body))))
        start_response(f"{answer.status} {_phrase(answer.status)}", lines)
        return [answer.body] if answer.stream is None else answer.stream


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
        ServingError: the model cannot be loaded; the message says why.
    """
    from serving.environment import flag
    from serving.loading import load

    tree = contract.Tree.of(environ)
    folder = tree.models if flag(environ, contract.MULTI_MODEL) else tree.model
    return WsgiApplication(load(folder, environ), Limits.read(environ))


def __getattr__(name: str) -> Any:
    """`app`, made by the first one who asks for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["app"] = build(os.environ)
    return made
