"""Captured requests against two unpacked packages, each behind its own model server, off the live path.

Both servers run at once and are asked one after the other: whatever else the machine does meets both alike.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zlib import crc32

import httpx

from steps.errors import Permanent
from steps.recorded import Recorded

START = 60.0
"""Seconds that a model server may take to load its package."""
TIMEOUT = 60.0
"""Seconds that an answer may take, as at an endpoint."""
TIMED_OUT = 424
"""Status of a request that was not answered in time, as the gateway gives it."""
GRACE = 10.0
"""Seconds that a server gets to end before it is killed."""
AHEAD = 4
"""Requests under way or waiting, per thread."""
_OURS = ("SEAWAY_CAPTURE", "SEAWAY_ENDPOINT", "SEAWAY_VARIANT")


class ReplayFailed(Permanent):
    """A model server of the replay did not start, or died."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model server sent back."""

    status: int
    content_type: str = ""
    body: bytes = b""
    milliseconds: float | None = None
    """How long it took; None when it did not come."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One captured request and both answers to it, given now."""

    request: Recorded
    champion: Reply
    candidate: Reply


class ModelServer:
    """A model server process of its own, on a free port of this machine; use as a context manager.

    Args:
        package: folder of an unpacked package.
    """

    def __init__(self, package: Path) -> None:
        self._package = package
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115  (closed with the server)
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(timeout=TIMEOUT, trust_env=False, limits=httpx.Limits(max_connections=64))
        self._url = ""

    def __enter__(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            ReplayFailed: it ended or did not answer in time; with its last log lines.
        """
        port = _free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "serving", "--package", str(self._package), "--port", str(port)],
            env=_environment(),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self._await_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, request: Recorded) -> Reply:
        """The answer to a captured request, its body byte for byte, in the format that was answered then.

        Raises:
            ReplayFailed: the server is gone.
        """
        headers = _headers(request)
        began = time.perf_counter()
        try:
            answer = self._client.post(
                f"{self._url}/invocations", content=request.body or b"", headers=headers
            )
        except httpx.TimeoutException:
            return Reply(TIMED_OUT)
        except httpx.TransportError as error:
            name = self._package.name
            raise ReplayFailed(f"the server of {name} failed ({error}):\n{self.tail()}") from error
        took = (time.perf_counter() - began) * 1000
        return Reply(answer.status_code, answer.headers.get("content-type", ""), answer.content, took)

    def tail(self) -> str:
        """The end of its log."""
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, end - 2000))
        return self._log.read().decode(errors="replace")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                if self._client.get(f"{self._url}/ping", timeout=2).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise ReplayFailed(f"the server of {self._package.name} did not start:\n{self.tail()}")

    def _end(self) -> None:
        self._client.close()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()


@contextmanager
def servers(champion: Path, candidate: Path) -> Iterator[tuple[ModelServer, ModelServer]]:
    """Both packages behind servers."""
    with ModelServer(champion) as ours, ModelServer(candidate) as theirs:
        yield ours, theirs


def replay(
    requests: Iterable[Recorded],
    champion: Path,
    candidate: Path,
    *,
    concurrency: int = 2,
    progress: Callable[[int], Any] = lambda _: None,
) -> Iterator[Replayed]:
    """Ask both packages every request; results come in the order of the requests.

    Each pair of calls is made by one thread, one call after the other, and the event id decides who
    comes first. The first request is asked once before, unmeasured, so that nobody pays for being
    the first.

    Args:
        requests: read as they are needed, a few ahead.
        champion: folder of the unpacked package that serves.
        candidate: folder of the one that shall.
        concurrency: requests under way at a time.
        progress: told the number of requests done.

    Raises:
        ReplayFailed: a server does not start, or dies.
    """
    stream = iter(requests)
    first = next(stream, None)
    if first is None:
        return
    with servers(champion, candidate) as both, ThreadPoolExecutor(concurrency) as threads:
        for server in both:
            server.ask(first)
        waiting: deque[Future[Replayed]] = deque()
        done = 0
        for request in chain([first], stream):
            waiting.append(threads.submit(_ask, both, request))
            if len(waiting) >= AHEAD * concurrency:
                yield waiting.popleft().result()
                progress(done := done + 1)
        while waiting:
            yield waiting.popleft().result()
            progress(done := done + 1)


def _ask(both: tuple[ModelServer, ModelServer], request: Recorded) -> Replayed:
    """Both answers; who is asked first is drawn from the event id, for going second is faster or slower."""
    begin = crc32(request.event_id.encode()) & 1
    early = both[begin].ask(request)
    late = both[1 - begin].ask(request)
    champion, candidate = (late, early) if begin else (early, late)
    return Replayed(request, champion, candidate)


def _headers(request: Recorded) -> dict[str, str]:
    named = {
        "content-type": request.content_type,
        "accept": request.answer_content_type or "*/*",
        "x-amzn-requestid": request.event_id,
        "x-amzn-sagemaker-inference-id": request.inference_id,
        "x-amzn-sagemaker-custom-attributes": request.custom_attributes,
    }
    return {name: value for name, value in named.items() if value}


def _environment() -> dict[str, str]:
    """This process's environment without what would make the server capture what it answers."""
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
