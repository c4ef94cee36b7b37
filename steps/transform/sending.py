"""Calls of the model server: several in flight, answers in order, failures tried again."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import IO, Self, TypeVar

from steps.transform.errors import ObjectFailed, ServerFailed
from steps.transform.job import Job
from steps.transform.server import Server

Body = Callable[[], bytes | Iterator[bytes]]
"""Makes the body of a call anew for every try; an iterator is sent in chunks."""
PAUSE = 0.2
"""Seconds before the second try; doubled before each further one."""
_AGAIN = frozenset({408, 429})
"""Refusals that may end by themselves, as all 5xx may."""
_READ = 1 << 16
_SHOWN = 300
"""Characters of the model's own message that are passed on."""

P = TypeVar("P")
A = TypeVar("A")


class Caller:
    """Calls `/invocations` of one server, from any number of threads; each keeps its connection."""

    def __init__(self, server: Server, job: Job) -> None:
        self._server, self._client = server, job.model_client_config
        named = {"Content-Type": job.transform_input.content_type, "Accept": job.transform_output.accept}
        self._headers = {name: value for name, value in named.items() if value}
        self._local = threading.local()
        self._open: list[http.client.HTTPConnection] = []

    def call(self, make: Body, sink: IO[bytes], place: str) -> None:
        """Write the model's answer into `sink`, which is emptied before each try.

        Raises:
            ObjectFailed: the model refuses, or still fails after all retries.
        """
        tries = self._client.invocations_max_retries + 1
        for number in range(1, tries + 1):
            sink.seek(0)
            sink.truncate()
            problem, again = self._try(make, sink)
            if not problem:
                return
            if not again or number == tries:
                times = "" if number == 1 else f" ({number} tries)"
                raise ObjectFailed(f"{problem} to {place}{times}")
            time.sleep(PAUSE * 2 ** (number - 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give all connections back."""
        for connection in self._open:
            connection.close()

    def _try(self, make: Body, sink: IO[bytes]) -> tuple[str, bool]:
        """What went wrong, if anything, and whether another try makes sense."""
        try:
            connection = self._connection()
            connection.request("POST", "/invocations", body=make(), headers=self._headers)
            answer = connection.getresponse()
            if 200 <= answer.status < 300:
                while part := answer.read(_READ):
                    sink.write(part)
                return "", False
            said = answer.read().decode(errors="replace").strip()[:_SHOWN]
        except TimeoutError:
            self._hang_up()
            seconds = self._client.invocations_timeout_in_seconds
            return f"the model did not answer within {seconds} s", True
        except (OSError, http.client.HTTPException) as error:
            self._hang_up()
            return (
                f"the model server broke the connection ({type(error).__name__}) on the call",
                self._revived(),
            )
        except BaseException:
            self._hang_up()  # a body that broke off in its middle leaves nothing to go on with
            raise
        return f"the model answered {answer.status} ({said})", answer.status >= 500 or answer.status in _AGAIN

    def _connection(self) -> http.client.HTTPConnection:
        held: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if held is None or held.port != self._server.port:
            timeout = self._client.invocations_timeout_in_seconds
            held = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=timeout)
            self._local.connection = held
            self._open.append(held)
        return held

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._connection().close()

    def _revived(self) -> bool:
        try:
            self._server.revive()
        except ServerFailed:
            return False
        return True


def in_order(payloads: Iterable[P], send: Callable[[P], A], concurrent: int) -> Iterator[tuple[P, A]]:
    """Each payload with its answer, in the order of the payloads, `concurrent` of them in flight.

    At most twice as many payloads are held, so that a slow one does not make the others wait.
    """
    with ThreadPoolExecutor(concurrent, thread_name_prefix="payload") as pool:
        waiting: deque[tuple[P, Future[A]]] = deque()
        try:
            for payload in payloads:
                waiting.append((payload, pool.submit(send, payload)))
                if len(waiting) >= 2 * concurrent:
                    first, answer = waiting.popleft()
                    yield first, answer.result()
            while waiting:
                first, answer = waiting.popleft()
                yield first, answer.result()
        finally:
            for _, answer in waiting:
                answer.cancel()
