"""Processes that live and end together: start all, pass signals on, end when one of them ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_POLL = 0.1
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("serving")


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the group."""

    name: str
    command: Sequence[str]
    stop: str = "SIGTERM"
    """Signal that asks it to finish what it has and end."""


def run(
    members: Sequence[Member], environ: Mapping[str, str], grace: float, *, one_by_one: bool = False
) -> int:
    """Run until SIGTERM, SIGINT or the end of one member; returns the exit code.

    Args:
        members: in the order they start and are asked to stop.
        environ: of all of them.
        grace: seconds from the signal until whatever still runs is killed.
        one_by_one: ask each to stop only when the one before it has ended.

    Returns:
        0 when a signal asked for the end and all ended by themselves, 1 when one had to be killed or ended
        unasked with 0, else the code of the one that ended unasked.
    """
    asked: list[int] = []
    running: list[tuple[Member, subprocess.Popen[bytes]]] = []
    with _heard(asked):
        try:
            for member in members:
                process = subprocess.Popen(member.command, env=dict(environ))
                running.append((member, process))  # one by one: what started is stopped when the next fails
            code = _watch(running, asked)
        finally:
            killed = _stop(running, grace, one_by_one=one_by_one)
    return code or int(killed)


@contextmanager
def _heard(asked: list[int]) -> Iterator[None]:
    """Signals are noted in `asked` for as long as this lasts."""

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(running: list[tuple[Member, subprocess.Popen[bytes]]], asked: list[int]) -> int:
    while not asked:
        for member, process in running:
            if (code := process.poll()) is not None:
                log.error("%s ended with code %d; the rest is stopped", member.name, code)
                return code if code > 0 else 1
        time.sleep(_POLL)
    log.info("signal %d: no new requests, finishing what was begun", asked[0])
    return 0


def _stop(running: list[tuple[Member, subprocess.Popen[bytes]]], grace: float, *, one_by_one: bool) -> bool:
    """Ask all to end; True when one had to be killed."""
    deadline = time.monotonic() + grace
    for member, process in running:
        _send(process, signal.Signals[member.stop])
        if one_by_one:
            _wait(process, deadline)
    late = [member.name for member, process in running if not _wait(process, deadline)]
    for _, process in running:
        if process.poll() is None:
            process.kill()
            process.wait()
    if late:
        log.warning("killed %s after %g s", ", ".join(late), grace)
    return bool(late)


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        os.kill(process.pid, number)


def _wait(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Whether it ended in time."""
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True
