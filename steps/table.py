"""The processed table as models see it: training rows, hold-out rows, and the matrix of features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.build import Features
from configs.project import Project
from steps.errors import DataRefused
from steps.process import TABLE

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray


def read(folder: Path) -> pl.DataFrame:
    """The table that the process step left in its folder."""
    import polars as pl

    return pl.read_parquet(folder / TABLE)


def split(table: pl.DataFrame, project: Project) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Training rows and hold-out rows.

    With a time column the hold-out is the latest share; rows of one instant stay together. Without one the
    rows are shuffled by the seed of the training.

    Raises:
        DataRefused: one part would be empty.
    """
    share, time = project.evaluate.holdout, project.data.time
    cut = min(max(1, round(table.height * (1 - share))), table.height - 1)
    if time is None:
        shuffled = table.sample(fraction=1.0, shuffle=True, seed=project.train.seed)
        parts = shuffled[:cut], shuffled[cut:]
    else:
        ordered = table.sort(time, maintain_order=True)
        cut = _between_instants(ordered[time], cut)
        parts = ordered[:cut], ordered[cut:]
    if parts[0].is_empty() or parts[1].is_empty():
        raise DataRefused(
            f"evaluate.holdout: {share:.3g} of {table.height} rows leaves no training or no hold-out rows"
            + (f", because too many rows share one value of {time}" if time else "")
            + "; give more data or another share"
        )
    return parts


def matrix(table: pl.DataFrame, features: Features) -> NDArray[Any]:
    """Rows as an array in model order: numeric columns, then categorical ones.

    Numbers with NaN for missing; the array holds objects when there is text, with "" for missing. Every model
    is fitted and called on such arrays, by position, so that a model server needs no data frame library.
    """
    import numpy as np
    import polars as pl

    numbers = table.select(pl.col(features.numeric).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    if not features.categorical:
        return numbers
    made: NDArray[np.object_] = np.empty((table.height, len(columns(features))), dtype=object)
    made[:, : len(features.numeric)] = numbers
    for position, name in enumerate(features.categorical, start=len(features.numeric)):
        made[:, position] = table[name].fill_null("").to_list()
    return made


def columns(features: Features) -> tuple[str, ...]:
    """Names of the inputs in model order."""
    return features.numeric + features.categorical


def inputs(table: pl.DataFrame, features: Features) -> list[dict[str, Any]]:
    """The inputs as the package manifest lists them: a column never missing in `table` is required."""
    return [
        {"name": name, "type": "double", "required": table[name].null_count() == 0}
        for name in features.numeric
    ] + [
        {"name": name, "type": "string", "required": not bool((table[name] == "").any())}
        for name in features.categorical
    ]


def _between_instants(times: pl.Series, cut: int) -> int:
    """The cut nearest to `cut` that no two equal values straddle."""
    if cut <= 0:
        return 0
    at = times[cut]
    first = int(times.search_sorted(at, side="left"))
    after = int(times.search_sorted(at, side="right"))
    later = after if after < len(times) else first
    return first if first and cut - first <= later - cut else later
