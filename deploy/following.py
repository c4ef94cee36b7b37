"""Keeps what containers write: follows their output into files of ours, across restarts of both sides.

The engine's own copy is bounded and rotates, so it is followed, never read back. Every line begins with the
engine's time stamp; the last one in the file says where to go on, so nothing is lost or doubled when the
follower restarts within what the engine still holds.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

MAXIMUM_BYTES = 10 << 20
"""A log that has grown to this is set aside."""
KEPT = 3
"""Old logs that stay: `.1` is the youngest."""
RECENT = 2_000
"""Lines among which repeated ones are looked for."""

_STAMP = 30
_SHAPE = "0000-00-00T00:00:00.000000000Z"

Frames = Callable[[str, str], Iterator[bytes]]
"""Output of a container from a time stamp on (from its beginning when empty), until it ends: one stamped
piece of a line after the other."""


class Followers:
    """One thread for each container that is followed.

    Args:
        frames: opens the output of a container.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._threads: dict[str, threading.Thread] = {}

    def follow(self, container: str, log: Path) -> None:
        """Follow a container until it ends, unless somebody does."""
        if self.busy(container):
            return
        thread = threading.Thread(
            target=self._follow, args=(container, log), name=f"log of {container}", daemon=True
        )
        self._threads[container] = thread
        thread.start()

    def busy(self, container: str) -> bool:
        """Tell whether its output still comes."""
        thread = self._threads.get(container)
        return thread is not None and thread.is_alive()

    def forget(self, container: str) -> None:
        """It will not come back."""
        self._threads.pop(container, None)

    def _follow(self, container: str, log: Path) -> None:
        with Journal(log) as journal:
            if journal.mine:
                for frame in self._frames(container, journal.last):
                    journal.write(frame)


class Journal:
    """A log file with one writer on the whole machine."""

    def __init__(self, path: Path, *, maximum: int = MAXIMUM_BYTES) -> None:
        self._path = path
        self._maximum = maximum
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()
        self.last = _last_stamp(path) or _last_stamp(_old(path, 1))
        """Stamp of the last line that was kept before; empty when there is none."""
        self._stamp = b""
        self._whole = True
        self._recent: dict[bytes, None] = {}

    @property
    def mine(self) -> bool:
        """Nobody else writes to it."""
        return self._locked

    def write(self, frame: bytes) -> None:
        """Keep a stamped piece, unless it was kept before."""
        stamp, _, text = frame.partition(b" ")
        if self._whole:
            if stamp.decode("ascii", "replace") <= self.last or self._repeated(frame):
                return
            if self._file.tell() >= self._maximum:
                self._rotate()
            self._file.write(stamp + b" ")
        elif stamp != self._stamp:  # the line never got its end: its writer was killed
            self._file.write(b"\n" + stamp + b" ")
        self._file.write(text)
        self._file.flush()
        self._stamp, self._whole = stamp, text.endswith(b"\n")

    def _repeated(self, frame: bytes) -> bool:
        """The engine repeats some lines when it rotates its own copy; they need not be in order."""
        if frame in self._recent:
            return True
        self._recent[frame] = None
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _open(self) -> None:
        self._file = self._path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._locked = False
        else:
            self._locked = True

    def _rotate(self) -> None:
        for number in range(KEPT - 1, 0, -1):
            if (old := _old(self._path, number)).exists():
                old.replace(_old(self._path, number + 1))
        self._path.replace(_old(self._path, 1))
        self._file.close()
        self._open()


def _old(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _last_stamp(path: Path) -> str:
    """Of the last line that begins with one, among the last bytes of the file."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (64 << 10)))
        lines = file.read().decode(errors="replace").splitlines()
    stamps = (line[:_STAMP] for line in reversed(lines))
    return next((stamp for stamp in stamps if _is_stamp(stamp)), "")


def _is_stamp(text: str) -> bool:
    return len(text) == _STAMP and all(
        letter.isdigit() if shape == "0" else letter == shape
        for letter, shape in zip(text, _SHAPE, strict=True)
    )
