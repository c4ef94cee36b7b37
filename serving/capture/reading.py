"""Reads captures back: the lines of one file, or all records of a time in order."""

from __future__ import annotations

import heapq
import logging
import re
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from serving.capture import sealing
from serving.capture.errors import CaptureUnreadable
from serving.capture.folder import HOURS, hour_begins, is_capture

_TIME = re.compile(rb'"inferenceTime"\s*:\s*"([^"\\]*)"')
"""Inside the text of a body every quote has a backslash before it, so this only finds the real entry."""

log = logging.getLogger("serving")


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
            yield from chunk.splitlines()


def read_captures(
    folder: Path | str, since: datetime, until: datetime, *, key: bytes | None = None
) -> Iterator[dict[str, Any]]:
    """The records with `since` <= inferenceTime < `until`, by time.

    Records of one second are in the order of their files' names, then of their lines. Memory holds the
    files whose times overlap, not the whole time. Lines that are no record are logged and left out.

    Args:
        folder: a destination, or the folder of an endpoint or of a variant in it.
        since: an aware time.
        until: an aware time.
        key: for encrypted files.

    Raises:
        CaptureUnreadable: an encrypted file and no key, another key, or a changed file.
    """
    begin, end = since.timestamp(), until.timestamp()
    found = ((_first(path, key), str(path), path) for path in _files(Path(folder), begin, end))
    waiting = deque(sorted((first, name, path) for first, name, path in found if first is not None))
    heap: list[tuple[float, str, int, dict[str, Any]]] = []
    while waiting or heap:
        while waiting and (not heap or waiting[0][0] <= heap[0][0]):
            for entry in _records(waiting.popleft()[2], key):
                heapq.heappush(heap, entry)
        if heap:
            at, _, _, record = heapq.heappop(heap)
            if begin <= at < end:
                yield record


def _files(folder: Path, begin: float, end: float) -> Iterator[Path]:
    """Complete files of the hours that touch the time, wherever the folder stands in the layout."""
    for above in ("", "*/", "*/*/"):
        for hour in folder.glob(above + HOURS):
            if begin - 3600 < hour_begins(hour) < end:
                yield from (path for path in hour.iterdir() if is_capture(path.name))


def _first(path: Path, key: bytes | None) -> float | None:
    """The earliest time in a file, found without parsing; None when it has no record."""
    times = (_seconds(match[1].decode()) for text in read(path, key) if (match := _TIME.search(text)))
    return min((at for at in times if at is not None), default=None)


def _records(path: Path, key: bytes | None) -> Iterator[tuple[float, str, int, dict[str, Any]]]:
    """Time, file, line and record of each line."""
    for number, text in enumerate(read(path, key)):
        try:
            record = orjson.loads(text)
            at = _seconds(record["eventMetadata"]["inferenceTime"])
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
