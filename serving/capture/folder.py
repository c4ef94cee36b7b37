"""Capture files in a local folder: `{endpoint}/{variant}/yyyy/mm/dd/hh/{MM}-{SS}-{mmm}-{uuid}.jsonl`.

A file that is being written has a hidden name and is locked. It gets its real name when it is complete, so
who reads the folder only meets complete files. A hidden file that nobody locks was left by a process that
died: `recover` cuts what is torn off its end and completes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from serving.capture import sealing
from serving.capture.sealing import Sealer

SUFFIX = ".jsonl"
PART = ".part"
"""What hidden names end with, beside beginning with a dot."""
LATE = 30.0
"""Seconds after its hour in which a file still takes late exchanges of that hour."""
HOURS = "[0-9]" * 4 + "/[0-9][0-9]" * 3
"""Pattern of the folders of the hours."""

log = logging.getLogger("serving")


class Part:
    """One file that is being written.

    Args:
        folder: the folder of its hour, which is made.
        at: time of its first exchange, in seconds since the epoch; part of its name.
        key: for encryption, or None.

    Raises:
        OSError: the file system refuses.
    """

    def __init__(self, folder: Path, at: float, key: bytes | None) -> None:
        self._sealer = Sealer(key) if key else None
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._handle = _create(folder, at, SUFFIX + (sealing.SUFFIX if key else ""))
        self.size = 0
        """Bytes that are in the file for good."""

    def append(self, data: bytes) -> None:
        """Add complete lines: all of them, or none.

        Raises:
            OSError: the file system refuses.
        """
        if self._sealer is not None:
            data = (b"" if self.size else self._sealer.head) + self._sealer.seal(data)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._handle, left) :]
        except OSError:
            os.ftruncate(self._handle, self.size)
            os.lseek(self._handle, self.size, os.SEEK_SET)
            raise
        self.size += len(data)

    def complete(self) -> bool:
        """Give the file its name, when anything is in it; false when the file system refuses.

        The hidden file then stays, for the next start to complete.
        """
        try:
            if self.size:
                os.fsync(self._handle)
                _publish(self._path)
            else:
                self._path.unlink()
        except OSError as error:
            log.warning("capture file %s is not complete: %s", self._path, error.strerror)
            return False
        finally:
            os.close(self._handle)
        return True


class Folder:
    """Writes lines into the files of their hours.

    Args:
        root: folder of one endpoint's variant.
        rotate: age in seconds at which a file is completed.
        limit: size in bytes at which a file is completed.
        key: for encryption, or None.
    """

    def __init__(self, root: Path, *, rotate: float, limit: int, key: bytes | None = None) -> None:
        self.root = root
        self._rotate = rotate
        self._limit = limit
        self._key = key
        self._parts: dict[Path, tuple[Part, float]] = {}
        self.completed = 0
        """Files that got their names."""

    def write(self, hour: Path, at: float, lines: bytes, now: float) -> None:
        """Add lines of one hour; `hour` is relative to the root, `at` the time of the first line.

        Raises:
            OSError: the file system refuses; none of the lines is kept, and the next ones go to a new file.
        """
        if hour not in self._parts:
            self._parts[hour] = (Part(self.root / hour, at, self._key), now)
        part, _ = self._parts[hour]
        try:
            part.append(lines)
        except OSError:
            self._complete(hour)
            raise
        if part.size >= self._limit:
            self._complete(hour)

    def rotate(self, now: float, *, everything: bool = False) -> None:
        """Complete the files that are old enough, or whose hour is over."""
        for hour, (_, opened) in list(self._parts.items()):
            over = now - hour_begins(hour) >= 3600 + LATE
            if everything or over or now - opened >= self._rotate:
                self._complete(hour)

    def _complete(self, hour: Path) -> None:
        part, _ = self._parts.pop(hour)
        self.completed += part.complete() and part.size > 0


def hour_of(at: float) -> Path:
    """`yyyy/mm/dd/hh` in UTC."""
    return Path(datetime.fromtimestamp(at, UTC).strftime("%Y/%m/%d/%H"))


def hour_begins(hour: Path) -> float:
    """Seconds since the epoch at which the hour of a folder begins; only the last four names count.

    Raises:
        ValueError: the names are no hour.
    """
    year, month, day, of_day = (int(name) for name in hour.parts[-4:])
    return datetime(year, month, day, of_day, tzinfo=UTC).timestamp()


def recover(endpoint: Path) -> int:
    """Complete the files that dead processes left, of all variants of an endpoint; returns how many.

    Trouble with one file is logged and leaves the others alone.
    """
    done = 0
    for path in _hidden(endpoint):
        try:
            done += _finish(path)
        except OSError as error:
            log.warning("capture file %s cannot be completed: %s", path, error.strerror)
    return done


def disk_percent(folder: Path) -> float:
    """How much of the folder's disk is used, as `df` says it; 0 when nobody knows."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0.0
    used = found.f_blocks - found.f_bfree
    return 100.0 * used / (used + found.f_bavail) if used + found.f_bavail else 0.0


def _hidden(endpoint: Path) -> Iterable[Path]:
    return sorted(endpoint.glob(f"*/{HOURS}/.*{PART}"))


def _finish(path: Path) -> bool:
    """Complete one file, unless its writer lives."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _same(path, file.fileno()):
            return False
        size = sealing.whole(file) if sealing.SUFFIX in path.suffixes else _whole_lines(file)
        if not size:
            path.unlink()
            return False
        file.truncate(size)
        os.fsync(file.fileno())
        _publish(path)
        return True
    return False


def _whole_lines(file: IO[bytes]) -> int:
    """Length of the part that ends with a complete line."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        last = file.read(end - start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        end = start
    return 0


def _create(folder: Path, at: float, suffix: str) -> tuple[Path, int]:
    """A new hidden file, locked; another process that recovers may take one before we lock it."""
    stamp = datetime.fromtimestamp(at, UTC)
    while True:
        name = f"{stamp:%M-%S}-{stamp.microsecond // 1000:03d}-{uuid.uuid4()}{suffix}"
        path = folder / f".{name}{PART}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(path, handle):
                return path, handle
        os.close(handle)


def _same(path: Path, handle: int) -> bool:
    """Whether the name still leads to the open file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(handle)
    return (found.st_ino, found.st_dev) == (opened.st_ino, opened.st_dev)


def _publish(path: Path) -> None:
    """Rename to the real name, for good."""
    path.rename(path.with_name(path.name.removeprefix(".").removesuffix(PART)))
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def complete_files(root: Path) -> Iterator[Path]:
    """The complete files below a folder of the hours' folders, oldest first."""
    for hour in sorted(root.glob(HOURS)):
        yield from sorted(path for path in hour.glob(f"*{SUFFIX}*") if is_capture(path.name))


def is_capture(name: str) -> bool:
    """Whether a file is a complete capture."""
    return not name.startswith(".") and name.endswith((SUFFIX, SUFFIX + sealing.SUFFIX))
