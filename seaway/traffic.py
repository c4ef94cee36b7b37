"""Open-loop traffic: requests leave at their appointed times, however long answers take."""

from __future__ import annotations

import http.client
import itertools
import json
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

VARIANT = "x-Amzn-Invoked-Production-Variant"


@dataclass(frozen=True, slots=True)
class Answer:
    """One request and what came back."""

    at: float
    """When it was due, seconds since the epoch."""
    seconds: float
    """From then to the end of the answer: waiting in our own queue counts."""
    status: int
    """0 when nothing came back."""
    variant: str

    @property
    def good(self) -> bool:
        """The model answered."""
        return self.status == 200


class Traffic:
    """Sends records to an endpoint in the background, over and over, until it is stopped.

    Args:
        url: invocation address.
        records: sent one a request, in turn.
        rate: requests a second.
        connections: kept open; one request at a time on each.
    """

    def __init__(
        self, url: str, records: Iterable[Mapping[str, Any]], rate: float, connections: int = 16
    ) -> None:
        self._place = urlsplit(url)
        self._bodies = [json.dumps({"instances": [record]}).encode() for record in records]
        self._rate = rate
        self._due: queue.SimpleQueue[tuple[float, bytes] | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._answers: list[Answer] = []
        self._clock = threading.Thread(target=self._appoint, daemon=True)
        self._senders = [threading.Thread(target=self._send, daemon=True) for _ in range(connections)]

    def start(self) -> None:
        """Begin."""
        for thread in (*self._senders, self._clock):
            thread.start()

    def stop(self) -> None:
        """End after the requests that are due have been answered."""
        self._stop.set()
        self._clock.join()
        for _ in self._senders:
            self._due.put(None)
        for sender in self._senders:
            sender.join()

    @property
    def answers(self) -> list[Answer]:
        """So far."""
        return list(self._answers)

    def _appoint(self) -> None:
        bodies = itertools.cycle(self._bodies)
        begin, sent = time.time(), 0
        while not self._stop.is_set():
            due = begin + sent / self._rate
            if (ahead := due - time.time()) > 0:
                self._stop.wait(ahead)
            self._due.put((due, next(bodies)))
            sent += 1

    def _send(self) -> None:
        connection = self._connect()
        while (job := self._due.get()) is not None:
            due, body = job
            try:
                connection.request("POST", self._place.path, body, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                status, variant = answer.status, answer.headers.get(VARIANT, "")
            except (OSError, http.client.HTTPException):
                status, variant = 0, ""
                connection.close()
                connection = self._connect()
            self._answers.append(Answer(due, time.time() - due, status, variant))
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._place.hostname or "", self._place.port, timeout=70)
