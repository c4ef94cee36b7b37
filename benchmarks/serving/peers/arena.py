"""Start every server, see that all answer alike, and let them take turns."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import load, stage, venvs
from benchmarks.serving.peers.apps import model
from benchmarks.serving.peers.family import Family, founding
from benchmarks.serving.peers.servers import REQUIREMENTS, Place, Rows, Server, seaway
from serving.__main__ import THREADS

CLIENTS, SIZES = (1, 8, 64), (1, 100)
TOLERANCE = 1e-5
START_SECONDS = 120.0
NUDGES = 5
"""Requests to a server that was stopped, before its turn begins."""


class Unavailable(Exception):
    """It reads after "which": a server could not be installed or started, or answers something else."""


class NotInstalled(Unavailable):
    """The registry does not have it, or there is no network."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that answers, and has not been measured yet."""

    name: str
    model: str
    url: str
    families: tuple[Family, ...]
    server: Server
    cold_seconds: float | None
    """From the start of its process to its first answer; None for the gateway, which is started around it."""

    def body(self, rows: Rows) -> bytes:
        return json.dumps(self.server.body(rows)).encode()


@dataclass(frozen=True, slots=True)
class Ground:
    """Where servers run and what they serve."""

    folder: Path
    model: Path
    venvs: Path
    rows: Rows
    cores: frozenset[int]


@contextlib.contextmanager
def ours(ground: Ground, package: Path) -> Iterator[tuple[Contender, Contender, Contender]]:
    """The model server called through the gateway, directly, and directly with tensors."""
    server, tensors = seaway(package)
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(started(server, ground, "direct"))
        with founding(ground.cores) as envoy:
            gateway = stack.enter_context(stage.gateway(ground.folder))
        at = urlsplit(direct.url)
        gateway.serve({stage.fleet("v1"): [int(at.port or 0)]})
        families = (*direct.families, envoy)
        yield (
            replace(
                direct, name="Seaway, gateway", url=gateway.invocations, families=families, cold_seconds=None
            ),
            direct,
            replace(
                direct, name="Seaway, direct, v2", url=f"http://{at.netloc}{tensors.path}", server=tensors
            ),
        )


@contextlib.contextmanager
def started(server: Server, ground: Ground, how: str = "") -> Iterator[Contender]:
    """The server, from its own environment, on its cores, answering.

    Raises:
        Unavailable: with the reason, one line.
    """
    executables = _environment(server, ground.venvs)
    folder = ground.folder / f"{server.name} {server.model}".replace(" ", "-").lower()
    folder.mkdir()
    place = Place(
        executables, folder, ground.model, stage.free_port(), (stage.free_port(), stage.free_port())
    )
    environ = {
        **dict.fromkeys(THREADS, "1"),
        **server.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{executables}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(stage.ROOT),
        model.FOLDER: str(ground.model),
        model.VARIANT: server.model,
    }
    log = folder / "log"
    with contextlib.ExitStack() as stack:
        began = time.perf_counter()
        with founding(ground.cores) as family:
            leader = stack.enter_context(stage.running(server.start(place), log, environ))
        stack.callback(family.end, leader)
        name = f"{server.name}, {how}" if how else server.name
        url = f"http://127.0.0.1:{place.port}{server.path}"
        first = json.dumps(server.body(ground.rows[:1])).encode()
        _await_answer(url, first, family, log)
        yield Contender(name, server.model, url, (family,), server, time.perf_counter() - began)


def _environment(server: Server, folder: Path) -> Path:
    if not server.venv:
        return Path(sys.executable).parent
    try:
        return venvs.prepare(REQUIREMENTS / f"{server.venv}.txt", folder)
    except subprocess.CalledProcessError as error:
        raise NotInstalled(f"cannot be installed: {_last(error.stderr)}") from error


def _await_answer(url: str, body: bytes, family: Family, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            stage.post(url, body)
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline or not family.members():
                raise Unavailable(f"does not start: {error}; {_last(log.read_text())}") from error
            time.sleep(0.05)
        else:
            return


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"


def check(one: Contender, rows: Rows, expected: Sequence[float]) -> None:
    """Compare an answer with what the model says.

    Raises:
        Unavailable: it differs by more than the tolerance.
    """
    found = one.server.scores(stage.post(one.url, one.body(rows)))
    if one.model == "none" and not found:
        return
    worst = max((abs(a - b) for a, b in zip(found, expected, strict=False)), default=math.inf)
    if len(found) != len(expected) or not worst <= TOLERANCE:
        raise Unavailable(f"answers {len(found)} rows that differ by up to {worst:g} from the model's")


def turn(one: Contender, body: bytes, clients: int, length: int) -> Mapping[str, Any]:
    """Figures of one server while all others are stopped; processor time is that of all its processes."""
    for family in one.families:
        family.thaw()
    for _ in range(NUDGES):
        stage.post(one.url, body)
    before = seconds(one)
    found = load.measure(one.url, body, clients, length)
    used = seconds(one) - before
    for family in one.families:
        family.freeze()
    return {
        "server": one.name,
        "model": one.model,
        "clients": clients,
        "requests/s": found.per_second,
        "p50 ms": found.p50,
        "p99 ms": found.p99,
        "cpu us": used / max(1.0, found.per_second * length) * 1e6,
        "failures": found.failures,
        "generator": found.generator,
    }


def seconds(one: Contender) -> float:
    return sum(family.seconds() for family in one.families)
