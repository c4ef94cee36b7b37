"""Rows as matrices, for what looks at whole rows: numbers as they are, texts as how frequent they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from monitoring.drift.distribution import Floats

if TYPE_CHECKING:
    import polars as pl

_LEARNT = 10_000
"""Rows of the baseline that are learned from, and as many that set limits, at most; evenly spaced."""
_TEXTS = 1000
"""Texts of a column whose shares are kept."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How one column becomes numbers."""

    name: str
    median: float | None = None
    """Numbers: put in place of missing and infinite ones."""
    frequencies: Mapping[str, float] | None = None
    """Texts: the share of each in the baseline; others, and missing ones, count 0, so that rare is far."""


def halves(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of a baseline to learn from, and as many between them that nobody learns from."""
    every = max(1, frame.height // (2 * _LEARNT))
    return frame.gather_every(2 * every), frame.gather_every(2 * every, every)


def learnt(frame: pl.DataFrame, columns: Sequence[str]) -> tuple[Encoding, ...]:
    """How these columns become numbers, from rows of the baseline."""
    return tuple(_learn(frame, name) for name in columns)


def _learn(frame: pl.DataFrame, name: str) -> Encoding:
    import polars as pl

    column = frame[name]
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        numbers = column.cast(pl.Float64).to_numpy()
        finite = numbers[np.isfinite(numbers)]
        return Encoding(name, median=float(np.median(finite)) if finite.size else 0.0)
    counted = column.drop_nulls().cast(pl.String).value_counts().sort("count", name, descending=[True, False])
    shares = counted.select(pl.col(name), pl.col("count") / max(1, column.len()))
    return Encoding(name, frequencies=dict(shares.head(_TEXTS).iter_rows()))


def matrix(columns: Sequence[Encoding], frame: pl.DataFrame) -> Floats:
    """Rows as numbers; a column that is missing or of another kind counts as missing throughout."""
    made = [_encoded(one, frame) for one in columns]
    return np.column_stack(made) if made else np.empty((frame.height, 0))


def _encoded(one: Encoding, frame: pl.DataFrame) -> Floats:
    import polars as pl

    if one.median is None:
        known = one.frequencies or {}
        if one.name not in frame.columns or not known or not _text_like(frame[one.name].dtype):
            return np.zeros(frame.height)
        texts = frame[one.name].cast(pl.String, strict=False)
        shares = texts.replace_strict(list(known), list(known.values()), default=0.0, return_dtype=pl.Float64)
        return shares.to_numpy().astype(float)
    if one.name not in frame.columns or not _number_like(frame[one.name].dtype):
        return np.full(frame.height, one.median)
    numbers = frame[one.name].cast(pl.Float64, strict=False).to_numpy().astype(float)
    kept = np.isfinite(numbers) & (np.abs(numbers) < np.finfo(np.float32).max)
    return np.where(kept, numbers, one.median)


def _number_like(dtype: pl.DataType) -> bool:
    import polars as pl

    return dtype.is_numeric() or dtype in {pl.Boolean, pl.String, pl.Null}


def _text_like(dtype: pl.DataType) -> bool:
    import polars as pl

    return not dtype.is_nested() and dtype != pl.Object


def document(columns: Sequence[Encoding]) -> list[dict[str, Any]]:
    """The encodings as JSON-able data."""
    return [
        {"name": one.name, "median": one.median}
        if one.frequencies is None
        else {"name": one.name, "frequencies": dict(one.frequencies)}
        for one in columns
    ]


def read(document: Sequence[Mapping[str, Any]]) -> tuple[Encoding, ...]:
    """Encodings from `document`."""
    return tuple(Encoding(one["name"], one.get("median"), one.get("frequencies")) for one in document)
