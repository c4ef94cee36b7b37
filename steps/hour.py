"""One hour of decoded traffic on disk: rows, their profile, and a seal that says what they were read from.

`rows.parquet` carries the seal inside and is replaced in one step, so it is what counts: a profile or a
`seal.json` beside it that does not belong to it, since a process died in between, is made again from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitoring.profiles import Kind, Profile, scan
from monitoring.records.columns import aligned
from monitoring.rows import META, PREDICTED, SCORE

if TYPE_CHECKING:
    import polars as pl

ROWS, JOINED, PROFILE, SEAL = "rows.parquet", "joined.parquet", "profile.bin", "seal.json"
FORMAT = 1
HOURS = "[0-9]" * 4 + "/[0-9][0-9]" * 3
"""Pattern of the folders of the hours."""
_KEY = "seaway.seal"
"""Entry of the Parquet file's metadata."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What an hour was made of."""

    reading: str
    """Digest of how captures were read."""
    files: tuple[str, ...] = ()
    """Names of the capture files, sorted."""
    records: int = 0
    rows: int = 0
    dropped: int = 0
    """Records that the project's handler left out."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Records that could not be read, or not wholly, by part and reason."""
    examples: tuple[Mapping[str, str], ...] = ()
    """The first of them: `event_id`, `part`, `reason`."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Capture files that could not be read, and why; they are tried again."""
    profile: str = ""
    """sha256 of `profile.bin`; only in `seal.json`."""

    @property
    def generation(self) -> str:
        """Changes whenever the rows do."""
        return sha256("\n".join([self.reading, *self.files]).encode()).hexdigest()[:32]

    def text(self) -> str:
        """As JSON."""
        return json.dumps({"format": FORMAT, "generation": self.generation, **asdict(self)}, indent=1)


@dataclass(frozen=True, slots=True)
class Hour:
    """The folder of one hour of one variant."""

    folder: Path

    @property
    def at(self) -> datetime:
        """When it begins."""
        year, month, day, hour = (int(part) for part in self.folder.parts[-4:])
        return datetime(year, month, day, hour, tzinfo=UTC)

    @property
    def rows(self) -> Path:
        """The file of the rows, as they were asked and answered."""
        return self.folder / ROWS

    @property
    def joined(self) -> Path:
        """The file of the rows with labels."""
        return self.folder / JOINED

    def seal(self) -> Seal | None:
        """The seal inside the rows; None when there are none, or others have written them."""
        return _parsed(stamp(self.rows, _KEY))

    def profile(self, kinds: Mapping[str, Kind]) -> Profile:
        """The profile of inputs, predicted label and score; made from the rows when the file is not theirs.

        Args:
            kinds: of the inputs.
        """
        if (content := self._whole()) is not None:
            return Profile.from_bytes(content)
        return profiled(batches(self.rows), kinds)

    def write(self, parts: Sequence[Path], seal: Seal, profile: Callable[[], Profile]) -> None:
        """Replace the hour by the rows of Parquet files, in one step, in bounded memory."""
        sink(parts, self.rows, {_KEY: seal.text()})
        self.finish(seal, profile())

    def finish(self, seal: Seal, profile: Profile) -> None:
        """Write what stands beside the rows."""
        content = profile.to_bytes()
        replaced(self.folder / PROFILE, content)
        sealed = replace(seal, profile=sha256(content).hexdigest())
        replaced(self.folder / SEAL, (sealed.text() + "\n").encode())

    def finished(self) -> bool:
        """Whether all that stands beside the rows belongs to them."""
        return self._whole() is not None

    def _whole(self) -> bytes | None:
        """The profile's file, if it and `seal.json` belong to the rows."""
        with suppress(FileNotFoundError):
            content = (self.folder / PROFILE).read_bytes()
            beside = _parsed((self.folder / SEAL).read_text())
            own = beside is not None and beside.profile == sha256(content).hexdigest()
            if beside and own and replace(beside, profile="") == self.seal():
                return content
        return None


def hours_below(variant: Path, since: datetime, until: datetime) -> list[Hour]:
    """The hours of a variant's folder that touch a time and have rows, in order."""
    found = [Hour(file.parent) for file in variant.glob(f"{HOURS}/{ROWS}")]
    return sorted((one for one in found if _touches(one.at, since, until)), key=lambda one: one.at)


def _touches(at: datetime, since: datetime, until: datetime) -> bool:
    return since.timestamp() - 3600 < at.timestamp() < until.timestamp()


def profiled(frames: Iterator[pl.DataFrame], kinds: Mapping[str, Kind]) -> Profile:
    """The profile of inputs, predicted label and score of batches of rows."""
    return scan.profile_batches((measured(frame) for frame in frames), kinds)


def measured(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that a profile is made of; lists of probabilities are not."""
    import polars as pl

    extra = {PREDICTED, SCORE} & set(frame.columns)
    extra = {name for name in extra if not isinstance(frame.schema[name], pl.List)}
    return frame.select(name for name in frame.columns if name not in META or name in extra)


def batches(file: Path) -> Iterator[pl.DataFrame]:
    """The rows of a Parquet file, a bounded number at a time."""
    import polars as pl

    yield from pl.scan_parquet(file).collect_batches(chunk_size=1 << 17, maintain_order=True)


def sink(parts: Sequence[Path], file: Path, metadata: dict[str, str]) -> None:
    """Write the rows of Parquet files below one another, columns by name; in one step and bounded memory."""
    import polars as pl

    written(pl.concat(aligned([pl.scan_parquet(part) for part in parts])), file, metadata)


def written(rows: pl.LazyFrame, file: Path, metadata: dict[str, str]) -> None:
    """Write rows as Parquet, in one step and bounded memory."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(file)
    try:
        rows.sink_parquet(temporary, metadata=metadata, compression="zstd", maintain_order=True)
        _publish(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def replaced(file: Path, content: bytes) -> None:
    """Write a file in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(file)
    try:
        temporary.write_bytes(content)
        _publish(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def stamp(file: Path, key: str) -> str:
    """An entry of a Parquet file's metadata; empty when there is no such file or entry."""
    import polars as pl

    try:
        return str(pl.read_parquet_metadata(file).get(key, ""))
    except (FileNotFoundError, pl.exceptions.PolarsError):
        return ""


def _temporary(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}.part")


def _publish(temporary: Path, file: Path) -> None:
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(file)


def _parsed(text: str) -> Seal | None:
    try:
        found: dict[str, Any] = json.loads(text)
        if found.pop("format") != FORMAT:
            return None
        found.pop("generation")
        return Seal(**found | {"files": tuple(found["files"]), "examples": tuple(found["examples"])})
    except (ValueError, KeyError, TypeError):
        return None
