"""Hours that are decoded in processes of their own, as many at a time as there are cores.

A process gets its hours once, and tells of each that is done. It is started anew and not forked, so it may be
asked for from a process with threads; it holds the lock of its variant for as long as it lives, so nobody
begins anew beside one whose parent has died. An hour of which nothing is heard is left to the caller.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import IO, Any

from monitoring.records import Layout

LEAST = 96 << 20
"""Bytes of captures for which starting processes pays."""


@dataclass(frozen=True, slots=True)
class Job:
    """One hour: which files are to be read for it, and how."""

    root: Path
    """`{home}/monitoring/{endpoint}`."""
    variant: str
    at: datetime
    files: Mapping[str, Any]
    """By name: paths of this machine, or in S3."""
    layout: Layout
    key: bytes | None
    reading: str

    @property
    def size(self) -> int:
        """Bytes of the files of this machine."""
        here = (file for file in self.files.values() if isinstance(file, Path) and file.exists())
        return sum(file.stat().st_size for file in here)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one."""

    at: datetime
    changed: bool
    records: int
    refusal: str = ""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def pays(jobs: Sequence[Job]) -> bool:
    """Whether there is enough to be decoded, of files of this machine, for more than one process."""
    return len(jobs) > 1 and cores() > 1 and sum(job.size for job in jobs) >= LEAST


def decoded(jobs: Sequence[Job], lock: int) -> Generator[Done, None, None]:
    """What became of the hours, as they are done; of some nothing may be heard.

    Args:
        jobs: hours of one variant.
        lock: the open file that holds the variant's lock.
    """
    heard: SimpleQueue[Done | None] = SimpleQueue()
    running = [_started(share, lock) for share in _dealt(jobs, cores())]
    threads = [Thread(target=_listen, args=(child, heard), daemon=True) for child in running]
    try:
        for thread in threads:
            thread.start()
        left = len(threads)
        while left:
            done = heard.get()
            left -= done is None
            if done is not None:
                yield done
    finally:
        for child in running:
            child.kill()
            child.wait()
        for thread in threads:
            thread.join()


def _dealt(jobs: Sequence[Job], most: int) -> list[list[Job]]:
    """Nearly as many bytes for each process."""
    shares: list[tuple[int, list[Job]]] = [(0, []) for _ in range(min(most, len(jobs)))]
    for job in sorted(jobs, key=lambda one: one.size, reverse=True):
        place = min(range(len(shares)), key=lambda number: shares[number][0])
        shares[place] = shares[place][0] + job.size, [*shares[place][1], job]
    return [share for _, share in shares]


def _started(jobs: Sequence[Job], lock: int) -> subprocess.Popen[bytes]:
    # each process works on one core, so libraries shall not start threads for all of them
    environ = os.environ | {"POLARS_MAX_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.Popen(
        [sys.executable, "-m", "steps.hour_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
        pass_fds=(lock,),
    )
    assert child.stdin is not None  # noqa: S101 (a pipe was asked for)
    with suppress(BrokenPipeError), closing(child.stdin) as given:  # one that ended at once has read nothing
        given.write(pickle.dumps(list(jobs)))
    return child


def _listen(child: subprocess.Popen[bytes], heard: SimpleQueue[Done | None]) -> None:
    told: IO[bytes] | None = child.stdout
    assert told is not None  # noqa: S101 (a pipe was asked for)
    with told:
        for line in told:
            try:
                found: dict[str, Any] = json.loads(line)
                heard.put(Done(datetime.fromisoformat(found.pop("at")), **found))
            except (ValueError, TypeError, KeyError):
                continue  # somebody else's output, or a line that was torn when the process ended
    heard.put(None)
