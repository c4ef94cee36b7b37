"""A container's own web application (`predictor.py` or `wsgi.py` with an `app`) as a responder.

The layout that bring-your-own containers have: a WSGI application, mostly in Flask, that answers `/ping` and
`/invocations`. It is called inside this process, so it gets what every responder gets: time limits, capture,
the Open Inference Protocol's health paths, and a drain before the end.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from serving import contract
from serving.environment import execution_parameters, wanted
from serving.errors import ModelFailed
from serving.responder import Answer, Request

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
NAMES = ("wsgi.py", "predictor.py")
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})
_POLL = 0.05
_PATIENCE = 0.2
"""Seconds that a question about `/ping` waits for a call to end; several ask, each for 2 s at most."""


def find(folder: Path, environ: Mapping[str, str], beside: Path) -> Path | None:
    """The file with the `app`: in the submit directory, the archive's `code`, or the folder `beside`."""
    given = environ.get(contract.SUBMIT_DIRECTORY, "").removeprefix("file://")
    places = [*([Path(given)] if given else []), folder / "code", beside]
    return next((place / name for place in places for name in NAMES if (place / name).is_file()), None)


def ready(app: WsgiApp, environ: Mapping[str, str]) -> ByoResponder:
    """The responder of an application, once its `/ping` answers 200.

    Raises:
        ModelFailed: it is not ready in time; 503 means that it still loads.
        EnvironmentInvalid: a variable has an unusable value.
    """
    responder = ByoResponder(app, environ)
    responder.await_ready(wanted(environ, 1).startup_timeout)
    return responder


class ByoResponder:
    """Asks a WSGI application, with one call at a time."""

    def __init__(self, app: WsgiApp, environ: Mapping[str, str]) -> None:
        self._app = app
        self._environ = environ
        self._turn = threading.Lock()
        self._problems: tuple[str, ...] = ()

    def respond(self, request: Request) -> Answer:
        """See `Responder.respond`."""
        return self._call("POST", contract.INVOCATIONS, request)

    @property
    def execution_parameters(self) -> Mapping[str, object]:
        """The application's own, or by the environment where it has none."""
        import orjson

        answer = self._call("GET", contract.EXECUTION_PARAMETERS, Request(b""))
        if answer.status == 200:
            try:
                own = orjson.loads(b"".join(answer.stream or (answer.body,)))
            except orjson.JSONDecodeError:
                own = None
            if isinstance(own, dict):
                return own
        return execution_parameters(self._environ, 1)

    def await_ready(self, seconds: float) -> None:
        """Ask `/ping` until it answers 200; anything but 503 in between is an error.

        Raises:
            ModelFailed: it is not ready, and why.
        """
        deadline = time.monotonic() + seconds
        while (answer := self._call("GET", contract.PING, Request(b""))).status != 200:
            if answer.status != 503 or time.monotonic() >= deadline:
                raise ModelFailed(_problem(answer))
            time.sleep(_POLL)

    def unready(self) -> tuple[str, ...]:
        """What the application's own `/ping` says against it; while it answers a call, what it last said."""
        if not self._turn.acquire(timeout=_PATIENCE):
            return self._problems
        try:
            answer = self._asked("GET", contract.PING, Request(b""))
            problem = _problem(answer)
            self._problems = () if answer.status == 200 else (problem,)
        except Exception as error:  # noqa: BLE001 - an application may raise anything, to the end of its answer
            self._problems = (f"/ping of the application fails: {error}",)
        finally:
            self._turn.release()
        return self._problems

    def _call(self, method: str, path: str, request: Request) -> Answer:
        with self._turn:
            return self._asked(method, path, request)

    def _asked(self, method: str, path: str, request: Request) -> Answer:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, lines: list[tuple[str, str]], _error: Any = None) -> Any:
            started[:] = [(status, lines)]
            return lambda _data: None

        try:
            parts = self._app(wsgi_environ(method, path, request), start_response)
            iterator = iter(parts)
            first = next(iterator, b"")  # the application may call start_response only now
            status, lines = started[0]
            named = [(name.lower(), value) for name, value in lines]
            if any(name == "content-length" for name, _ in named):
                first, rest = b"".join((first, *_rest(parts, iterator, ()))), None
            else:
                rest = _rest(parts, iterator, (first,))
        except (Exception, SystemExit) as error:  # an application may raise anything
            raise ModelFailed(f"the application raised {type(error).__name__}: {error}") from error
        content_type = next((value for name, value in named if name == "content-type"), "")
        kept = tuple(one for one in named if one[0] not in _HOP_BY_HOP and one[0] != "content-type")
        return Answer(int(status.split()[0]), b"" if rest else first, content_type, kept, rest)


def wsgi_environ(method: str, path: str, request: Request) -> dict[str, Any]:
    """What a WSGI server would hand to the application."""
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
    for name in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"):
        named.pop(name, None)
    if request.accept:
        named["HTTP_ACCEPT"] = request.accept
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "CONTENT_TYPE": request.content_type,
        "CONTENT_LENGTH": str(len(request.body)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **named,
    }


def _problem(answer: Answer) -> str:
    """What an answer to `/ping` means, where it is not 200; it is read to its end."""
    said = b"".join(answer.stream or (answer.body,)).decode("utf-8", "replace")[:500]
    return f"/ping of the application answers {answer.status}: {said}"


def _rest(parts: Iterable[bytes], iterator: Iterator[bytes], begun: tuple[bytes, ...]) -> Iterator[bytes]:
    """All that comes after; the application's own `close` is called at the end."""
    try:
        yield from begun
        yield from iterator
    finally:
        close = getattr(parts, "close", None)
        if close:
            close()
