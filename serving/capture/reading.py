"""Reads captures and outcomes back: the lines of one file, or all records of a time in order."""

from __future__ import annotations

import heapq
import logging
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from serving.capture import sealing
from serving.capture.errors import CaptureUnreadable
from serving.capture.record import Outcome
from serving.capture.source import Place, place

_TIME = re.compile(rb'"inferenceTime"\s*:\s*"([^"\\]*)"')
"""Inside the text of a body every quote has a backslash before it, so this only finds the real entry."""

log = logging.getLogger("serving")


@dataclass(frozen=True, slots=True)
class Noted:
    """How one request went at one variant, as its server has written it down."""

    event_id: str
    at: float
    """When it came, in seconds since the epoch."""
    variant: str
    outcome: Outcome


def read(path: Path, key: bytes | None = None) -> Iterator[bytes]:
    """The complete lines of a capture file, without their ends; a torn last line is left out.

    Args:
        path: a file whose name ends with `.jsonl` or `.jsonl.enc`.
        key: the 32 bytes an encrypted file was written with.

    Raises:
        CaptureUnreadable: the file is encrypted and the key is missing or another one, or it was changed.
    """
    if not path.name.endswith(sealing.SUFFIX):
        with path.open("rb") as file:
            for text in file:
                if text.endswith(b"\n"):
                    yield text[:-1]
        return
    if key is None:
        raise CaptureUnreadable(f"{path.name} is encrypted; give the key it was written with")
    with path.open("rb") as file:
        for chunk in sealing.unseal(file, key, path.name):
            yield from chunk.removesuffix(b"\n").split(b"\n")


def read_captures(
    folder: Path | str | Place, since: datetime, until: datetime, *, key: bytes | None = None
) -> Iterator[dict[str, Any]]:
    """The records with `since` <= inferenceTime < `until`, by time.

    Records of one second are in the order of their files' names, then of their lines. Memory holds the
    files whose times overlap, not the whole time; of S3 the files of one hour at a time are fetched.
    Lines that are no record are logged and left out.

    Args:
        folder: a destination, or the place of an endpoint or of a variant in it; a folder or `s3://…`.
        since: an aware time.
        until: an aware time.
        key: for encrypted files.

    Raises:
        CaptureUnreadable: an encrypted file and no key, another key, or a changed file; or the store refuses.
    """
    for _, record in _span(folder, (since, until), key, lambda one: one["eventMetadata"]["inferenceTime"]):
        yield record


def read_outcomes(
    folder: Path | str | Place, since: datetime, until: datetime, *, key: bytes | None = None
) -> Iterator[Noted]:
    """How requests with `since` <= inferenceTime < `until` went, by time; arguments as of `read_captures`.

    Raises:
        CaptureUnreadable: as `read_captures`.
    """
    for at, one in _span(folder, (since, until), key, lambda one: one["inferenceTime"]):
        outcome = Outcome(int(one["status"]), one.get("modelLatency"))
        yield Noted(str(one["eventId"]), at, str(one["variant"]), outcome)


When = Callable[[Any], str]
"""The time that a record names."""


def _span(
    folder: Path | str | Place, span: tuple[datetime, datetime], key: bytes | None, when: When
) -> Iterator[tuple[float, dict[str, Any]]]:
    """Time and record, by time."""
    begin, end = (one.timestamp() for one in span)
    where = place(folder) if isinstance(folder, str | Path) else folder
    for files in where.groups(begin, end):
        for at, record in _merged(files, key, when):
            if begin <= at < end:
                yield at, record


def _merged(files: Sequence[Path], key: bytes | None, when: When) -> Iterator[tuple[float, dict[str, Any]]]:
    """The records of all files by time."""
    found = ((_first(path, key), str(path), path) for path in files)
    waiting = deque(sorted((first, name, path) for first, name, path in found if first is not None))
    heap: list[tuple[float, str, int, dict[str, Any]]] = []
    while waiting or heap:
        while waiting and (not heap or waiting[0][0] <= heap[0][0]):
            for entry in _records(waiting.popleft()[2], key, when):
                heapq.heappush(heap, entry)
        if heap:
            at, _, _, record = heapq.heappop(heap)
            yield at, record


def _first(path: Path, key: bytes | None) -> float | None:
    """The earliest time in a file, found without parsing; None when it has no record."""
    times = (_seconds(match[1].decode()) for text in read(path, key) if (match := _TIME.search(text)))
    return min((at for at in times if at is not None), default=None)


def _records(path: Path, key: bytes | None, when: When) -> Iterator[tuple[float, str, int, dict[str, Any]]]:
    """Time, file, line and record of each line."""
    for number, text in enumerate(read(path, key)):
        try:
            record = orjson.loads(text)
            at = _seconds(when(record))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            at = None
        if at is None:
            log.warning("line %d of %s is no captured record", number + 1, path)
        else:
            yield at, str(path), number, record


def _seconds(text: str) -> float | None:
    """Seconds since the epoch; a time without an offset is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
