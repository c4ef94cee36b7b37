"""Captures of an endpoint to decoded hours: `{home}/monitoring/{endpoint}/{variant}/yyyy/mm/dd/hh/`.

Only capture files that are new are read. An hour that still grows is completed at a later call; one that is
interrupted is as it was before. Memory holds a few thousand records, whatever the hour holds.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from configs.retention import Item, Retention
from monitoring.profiles import Kind, Profile
from monitoring.records import Decoded, Layout, decode
from serving.capture import CaptureUnreadable, Place, read
from serving.capture.sealing import SUFFIX
from steps.ageing import prune_hours
from steps.errors import DataRefused
from steps.hour import ROWS, Hour, Seal, batches, measured, profiled
from steps.listing import Listing, listing
from steps.side_by_side import Done, Job, decoded, pays
from steps.window import Window, joined, window

__all__ = [
    "Stock",
    "Window",
    "bring",
    "gather",
    "joined",
    "kinds_of",
    "prune",
    "variants",
    "window",
]

if TYPE_CHECKING:
    import polars as pl

    from monitoring.records import Handler

AT_ONCE = 16_384
"""Records that are decoded together."""
LARGEST = 32 << 20
"""Bytes of lines that are decoded together, nearly."""
_READ = 8 << 20
"""Bytes of a capture file that are read at once."""
EXAMPLES = 20
WORK = ".work"
"""Folder of a variant where an hour is prepared."""
Progress = Callable[[int], Any]
"""Told how many records were read so far."""


log = logging.getLogger(__name__)

Blocks = Callable[[Any, Path], Iterator[list[bytes]]]
"""Captured records of a file, some at a time; the folder is for copies."""


def silent(_records: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Stock:
    """Where an endpoint's captures are, how to read them, and where its hours go."""

    root: Path
    """`{home}/monitoring/{endpoint}`."""
    captures: Place
    """Of the endpoint, with a part for each variant."""
    layout: Callable[[str], Layout] = field(default=lambda _variant: Layout())
    """What is known of a variant's model."""
    key: bytes | None = field(default=None, repr=False)
    """Opens captures that are encrypted at rest."""
    handler: Handler | None = None
    """The project's `preprocess_handler`."""
    reading: str = ""
    """Changes when the handler does; hours that were read otherwise are then read again."""


def kinds_of(layout: Layout) -> dict[str, Kind]:
    """How a profile counts the inputs."""
    return {name: "numeric" if kind == "double" else "categorical" for name, kind in layout.inputs}


def variants(stock: Stock) -> list[str]:
    """Variants that have captures.

    Raises:
        DataRefused: the captures cannot be reached.
    """
    try:
        return stock.captures.parts()
    except CaptureUnreadable as error:
        raise DataRefused(f"captures in {stock.captures}: {error}") from error


def bring(
    stock: Stock, variant: str, since: datetime, until: datetime, progress: Progress = silent
) -> tuple[Hour, ...]:
    """Decode what is new of the hours that touch a time; returns those that changed.

    Args:
        stock: the endpoint.
        variant: whose captures.
        since: an aware time.
        until: an aware time, not included.
        progress: told how many records were read so far.

    Raises:
        DataRefused: captures cannot be reached, or none of the new files can be read.
    """
    return gather(stock, variant, listing(stock.captures.within(variant), since, until), progress)


def gather(
    stock: Stock, variant: str, found: Listing, progress: Progress = silent, blocks: Blocks | None = None
) -> tuple[Hour, ...]:
    """Complete hours by the files that a listing has of them; see `bring`.

    Args:
        stock: as of `bring`.
        variant: as of `bring`.
        found: hours and their files.
        progress: as of `bring`.
        blocks: reads such a file; None for captures.
    """
    changed: list[Hour] = []
    unread: list[str] = []
    root = stock.root / variant
    told = 0
    with alone(root) as lock:
        for done in _completed(stock, variant, found, lock, progress, blocks):
            if done.changed:
                changed.append(Hour(root / f"{done.at:%Y/%m/%d/%H}"))
            if done.refusal:
                unread.append(done.refusal)
            told += done.records
    if unread and not told and not changed:
        raise DataRefused(unread[0])
    for error in unread:
        log.warning("an hour of %s is left out: %s", variant, error)
    return tuple(sorted(changed, key=lambda hour: hour.at))


def _completed(
    stock: Stock, variant: str, found: Listing, lock: IO[str], progress: Progress, blocks: Blocks | None
) -> Iterator[Done]:
    """What became of every hour; side by side where it pays."""
    layout = stock.layout(variant)
    jobs = [Job(stock.root, variant, at, files, layout, stock.key, stock.reading) for at, files in found]
    heard: set[datetime] = set()
    told = 0
    waiting = [job for job in jobs if _Work(job).new()] if blocks is None and stock.handler is None else []
    if pays(waiting):
        with closing(decoded(waiting, lock.fileno())) as every:
            for done in every:
                heard.add(done.at)
                told += done.records
                progress(told)
                yield done
    for job in jobs:
        if job.at not in heard:
            done = _one(_Work(job, stock.handler, blocks, partial(_further, progress, told)))
            told += done.records
            yield done


def apart(job: Job) -> Done:
    """Complete one hour of a variant whose lock somebody else holds."""
    return _one(_Work(job))


def _one(work: _Work) -> Done:
    try:
        return Done(work.job.at, work.complete(), work.records)
    except DataRefused as refusal:
        return Done(work.job.at, changed=False, records=work.records, refusal=str(refusal))


def _further(progress: Progress, before: int, records: int) -> None:
    progress(before + records)


@contextmanager
def alone(root: Path) -> Iterator[IO[str]]:
    """One process at a time works on a variant; what a dead one left is cleared. Gives the locked file."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(root / WORK, ignore_errors=True)
        try:
            yield lock
        finally:
            shutil.rmtree(root / WORK, ignore_errors=True)


class _Work:
    """The completion of one hour."""

    def __init__(
        self,
        job: Job,
        handler: Handler | None = None,
        blocks: Blocks | None = None,
        progress: Progress = silent,
    ) -> None:
        self.job = job
        self._handler = handler
        self._blocks = blocks or partial(_captured, job.key)
        self._hour = Hour(job.root / job.variant / f"{job.at:%Y/%m/%d/%H}")
        self._progress = progress
        self._kinds = kinds_of(job.layout)
        self._folder = job.root / job.variant / WORK / f"{job.at:%Y%m%d%H}"
        self._parts: list[Path] = []
        self._counts: Counter[str] = Counter()
        self._examples: list[dict[str, str]] = []
        self._rows = self._dropped = 0
        self._unreadable: dict[str, str] = {}
        self.records = 0
        """Records that were read."""

    def new(self) -> list[str]:
        """Names of the files that are not read yet."""
        seal = self._before()
        return sorted(set(self.job.files) - set(seal.files if seal else ()))

    def _before(self) -> Seal | None:
        """The seal of what stays; None where there is nothing, or where all is read anew."""
        seal = self._hour.seal()
        if seal and seal.reading != self._reading and set(seal.files) <= set(self.job.files):
            return None  # read otherwise than now, and all of it is still there
        return seal

    @property
    def _reading(self) -> str:
        return sha256(repr((self.job.layout, self.job.reading)).encode()).hexdigest()[:16]

    def complete(self) -> bool:
        """Read the files that are new; false when there are none.

        Raises:
            DataRefused: none of the new files can be read.
        """
        seal, new = self._before(), self.new()
        if not new:
            if seal and not self._hour.finished():
                self._hour.finish(seal, profiled(batches(self._hour.rows), self._kinds))
            return False
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            profile = profiled(self._decoded(new), self._kinds)
            if len(self._unreadable) == len(new) and not seal:
                raise DataRefused(f"captures cannot be read: {next(iter(self._unreadable.values()))}")
            if len(self._unreadable) == len(new):
                return False
            self._write(seal, new, profile)
        finally:
            for part in self._parts:
                part.unlink(missing_ok=True)
        return True

    def _write(self, seal: Seal | None, new: Sequence[str], profile: Profile) -> None:
        before = seal or Seal(self._reading)
        made = Seal(
            reading=before.reading,
            files=tuple(sorted({*before.files, *new} - set(self._unreadable))),
            records=before.records + self.records,
            rows=before.rows + self._rows,
            dropped=before.dropped + self._dropped,
            refused=dict(sorted((Counter(before.refused) + self._counts).items())),
            examples=(*before.examples, *self._examples)[:EXAMPLES],
            unreadable=self._unreadable,
        )
        parts = [self._hour.rows, *self._parts] if seal else self._parts
        old = self._hour.profile(self._kinds) if seal else Profile()
        self._hour.write(parts, made, lambda: old.merge(profile))

    def _decoded(self, new: Sequence[str]) -> Iterator[pl.DataFrame]:
        """What profiles are made of, of one block after another; each block becomes a part."""
        for name in new:
            try:
                for block in self._blocks(self.job.files[name], self._folder):
                    found = decode(block, self.job.layout, self.job.variant, self._handler)
                    self._note(found)
                    yield measured(found.frame)
            except CaptureUnreadable as error:
                self._unreadable[name] = str(error)

    def _note(self, found: Decoded) -> None:
        part = self._folder / f"{len(self._parts)}.parquet"
        found.frame.write_parquet(part, compression="uncompressed", statistics=False)
        self._parts.append(part)
        self.records += found.records
        self._rows += found.frame.height
        self._dropped += found.dropped
        self._counts.update(found.refused)
        left = EXAMPLES - len(self._examples)
        self._examples += [
            {"event_id": one.event_id, "part": one.part, "reason": one.reason}
            for one in found.examples[:left]
        ]
        self._progress(self.records)


def _captured(key: bytes | None, file: Any, folder: Path) -> Iterator[list[bytes]]:
    """The lines of a capture file.

    Raises:
        CaptureUnreadable: it is encrypted with another key, or was changed.
    """
    with local(file, folder) as path:
        if path.suffix != SUFFIX:
            yield from _plain(path)
            return
        deque(read(path, key), maxlen=0)  # either all of an encrypted file is read, or nothing
        lines = read(path, key)
        while block := block_of(lines):
            yield block


def _plain(path: Path) -> Iterator[list[bytes]]:
    """Complete lines; a torn last one is left out."""
    left = b""
    with path.open("rb") as file:
        while some := file.read(_READ):
            left += some
            whole = left.rfind(b"\n") + 1
            lines = left[:whole].split(b"\n")[:-1]
            left = left[whole:]
            for first in range(0, len(lines), AT_ONCE):
                yield lines[first : first + AT_ONCE]


def block_of(lines: Iterator[bytes]) -> list[bytes]:
    """The next lines: `AT_ONCE`, or fewer long ones."""
    block: list[bytes] = []
    size = 0
    while size < LARGEST and len(block) < AT_ONCE and (some := list(islice(lines, 512))):
        block += some
        size += sum(map(len, some))
    return block


@contextmanager
def local(file: Any, folder: Path) -> Iterator[Path]:
    """A file of this machine, or a copy of one in S3 for as long as the block lasts."""
    if isinstance(file, Path):
        yield file
        return
    copy = folder / file.name
    try:
        file.download_to(copy)
    except OSError as error:
        raise DataRefused(f"{file} cannot be read: {error}; check address and credentials of S3") from error
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)


# ---- retention --------------------------------------------------------------------------------------------


def prune(home: Path, rule: Retention, now: datetime, *, dry_run: bool = False) -> tuple[Item, ...]:
    """Remove hours that nobody has completed or joined for long; returns what went, or would go.

    The newest `rule.at_least` hours of every variant stay.
    """
    return prune_hours(home / "monitoring", "*/*/", ROWS, "hour", rule, now, dry_run=dry_run)
