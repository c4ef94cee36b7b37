"""One load generator for every server: wrk where it is installed, else threads with keep-alive connections.

Closed loop: each of `clients` connections sends its next request when the last is answered. Threads in Python
cost more than the servers they measure, so their throughput is a lower bound; which one ran is in `Figures`.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.machine import percentile

VARIANT = "x-amzn-invoked-production-variant"
_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('FIGURES {"requests":%d,"microseconds":%d,"p50":%f,"p99":%f,"failures":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What clients saw; latencies in milliseconds."""

    generator: str
    per_second: float
    p50: float
    p99: float
    failures: int


@dataclass
class Seen:
    """What the threads' clients saw."""

    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    variants: Counter[str] = field(default_factory=Counter)


def measure(url: str, body: bytes, clients: int, seconds: float) -> Figures:
    return _wrk(url, body, clients, seconds) if shutil.which("wrk") else _threads(url, body, clients, seconds)


def _wrk(url: str, body: bytes, clients: int, seconds: float) -> Figures:
    settings = (
        f'wrk.method = "POST"\nwrk.body = {json.dumps(body.decode())}\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
    )
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(settings + _REPORT)
        arguments = ("-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(script), url)
        done = subprocess.run(("wrk", *arguments), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.rpartition("FIGURES ")[2])
    rate = found["requests"] / found["microseconds"] * 1e6
    return Figures("wrk", rate, found["p50"] / 1e3, found["p99"] / 1e3, found["failures"])


def _threads(url: str, body: bytes, clients: int, seconds: float) -> Figures:
    end = time.perf_counter() + seconds
    seen = drive(url, body, clients, lambda: time.perf_counter() < end)
    if not seen.seconds:
        raise SystemExit(f"no request to {url} was answered with 200; see {dict(seen.failures)}")
    p50, p99 = (1e3 * percentile(seen.seconds, percent) for percent in (50, 99))
    return Figures("threads", len(seen.seconds) / seconds, p50, p99, seen.failures.total())


def drive(url: str, body: bytes, clients: int, more: Callable[[], bool]) -> Seen:
    """Call from `clients` threads, each on its own connection, for as long as `more()`."""
    every = [Seen() for _ in range(clients)]
    threads = [threading.Thread(target=_client, args=(url, body, more, seen)) for seen in every]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Seen()
    for seen in every:
        whole.seconds += seen.seconds
        whole.failures += seen.failures
        whole.variants += seen.variants
    return whole


def _client(url: str, body: bytes, more: Callable[[], bool], seen: Seen) -> None:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    while more():
        began = time.perf_counter()
        try:
            connection.request("POST", address.path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            seen.failures[type(error).__name__] += 1
            connection.close()
            continue
        if answer.status != 200:
            seen.failures[str(answer.status)] += 1
            continue
        seen.seconds.append(time.perf_counter() - began)
        seen.variants[answer.getheader(VARIANT, "")] += 1
    connection.close()
