"""Files to a profile: Parquet and CSV of any size, a part at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitoring.profiles import Kind, Profile, scan
from steps.errors import DataRefused

if TYPE_CHECKING:
    import polars as pl

ROWS = 1 << 17
"""Rows that are read at once."""
_BLOCK = 16 << 20
"""Bytes of a CSV file that are read at once."""
_WINDOW = 1 << 20
"""Bytes of a Parquet column that are read at once."""
_READ = (".parquet", ".pq", ".csv")


def profile(
    sources: Path | Sequence[Path],
    kinds: Mapping[str, Kind] | None = None,
    *,
    threads: int = scan.THREADS,
    progress: Callable[[int], None] | None = None,
) -> Profile:
    """The profile of the rows of all files.

    Parquet is read by row groups and CSV by blocks, so that memory depends on neither rows nor files. CSV
    needs a header line; its cells are text and typed each by its form, an empty cell is missing and a quoted
    empty one is not. Declaring the kinds of CSV columns is several times as fast as having them inferred.

    Args:
        sources: files, or folders with files below them; hidden ones are left out.
        kinds: as of `scan.profile`.
        threads: columns that are worked on at a time.
        progress: told the rows so far, now and then.

    Raises:
        DataRefused: there is no such file, or one cannot be read.
    """
    return scan.profile_batches(batches(sources), kinds, threads=threads, progress=progress)


def batches(sources: Path | Sequence[Path]) -> Iterator[pl.DataFrame]:
    """The rows of all files in order, a bounded number at a time.

    Raises:
        DataRefused: there is no such file, or one cannot be read.
    """
    for file in files(sources):
        yield from (_csv if file.suffix == ".csv" else _parquet)(file)


def files(sources: Path | Sequence[Path]) -> tuple[Path, ...]:
    """The Parquet and CSV files that are meant, those of a folder in order of their names.

    Raises:
        DataRefused: there are none, or one is missing.
    """
    asked = [sources] if isinstance(sources, Path) else list(sources)
    found = [file for source in asked for file in (_below(source) if source.is_dir() else [source])]
    if strange := [file for file in found if not file.is_file() or file.suffix not in _READ]:
        raise DataRefused(
            f"{strange[0]} is no Parquet or CSV file; give files that end in {', '.join(_READ)}"
        )
    if not found:
        places = ", ".join(str(source) for source in asked) or "nowhere"
        raise DataRefused(f"no Parquet or CSV file lies in {places}; check the path")
    return tuple(found)


def _below(folder: Path) -> list[Path]:
    seen = sorted(file for file in folder.rglob("*") if file.suffix in _READ and file.is_file())
    hidden = [file for file in seen if any(part[0] in "._" for part in file.relative_to(folder).parts)]
    return [file for file in seen if file not in set(hidden)]


def _parquet(file: Path) -> Iterator[pl.DataFrame]:
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, buffer_size=_WINDOW, pre_buffer=False) as source:
            for batch in source.iter_batches(ROWS):
                yield _frame(pl.from_arrow(batch))
    except (pa.ArrowException, OSError) as error:
        raise DataRefused(f"{file} cannot be read as Parquet ({_brief(error)}); write it again") from error


def _csv(file: Path) -> Iterator[pl.DataFrame]:
    import polars as pl
    import pyarrow as pa
    from pyarrow import csv

    read = csv.ReadOptions(block_size=_BLOCK)
    try:
        with csv.open_csv(file, read) as source:
            names = source.schema.names
        if double := [name for name, same in groupby(sorted(names)) if len(list(same)) > 1]:
            raise DataRefused(f"{file} has two columns {double[0]!r}; give each column its own name")
        convert = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.large_string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        with csv.open_csv(file, read, csv.ParseOptions(newlines_in_values=True), convert) as source:
            for batch in source:
                yield _frame(pl.from_arrow(batch))
    except (pa.ArrowException, OSError) as error:
        raise DataRefused(f"{file} cannot be read as CSV ({_brief(error)}); repair it") from error


def _frame(read: Any) -> pl.DataFrame:
    import polars as pl

    return read if isinstance(read, pl.DataFrame) else pl.DataFrame(read)


def _brief(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
