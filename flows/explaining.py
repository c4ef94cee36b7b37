"""What a registered version relies on, over the rows of a file; without Prefect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.replaying import side
from flows.wiring import Wiring
from steps import clarify_files
from steps.attributions import Model, Wish, dependences, local, silent
from steps.errors import DataRefused

if TYPE_CHECKING:
    import polars as pl

    from monitoring.explain import Attributions, Dependence


@dataclass(frozen=True, slots=True)
class Explained:
    """The outcome, and where its files are."""

    attributions: Attributions
    dependences: tuple[Dependence, ...]
    files: dict[str, Path]


@dataclass(frozen=True, slots=True)
class Order:
    """What to explain, and where to."""

    model: str
    """Registered model."""
    version: str
    data: Path
    """Rows with the model's inputs."""
    folder: Path
    """Where the files go."""
    wish: Wish
    top: int = 10
    """Partial dependence of so many features with the largest share."""


def explain(wiring: Wiring, order: Order, progress: Callable[[int, int], object] = silent) -> Explained:
    """Explain a version and write the files that Clarify writes.

    `progress` is told how many rows are explained, and of how many.

    Raises:
        registry.errors.NotFound: no such version.
        DataRefused: the file cannot be read, or the version cannot be explained with it.
    """
    rows = read(order.data)
    packed = Model.load(side(wiring, order.model, order.version).folder)
    found = local(packed, rows, order.wish, progress)
    summary = found.summary()
    shown = dependences(packed, rows, summary.top(order.top), order.wish)
    return Explained(summary, shown, clarify_files.write(order.folder, found, shown))


def read(data: Path) -> pl.DataFrame:
    """A table from a CSV, Parquet or JSON Lines file.

    Raises:
        DataRefused: it is none of these, or cannot be read.
    """
    import polars as pl

    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".csv": lambda path: pl.read_csv(path, infer_schema_length=None),
        ".parquet": pl.read_parquet,
        ".jsonl": lambda path: pl.read_ndjson(path, infer_schema_length=None),
    }
    reader = readers.get(data.suffix.lower())
    if reader is None:
        raise DataRefused(f"{data.name} is of no known kind; give a file in {', '.join(readers)}")
    try:
        return reader(data)
    except (OSError, pl.exceptions.PolarsError) as error:
        line = " ".join(str(error).split())[:200]
        raise DataRefused(f"{data.name} cannot be read: {line}") from error
