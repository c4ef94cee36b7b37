"""The tables that everybody gets, as Parquet: a baseline and a window to compare, and people for bias."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

NUMBERS, TEXTS = 14, 6
SHIFTED = frozenset({"n00", "n01", "n02"})
SHIFT = 0.6
"""Of the shifted columns, in standard deviations."""


def write(folder: Path, rows: int) -> None:
    """Put `reference.parquet`, `current.parquet` and `people.parquet` into a folder."""
    _drawn(rows, 1, 0).write_parquet(folder / "reference.parquet")
    _drawn(rows, 2, SHIFT).write_parquet(folder / "current.parquet")
    _people(rows, 3).write_parquet(folder / "people.parquet")


def _drawn(rows: int, seed: int, shift: float) -> pl.DataFrame:
    """Normal numbers, and texts with 3 to 43 different values."""
    rng = np.random.default_rng(seed)
    columns: dict[str, pl.Series] = {}
    for n in range(NUMBERS):
        name, wide = f"n{n:02d}", 1 + n / 5
        columns[name] = pl.Series(rng.normal(n + shift * wide * (name in SHIFTED), wide, rows))
    for n in range(TEXTS):
        many = 3 + 8 * n
        columns[f"c{n:02d}"] = pl.Series([f"k{k}" for k in range(many)]).gather(rng.integers(0, many, rows))
    return pl.DataFrame(columns)


def _people(rows: int, seed: int) -> pl.DataFrame:
    """Three facets (two values, three values, a number), a label, a prediction that is often right, groups."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["a", "b"], rows, p=[0.6, 0.4])
    origin = rng.choice(["x", "y", "z"], rows, p=[0.5, 0.3, 0.2])
    age = rng.uniform(18, 90, rows).round(1)
    label = rng.random(rows) < 0.4 + 0.1 * (sex == "a") - 0.1 * (origin == "z")
    wrong = rng.random(rows) < 0.15 + 0.05 * (age > 40)
    return pl.DataFrame(
        {
            "sex": sex,
            "origin": origin,
            "age": age,
            "label": label.astype(np.int64),
            "predicted": (label ^ wrong).astype(np.int64),
            "group": rng.integers(0, 5, rows),
            "amount": rng.normal(size=rows),
        }
    )
