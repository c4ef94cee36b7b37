"""Rows of a table as the model takes them, and the sample of them that is explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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
    if missing := [one.name for one in manifest.inputs if one.name not in rows.columns]:
        raise DataRefused(f"the rows have no {', '.join(missing)}; give every input of the model")
    columns = columns_of(rows, manifest)
    usable = np.ones(rows.height, dtype=bool)
    for item in manifest.inputs:
        if item.required:
            usable &= ~_missing(columns[item.name])
    places = np.flatnonzero(usable)
    if not len(places):
        raise DataRefused("no row has all inputs that the model requires; give other rows")
    notes = []
    if left := rows.height - len(places):
        notes.append(f"{left} rows lack an input that the model requires and were not explained")
    if len(places) > most:
        places = np.sort(np.random.default_rng(seed).choice(places, most, replace=False))
    return tuple(places.tolist()), {name: values[places] for name, values in columns.items()}, notes


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
