"""What really happened, kept as it came in: `{home}/labels/{endpoint}/yyyy/mm/dd/hh/*.jsonl`.

Lines are SageMaker's ground-truth records with the time of their collection; the hour of a folder is that
time's. A file that is imported twice has the same name, so the second time changes nothing.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from configs.retention import Item, Retention
from monitoring.quality.truth import decode
from steps.ageing import prune_hours
from steps.errors import DataRefused
from steps.hour import HOURS
from steps.hours import local
from steps.labelled import ENDINGS, Bad, Columns, read, record_of
from steps.listing import files, opened

_COLLECTED = "collectionTime"
"""Entry of `eventMetadata` that SageMaker does not have; others pass over it."""
_HOUR = re.compile(r"(\d{4})/(\d\d)/(\d\d)/(\d\d)/[^/]+$")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CHECKED = 4096
"""Records that are checked together."""
REASONS = 20


@dataclass(frozen=True, slots=True)
class Added:
    """What became of labels that somebody brought."""

    accepted: int = 0
    refused: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Why, and how many."""
    examples: tuple[tuple[int, str], ...] = ()
    """Number of a record, from 1, and what is wrong with it; the first ones."""
    files: int = 0
    """Files that were read."""
    known: int = 0
    """Files of them that had been imported before; they changed nothing."""


def folder(home: Path, endpoint: str) -> Path:
    """Where the labels of an endpoint are.

    Raises:
        DataRefused: it cannot be the name of an endpoint.
    """
    if not _NAME.fullmatch(endpoint):
        raise DataRefused(f"{endpoint!r} is no name of an endpoint; `seaway endpoints` lists what there is")
    return home / "labels" / endpoint


def add(home: Path, endpoint: str, source: str, now: datetime, columns: Columns | None = None) -> Added:
    """Import labels from a file, from all files of a folder, or from `s3://bucket/prefix`.

    A file that lies in a folder `yyyy/mm/dd/hh`, as SageMaker has them, keeps this hour as time of its
    collection; of others it is `now`.

    Raises:
        DataRefused: there is no such file, or it holds no labels that can be read.
    """
    total = Added()
    with tempfile.TemporaryDirectory(prefix="labels-") as fetched:
        for name, file in _sources(source):
            at = _collected(name) or now
            with local(file, Path(fetched)) as path:
                total = _sum(total, _keep(folder(home, endpoint), path, at, columns or Columns()))
    return total


def accept(home: Path, endpoint: str, records: Sequence[object], now: datetime) -> Added:
    """Append labels that came a few at a time: all that are good, or none when the disk refuses.

    Args:
        home: folder of the installation.
        endpoint: whose.
        records: ground-truth records, or objects with `event_id` (or `inference_id`) and `label`.
        now: time of their collection.

    Raises:
        OSError: the file system refuses.
    """
    notes = _Notes()
    lines = b"".join(notes.good(_checked(map(record_of, records)), now))
    if lines:
        _append(folder(home, endpoint) / f"{now.astimezone(UTC):%Y/%m/%d/%H/%M}-00-000-posted.jsonl", lines)
    return notes.added()


def lines_of(file: Path) -> Iterator[tuple[datetime, bytes]]:
    """Time of collection and line of each record of a label file; a torn last line is left out."""
    year, month, day, hour = (int(part) for part in file.parts[-5:-1])
    begin = datetime(year, month, day, hour, tzinfo=UTC)
    with file.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n") and line.strip():
                yield _time(line) or begin, line


def label_files(home: Path, endpoint: str, since: datetime, until: datetime) -> list[tuple[datetime, Path]]:
    """The hour and path of the label files that were collected in hours that touch a time, in order."""
    root = folder(home, endpoint)
    found = files(str(root), since, until, lambda name: name.endswith(".jsonl") and not name.startswith("."))
    return [(at, path) for at, named in found for path in named.values()]


def prune(home: Path, rule: Retention, now: datetime, *, dry_run: bool = False) -> tuple[Item, ...]:
    """Remove label files that were collected long ago; returns what went, or would go."""
    return prune_hours(home / "labels", "*/", "*.jsonl", "labels", rule, now, dry_run=dry_run)


# ---- imports ----------------------------------------------------------------------------------------------


def _sources(source: str) -> list[tuple[str, Any]]:
    """Address and path of each file that is meant."""
    root = opened(source)
    if root.is_file():
        return [(str(root), root)]
    found = sorted(
        (str(path), path)
        for path in (root.rglob("*") if root.is_dir() else ())
        if path.suffix.lower() in ENDINGS and not path.name.startswith((".", "_")) and path.is_file()
    )
    if not found:
        raise DataRefused(f"{source}: there is no file of labels ({', '.join(ENDINGS)}); check the path")
    return found


def _collected(name: str) -> datetime | None:
    """The hour of a folder `yyyy/mm/dd/hh`."""
    if (match := _HOUR.search(str(PurePosixPath(name)))) is None:
        return None
    try:
        year, month, day, hour = (int(part) for part in match.groups())
        return datetime(year, month, day, hour, tzinfo=UTC)
    except ValueError:
        return None


def _keep(root: Path, file: Path, at: datetime, columns: Columns) -> Added:
    """Write the records of a file under the name of their digest, unless it is there."""
    notes, digest = _Notes(), sha256()
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=root, prefix=".import-", delete=False) as out:
        temporary = Path(out.name)
        try:
            for line in notes.good(_checked(read(file, columns), digest), at):
                out.write(line)
            out.flush()
            os.fsync(out.fileno())
            return _published(root, temporary, at, digest.hexdigest()[:32], notes)
        finally:
            temporary.unlink(missing_ok=True)


def _published(root: Path, temporary: Path, at: datetime, digest: str, notes: _Notes) -> Added:
    if not notes.accepted:
        return notes.added(files=1)
    if next(root.glob(f"{HOURS}/*-{digest}.jsonl"), None) is not None:
        return Added(refused=notes.refused, reasons=dict(notes.reasons), files=1, known=1)
    place = root / f"{at.astimezone(UTC):%Y/%m/%d/%H}"
    place.mkdir(parents=True, exist_ok=True)
    temporary.chmod(0o640)
    temporary.replace(place / f"{at.astimezone(UTC):%M-%S}-000-{digest}.jsonl")
    return notes.added(files=1)


def _checked(records: Iterable[dict[str, Any] | Bad], digest: Any = None) -> Iterator[bytes | Bad]:
    """Records as lines without a time of collection, and what holds no label."""
    held: list[dict[str, Any] | Bad] = []
    for record in records:
        held.append(record)
        if len(held) >= _CHECKED:
            yield from _weighed(held, digest)
            held = []
    yield from _weighed(held, digest)


def _weighed(records: Sequence[dict[str, Any] | Bad], digest: Any) -> Iterator[bytes | Bad]:
    made = [one if isinstance(one, Bad) else _line(one) for one in records]
    lines = [one for one in made if isinstance(one, bytes)]
    wholly = decode((_EPOCH, line) for line in lines).refused == 0
    for one in made:
        if isinstance(one, bytes) and not wholly and (found := decode([(_EPOCH, one)])).refused:
            yield Bad(found.problems[0].partition(": ")[2])
            continue
        if isinstance(one, bytes) and digest is not None:
            digest.update(one)
        yield one


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _line(record: dict[str, Any]) -> bytes | Bad:
    about = record.get("eventMetadata")
    if isinstance(about, dict):
        plain = {name: value for name, value in about.items() if name != _COLLECTED}
        record = {**record, "eventMetadata": plain}
    try:
        return orjson.dumps(record)
    except TypeError as error:
        return Bad(f"it cannot be written: {error}")


class _Notes:
    """Counts what is accepted and what is not, on the way."""

    def __init__(self) -> None:
        self.accepted = self.refused = 0
        self.reasons: Counter[str] = Counter()
        self.examples: list[tuple[int, str]] = []

    def good(self, lines: Iterable[bytes | Bad], at: datetime) -> Iterator[bytes]:
        """Lines with their time of collection and their end."""
        for number, one in enumerate(lines, start=1):
            if isinstance(one, bytes):
                self.accepted += 1
                yield _stamped(one, at)
                continue
            self.refused += 1
            self.reasons[one.reason if len(self.reasons) < REASONS else "other reasons"] += 1
            if len(self.examples) < REASONS:
                self.examples.append((number, one.reason))

    def added(self, files: int = 0) -> Added:
        """The counts."""
        return Added(self.accepted, self.refused, dict(self.reasons), tuple(self.examples), files)


def _stamped(line: bytes, at: datetime) -> bytes:
    record = orjson.loads(line)
    stamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record["eventMetadata"] = {**record["eventMetadata"], _COLLECTED: stamp}
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


_STAMP = re.compile(rb'"collectionTime":"([^"\\]*)"')


def _time(line: bytes) -> datetime | None:
    if (match := _STAMP.search(line)) is None:
        return None
    try:
        at = datetime.fromisoformat(match[1].decode())
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _sum(one: Added, other: Added) -> Added:
    return Added(
        one.accepted + other.accepted,
        one.refused + other.refused,
        dict(Counter(one.reasons) + Counter(other.reasons)),
        (*one.examples, *other.examples)[:REASONS],
        one.files + other.files,
        one.known + other.known,
    )


def _append(file: Path, lines: bytes) -> None:
    """Add whole lines to a file that several processes may write; what a dead one left torn stays alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        size = out.seek(0, os.SEEK_END)
        if size:
            out.seek(size - 1)
            lines = lines if out.read(1) == b"\n" else b"\n" + lines
        try:
            out.write(lines)
            out.flush()
            os.fsync(out.fileno())
        except OSError:
            os.ftruncate(out.fileno(), size)
            raise
