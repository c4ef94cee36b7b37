"""The model server of one worker: start it, wait until it is healthy, start it again when it has died."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from steps.transform.errors import ServerFailed

STARTUP = 480.0
"""Seconds a server has to become healthy."""
PING = 2.0
"""Seconds a ping may take."""
LOOK = 0.02
"""Seconds between pings at the start."""
LAST_BREATH = 0.5
"""Seconds from a broken connection until the end of its process shows."""
_STARTS = 3
"""Starts with another port each, in case somebody else took the port meanwhile."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Server:
    """A model server process; use as a context manager.

    Args:
        serve: arguments of Python, with `{package}` and `{port}`.
        package: folder of the unpacked package.
        environment: variables on top of this process's own.
        log: file its output is appended to.
        startup: seconds it has to become healthy.
    """

    def __init__(
        self,
        serve: tuple[str, ...],
        package: Path,
        environment: Mapping[str, str],
        log: Path,
        startup: float = STARTUP,
    ) -> None:
        self._serve, self._package, self._log = serve, package, log
        self._environment, self._startup = dict(environment), startup
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._over = threading.Lock(), False
        self.port = 0
        """Where it listens on 127.0.0.1."""

    def __enter__(self) -> Self:
        self.ensure()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """The process runs."""
        return self._process is not None and self._process.poll() is None

    def ensure(self) -> None:
        """Start the server unless it runs, and wait until it is healthy.

        Raises:
            ServerFailed: it ends or does not become healthy; carries the end of its log. Or it was closed.
        """
        with self._lock:
            for left in reversed(range(_STARTS)):
                if self.alive or self._start(last=not left):
                    return

    def revive(self) -> None:
        """Start it again if a broken connection was its end; raises as `ensure`."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LAST_BREATH)
        self.ensure()

    def parameters(self) -> dict[str, Any]:
        """What `GET /execution-parameters` answers; nothing when the server does not have it."""
        status, body = _get(self.port, "/execution-parameters", self._startup)
        try:
            found = json.loads(body) if status == 200 else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ServerFailed(
                "/execution-parameters does not answer a JSON object; correct the model's server"
            )
        return found

    def close(self) -> None:
        """End it for good; what it is computing is lost. May be called while others use it."""
        self._over = True
        if self._process is not None:
            if self._process.stdin:
                self._process.stdin.close()
            self._process.terminate()
            self._process.wait()

    def _start(self, *, last: bool) -> bool:
        if self._over:
            raise ServerFailed("the model server was ended with its job")
        self.port = _free_port()
        arguments = [part.format(package=self._package, port=self.port) for part in self._serve]
        single = dict.fromkeys(_THREADS, "1")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "steps.transform.guard", sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env={**os.environ, **single, **self._environment},
            )
        return self._await_healthy(last=last)

    def _await_healthy(self, *, last: bool) -> bool:
        deadline = time.monotonic() + self._startup
        while self.alive:
            if self._over:  # closed between the start and now
                self.close()
            elif self._healthy():
                return True
            if time.monotonic() > deadline:
                self.close()
                raise ServerFailed(
                    f"the model server is not healthy after {self._startup:g} s: {self._last_words()}"
                )
            time.sleep(LOOK)
        if last:
            raise ServerFailed(f"the model server ended at its start: {self._last_words()}")
        return False

    def _healthy(self) -> bool:
        try:
            return _get(self.port, "/ping", PING)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _last_words(self) -> str:
        text = self._log.read_bytes()[-2000:].decode(errors="replace").strip()
        return " | ".join(text.splitlines()[-3:]) or "it wrote nothing"


def _get(port: int, path: str, timeout: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
