"""Open-loop load that remembers every request: when it left, when it ended, and how."""

from __future__ import annotations

import http.client
import itertools
import json
import queue
import select
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

VARIANT = "x-Amzn-Invoked-Production-Variant"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request; times in seconds since the epoch."""

    start: float
    end: float
    status: int
    """0 when nothing came back."""
    variant: str
    error: str
    body: str
    """Of an answer other than 200."""

    @property
    def good(self):
        return self.status == 200

    @property
    def refused(self):
        return self.error == "ConnectionRefusedError"


class Load:
    """Sends the records in turn, each at its appointed time, until the `with` block ends."""

    def __init__(self, url, records, rate=100.0, connections=24):
        self._place = urlsplit(url)
        self._bodies = [json.dumps({"instances": [record]}).encode() for record in records]
        self._rate = rate
        self._due = queue.SimpleQueue()
        self._stop = threading.Event()
        self._sent = []
        self._clock = threading.Thread(target=self._appoint)
        self._senders = [threading.Thread(target=self._send) for _ in range(connections)]

    def __enter__(self):
        for thread in (*self._senders, self._clock):
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._clock.join()
        for _sender in self._senders:
            self._due.put(None)
        for sender in self._senders:
            sender.join()

    @property
    def sent(self):
        return list(self._sent)

    def failed(self, since=0.0):
        return [one for one in self.sent if not one.good and one.end >= since]

    def good_after(self, moment):
        """The first good request that left after a moment, or None."""
        return min(
            (one for one in self.sent if one.good and one.start > moment), key=lambda s: s.end, default=None
        )

    def _appoint(self):
        bodies = itertools.cycle(self._bodies)
        begin = time.monotonic()
        for number in itertools.count():
            if self._stop.wait(max(0.0, begin + number / self._rate - time.monotonic())):
                return
            self._due.put(next(bodies))

    def _send(self):
        connection = self._connect()
        while (body := self._due.get()) is not None:
            if _dropped(connection):
                connection.close()
            start = time.time()
            try:
                connection.request("POST", self._place.path, body, {"content-type": "application/json"})
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace")
                variant = answer.headers.get(VARIANT, "")
                kept = "" if answer.status == 200 else text[:300]
                sent = Sent(start, time.time(), answer.status, variant, "", kept)
            except (OSError, http.client.HTTPException) as error:
                sent = Sent(start, time.time(), 0, "", type(error).__name__, str(error))
                connection.close()
            self._sent.append(sent)
        connection.close()

    def _connect(self):
        return http.client.HTTPConnection(self._place.hostname, self._place.port, timeout=70)


def _dropped(connection):
    """The other side has closed a connection that waits for its next request."""
    return connection.sock is not None and bool(select.select([connection.sock], [], [], 0)[0])
