"""Data files of any size as one profile: CSV, Parquet and JSON Lines, alone or in folders, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from monitoring.profiles import Kind, Profile, scan
from steps import jsonlines, profiling
from steps.errors import DataRefused

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (".csv", ".parquet", ".pq", *jsonlines.ENDINGS)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which columns are looked at, and how."""

    exclude: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    """Columns that are numbers, whatever they look like."""
    categorical: tuple[str, ...] = ()
    """Columns that are counted by their values, also when these are numbers."""
    all_there: bool = True
    """Whether every name must be a column of the data."""

    @property
    def kinds(self) -> dict[str, Kind]:
        """As `monitoring.profiles.scan` takes them."""
        numbers: dict[str, Kind] = dict.fromkeys(self.numeric, "numeric")
        return numbers | dict.fromkeys(self.categorical, "categorical")

    def check(self, known: Sequence[str]) -> None:
        """Refuse names that the data do not have, and columns that shall be both.

        Raises:
            DataRefused: there is such a name.
        """
        if both := sorted({*self.numeric} & {*self.categorical}):
            raise DataRefused(f"{both[0]} cannot be numeric and categorical at once; name it once")
        named = (*self.exclude, *self.numeric, *self.categorical) if self.all_there else ()
        if strange := [name for name in named if name not in known]:
            raise DataRefused(f"the data have no column {strange[0]!r}; they have {_few(known)}")


def files(source: Path) -> tuple[Path, ...]:
    """The data files that are meant, those of a folder in order of their names.

    Raises:
        DataRefused: there is none.
    """
    if not source.exists():
        raise DataRefused(f"there is no {source}; check the path")
    if source.is_file():
        if source.suffix not in ENDINGS:
            raise DataRefused(f"{source.name}: data are read from {', '.join(ENDINGS)} files; convert it")
        return (source,)
    found = tuple(
        file for file in sorted(source.rglob("*")) if file.suffix in ENDINGS and _shown(file, source)
    )
    if not found:
        raise DataRefused(f"no file in {source} ends in {', '.join(ENDINGS)}; check the path")
    return found


def rows(listed: Sequence[Path]) -> int | None:
    """How many rows Parquet files say they have; None when others are among them, or one cannot tell."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if any(file.suffix not in {".parquet", ".pq"} for file in listed):
        return None
    try:
        return sum(int(pq.read_metadata(file).num_rows) for file in listed)
    except (pa.ArrowException, OSError):
        return None


def batches(listed: Sequence[Path]) -> Iterator[pl.DataFrame]:
    """The rows of all files in order, a bounded number at a time.

    Raises:
        DataRefused: a file cannot be read.
    """
    for file in listed:
        yield from jsonlines.batches(file) if file.suffix in jsonlines.ENDINGS else profiling.batches(file)


def profile(
    source: Path, choice: Choice | None = None, progress: Callable[[int, int | None], None] | None = None
) -> Profile:
    """The profile of a data file, or of all in a folder, in bounded memory.

    Args:
        source: the file or folder.
        choice: of columns; all, by what they look like, when None.
        progress: told rows so far, and of how many where that is known.

    Raises:
        DataRefused: something cannot be read, there is no row, or a chosen column is not there.
    """
    listed, choice = files(source), choice or Choice()
    known: dict[str, None] = {}
    every = rows(listed) if progress else None
    alike = len(listed) == 1 and listed[0].suffix not in jsonlines.ENDINGS

    def seen() -> Iterator[pl.DataFrame]:
        done = 0
        for frame in batches(listed):
            known.update(dict.fromkeys(frame.columns))
            if alike and not done:
                choice.check(frame.columns)  # a wrong name is told before all rows were read
            done += frame.height
            if progress:
                progress(done, every)
            yield frame.drop(choice.exclude, strict=False)

    found = scan.profile_batches(seen(), choice.kinds)
    if not found.rows or not known:
        raise DataRefused(f"{source} has no rows; give data with at least one")
    choice.check(tuple(known))
    if not found.columns:
        raise DataRefused("no column is left; exclude fewer")
    return found


def _shown(file: Path, below: Path) -> bool:
    hidden = any(part[0] in "._" for part in file.relative_to(below).parts)
    return file.is_file() and not hidden


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
