"""A stage in another process or container: asked over HTTP, with connections that are kept.

A request is sent once. A connection that the other side has closed meanwhile is noticed before anything is
sent on it; later failures are not repeated, because the stage may have worked already.
"""

from __future__ import annotations

import http.client
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import orjson

from serving import contract
from serving.errors import Permanent, Temporary
from serving.responder import Answer, Request

KEPT = 8
"""Idle connections that are kept."""
PING_SECONDS = 2.0
"""Time for an answer to `/ping`."""
_BLOCK = 1 << 16
_NOT_SENT = frozenset(
    {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade"}
    | {"content-type", "contenttype", "accept", "accept-encoding", "expect", "proxy-connection"}
)
_NOT_KEPT = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server", "content-type"}
)


class StageUnreachable(Temporary):
    """Nothing answers at the stage's address, or it hung up."""

    status = 503


class StageTooSlow(Permanent):
    """The stage did not answer in time."""

    status = 504


class HttpStage:
    """Asks the server at `url`, `http://HOST:PORT`; each answer may take `seconds`."""

    def __init__(self, url: str, seconds: float = 60.0) -> None:
        parts = urlsplit(url)
        self._url = url
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._seconds = seconds
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def respond(self, request: Request) -> Answer:
        """See `serving.responder.Responder.respond`."""
        lines = {name: value for name, value in request.headers.items() if name not in _NOT_SENT}
        lines |= {"content-type": request.content_type} if request.content_type else {}
        lines |= {"accept": request.accept} if request.accept else {}
        return self._call("POST", contract.INVOCATIONS, lines, request.body, self._seconds)

    @property
    def execution_parameters(self) -> Mapping[str, object]:
        """The stage's own; none where it has none."""
        answer = self._call("GET", contract.EXECUTION_PARAMETERS, {}, None, self._seconds)
        body = b"".join(answer.stream or (answer.body,))
        if answer.status != 200:
            return {}
        try:
            own = orjson.loads(body)
        except orjson.JSONDecodeError:
            return {}
        return own if isinstance(own, dict) else {}

    def unready(self) -> tuple[str, ...]:
        """Why it cannot answer now; nothing when its `/ping` answers 200."""
        try:
            answer = self._call("GET", contract.PING, {}, None, min(PING_SECONDS, self._seconds))
            body = b"".join(answer.stream or (answer.body,))
        except (StageUnreachable, StageTooSlow) as error:
            return (str(error),)
        if answer.status == 200:
            return ()
        return (f"/ping at {self._url} answers {answer.status}: {body[:200].decode('utf-8', 'replace')}",)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _call(
        self, method: str, path: str, lines: Mapping[str, str], body: bytes | None, seconds: float
    ) -> Answer:
        deadline = time.monotonic() + seconds
        connection = self._connection()
        try:
            _limit(connection, deadline)
            connection.request(method, path, body, dict(lines))
            _limit(connection, deadline)
            response = connection.getresponse()
            parts = self._parts(connection, response, deadline, seconds)
            named = [(name.lower(), value) for name, value in response.getheaders()]
            kept = tuple(line for line in named if line[0] not in _NOT_KEPT)
            kind = response.getheader("content-type", "")
            if response.chunked:
                return Answer(response.status, b"", kind, kept, parts)
            return Answer(response.status, b"".join(parts), kind, kept)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._failure(error, seconds) from error

    def _parts(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        deadline: float,
        seconds: float,
    ) -> Iterator[bytes]:
        """The body; a connection that is read to its end is kept, another closed."""
        whole = False
        try:
            while True:
                _limit(connection, deadline)
                part = response.read1(_BLOCK)
                if not part:
                    break
                yield part
            whole = response.length in (None, 0)
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(error, seconds) from error
        finally:
            response.close()  # of the response alone: what follows on the connection is another
            self._give_back(connection, reusable=whole and not response.will_close)
        if not whole:
            raise StageUnreachable(f"{self._url} hung up in the middle of its answer; see its log")

    def _connection(self) -> http.client.HTTPConnection:
        """An open connection on which the other side has said nothing, or a new one."""
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            if kept is None:
                return http.client.HTTPConnection(self._host, self._port)
            if kept.sock is not None and not _heard(kept.sock):
                return kept
            kept.close()

    def _give_back(self, connection: http.client.HTTPConnection, *, reusable: bool) -> None:
        with self._lock:
            if reusable and len(self._idle) < KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def _failure(self, error: Exception, seconds: float) -> StageUnreachable | StageTooSlow:
        if isinstance(error, TimeoutError):
            return StageTooSlow(
                f"{self._url} did not answer within {seconds:g} s; send less, or raise its timeout"
            )
        return StageUnreachable(f"{self._url} does not answer ({error}); see that its process runs")


def _heard(side: socket.socket) -> bool:
    """Whether something has come: on an idle connection that is its end."""
    poll = select.poll()
    poll.register(side, select.POLLIN)
    return bool(poll.poll(0))


def _limit(connection: http.client.HTTPConnection, deadline: float) -> None:
    """Let the next wait on the connection end at the deadline."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.timeout = left
    if connection.sock is not None:
        connection.sock.settimeout(left)
