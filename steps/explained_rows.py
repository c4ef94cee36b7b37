"""Rows of a table as the model takes them, and the sample of them that is explained."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from monitoring.rows import AT, EVENT_ID, ROW
from serving.codecs import Columns
from serving.manifest import Manifest
from steps.errors import DataRefused

if TYPE_CHECKING:
    import polars as pl


def picked(
    rows: pl.DataFrame, manifest: Manifest, most: int, seed: int
) -> tuple[tuple[int, ...], Columns, list[str]]:
    """Places and columns of at most so many rows that the model can answer, and what was left out.

    Rows that lack a required input are no rows for the model. Equal arguments give equal rows.

    Raises:
        DataRefused: an input is not there, or no row is left.
    """
    _check(rows.columns, manifest)
    columns = columns_of(rows, manifest)
    places = np.flatnonzero(_usable(columns, manifest))
    if not len(places):
        raise DataRefused(_NONE)
    notes = []
    if left := rows.height - len(places):
        notes.append(_left_out(left))
    if len(places) > most:
        places = np.sort(np.random.default_rng(seed).choice(places, most, replace=False))
    return tuple(places.tolist()), {name: values[places] for name, values in columns.items()}, notes


def sampled(
    rows: pl.LazyFrame, manifest: Manifest, most: int, seed: int
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """At most so many rows that the model can answer, of a table of any length, and what was left out.

    A row is chosen by its event id and its place in the request, so that equal rows give an equal sample in
    whatever files or order they come. Memory holds the sample and a part of the table.

    Raises:
        DataRefused: an input is not there, or no row is left.
    """
    import polars as pl

    _check(rows.collect_schema().names(), manifest)
    kept, left = rows.limit(0).with_columns(pl.lit(0, pl.UInt64).alias(_DRAWN)).collect(), 0
    for batch in rows.collect_batches(chunk_size=_AT_ONCE, maintain_order=True):
        usable = batch.filter(_usable(columns_of(batch, manifest), manifest))
        left += batch.height - usable.height
        drawn = usable.with_columns(_drawn(usable, seed))
        if kept.height == most:
            drawn = drawn.filter(pl.col(_DRAWN) < kept[_DRAWN].max())
        kept = pl.concat([kept, drawn]).sort(_DRAWN, EVENT_ID, ROW).head(most)
    if not kept.height:
        raise DataRefused(_NONE)
    found = kept.drop(_DRAWN).sort(AT, EVENT_ID, ROW)
    return found, (_left_out(left),) if left else ()


_AT_ONCE = 1 << 16
"""Rows that are looked at together."""
_DRAWN = "@drawn"
_NONE = "no row has all inputs that the model requires; give other rows"


def _drawn(rows: pl.DataFrame, seed: int) -> pl.Series:
    """A number for each row that depends on nothing but its ids and the seed."""
    import polars as pl

    ids = zip(rows[EVENT_ID].to_list(), rows[ROW].to_list(), strict=True)
    digests = (sha256(f"{seed}:{event}:{row}".encode()).digest() for event, row in ids)
    return pl.Series(_DRAWN, [int.from_bytes(digest[:8], "big") for digest in digests], pl.UInt64)


def _check(names: Sequence[str], manifest: Manifest) -> None:
    if missing := [one.name for one in manifest.inputs if one.name not in names]:
        raise DataRefused(f"the rows have no {', '.join(missing)}; give every input of the model")


def _usable(columns: Columns, manifest: Manifest) -> npt.NDArray[np.bool_]:
    """Rows with every input that the model requires."""
    usable = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for item in manifest.inputs:
        if item.required:
            usable &= ~_missing(columns[item.name])
    return usable


def _left_out(rows: int) -> str:
    return f"{rows} rows lack an input that the model requires and were not explained"


def columns_of(rows: pl.DataFrame, manifest: Manifest) -> Columns:
    """A table as the model server decodes requests: what is no number, or none that fits, is missing."""
    import polars as pl

    found: dict[str, npt.NDArray[Any]] = {}
    for item in manifest.inputs:
        given = rows[item.name]
        if item.type == "double":
            found[item.name] = _numbers(given, np.dtype(manifest.number_type)).reshape(-1, 1)
            continue
        texts = given.to_list() if given.dtype.is_nested() else given.cast(pl.String, strict=False).to_list()
        column = np.empty(len(texts), dtype=object)
        column[:] = ["" if value is None else str(value) for value in texts]
        found[item.name] = column.reshape(-1, 1)
    return found


def _numbers(given: pl.Series, wanted: np.dtype[Any]) -> npt.NDArray[Any]:
    import polars as pl

    try:
        values = given.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    except pl.exceptions.PolarsError:  # lists and the like are no numbers
        return np.full(len(given), np.nan, dtype=wanted)
    with np.errstate(over="ignore"):
        column = values.astype(wanted)
    return np.where(np.isfinite(column), column, np.array(np.nan, dtype=wanted))


def _missing(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    flat = values[:, 0]
    return np.isnan(flat) if flat.dtype.kind == "f" else np.asarray(flat == "", dtype=bool)
