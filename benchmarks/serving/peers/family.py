"""A server's processes: where they run, what they cost, stopping them while others have their turn.

Some servers are many processes, a few of them in sessions of their own. All inherit the environment, so a token
in it tells whose they are.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOKEN = "SEAWAY_BENCHMARK_FAMILY"  # noqa: S105 (no secret)
MIB = 2**20
PATIENCE = 20.0
"""Seconds for a server to end by itself."""


@dataclass(frozen=True, slots=True)
class Family:
    """All processes that descend from one start."""

    token: str

    def members(self) -> list[int]:
        mark = f"{TOKEN}={self.token}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def memory(self) -> float:
        """MiB: proportional set size, so that pages shared by several processes count once."""
        kib = 0
        for pid in self.members():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return kib * 1024 / MIB

    def seconds(self) -> float:
        """Processor time used so far."""
        ticks = 0
        for pid in self.members():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def freeze(self) -> None:
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def end(self, leader: int | None = None) -> None:
        """Ask the leader, else all, to end; kill what is left."""
        self.thaw()
        for pid in [leader] if leader else self.members():
            _kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.1)
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for pid in self.members():
            _kill(pid, number)


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@contextlib.contextmanager
def founding(cores: frozenset[int]) -> Iterator[Family]:
    """Processes that are started inside this block belong to the family yielded, and run on these cores."""
    family, before = Family(uuid.uuid4().hex), os.sched_getaffinity(0)
    os.environ[TOKEN] = family.token
    os.sched_setaffinity(0, cores)
    try:
        yield family
    finally:
        os.sched_setaffinity(0, before)
        del os.environ[TOKEN]
