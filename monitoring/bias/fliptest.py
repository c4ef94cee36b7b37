"""Flip test: would rows of the facet get another prediction if they were of the other side?

Nearest neighbours among everybody else answer for them: five, or one when there are not more than nine rows.
Features count in their own units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from monitoring.bias.settings import BiasRefused, Mode

if TYPE_CHECKING:
    import polars as pl

NEIGHBOURS = 5
_FEW = 9
NOT_NUMERIC = "FlipTest does not support non-numeric columns"


@dataclass(frozen=True, slots=True)
class Flips:
    """What the test found."""

    value: float
    spread: float
    """Standard error, the neighbours being as they are."""
    asked: int
    """Rows of the facet that were looked at."""
    partly: bool
    """Not all rows were used: there were too many, or features were missing."""
    left_out: tuple[str, ...] = ()
    """Features that are no numbers."""


def flip_test(
    frame: pl.DataFrame,
    columns: Sequence[str],
    sides: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    predicted: NDArray[np.bool_],
    *,
    mode: Mode,
    rng: np.random.Generator,
    most: int,
) -> Flips:
    """Share of the facet's rows whose prediction flips, counted by direction.

    In exact mode above 0 means that rows of the facet were refused what their neighbours got, as the
    definition has it; Clarify's code has the opposite sign. Rows without all features are left out.

    Args:
        frame: all rows.
        columns: the features. Those that are no numbers are refused in clarify mode, else left out.
        sides: rows of the facet, and of everybody else.
        predicted: positive predictions.
        mode: decides the sign.
        rng: draws the sample.
        most: rows used on each side.

    Raises:
        BiasRefused: a side has no rows, or there are no features.
    """
    from sklearn.neighbors import KNeighborsClassifier

    usable, other = _usable(frame, columns, mode)
    (asked, questions), (fitted, known) = (
        _sample(frame, usable, np.flatnonzero(side), most, rng) for side in sides
    )
    if not len(asked) or not len(fitted):
        raise BiasRefused("Negated Facet set is empty" if len(asked) else "Facet set is empty")
    near = KNeighborsClassifier(n_neighbors=NEIGHBOURS if len(fitted) > _FEW else 1)
    near.fit(known, predicted[fitted])
    said, theirs, n = predicted[asked], near.predict(questions).astype(bool), len(asked)
    favoured, refused = int((said & ~theirs).sum()) / n, int((~said & theirs).sum()) / n
    value = favoured - refused
    spread = math.sqrt(max(0.0, favoured + refused - value**2) / n)
    partly = n < int(sides[0].sum()) or len(fitted) < int(sides[1].sum())
    return Flips(value if mode == "clarify" else -value, spread, n, partly, other)


def _usable(frame: pl.DataFrame, columns: Sequence[str], mode: Mode) -> tuple[list[str], tuple[str, ...]]:
    """The features that are numbers, and those that are not."""
    import polars as pl

    schema = frame.schema
    usable = [
        name
        for name in columns
        if name in schema and (schema[name].is_numeric() or schema[name] == pl.Boolean)
    ]
    other = tuple(name for name in columns if name not in usable)
    if not usable or (other and mode == "clarify"):
        raise BiasRefused(NOT_NUMERIC if other else "FlipTest needs features; name numeric columns")
    return usable, other


def _sample(
    frame: pl.DataFrame, columns: list[str], rows: NDArray[np.intp], most: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Some of the rows and their features."""
    import polars as pl

    if len(rows) > most:
        rows = np.sort(rng.choice(rows, most, replace=False))
    found = (
        frame.select(pl.col(columns))[rows].select(pl.all().cast(pl.Float64).fill_null(math.nan)).to_numpy()
    )
    whole = np.isfinite(found).all(axis=1)
    return rows[whole], found[whole]
