"""Features of a flip test as numbers, so that rows have a distance.

Numbers count in their own units. In exact mode a text becomes one column for each of its values: two
different texts are as far apart as two numbers that differ by one. Clarify refuses texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from monitoring.bias.settings import BiasRefused, Mode

if TYPE_CHECKING:
    import polars as pl

MOST_TEXTS = 100
"""Values of a text that are told apart; a column with more, such as a name, is left out."""
NOT_NUMERIC = "FlipTest does not support non-numeric columns"
_APART = math.sqrt(0.5)


@dataclass(frozen=True, slots=True)
class Features:
    """Which columns count, and how."""

    numbers: tuple[str, ...]
    """Columns of numbers and truth values."""
    texts: Mapping[str, tuple[str, ...]]
    """Columns of texts with their values; a missing one is the empty text."""
    left_out: tuple[str, ...]
    """What is not there, and what holds something else or too many texts."""

    @classmethod
    def of(cls, frame: pl.DataFrame, columns: Sequence[str], mode: Mode) -> Self:
        """Choose among the columns.

        Raises:
            BiasRefused: nothing is left, or in clarify mode a column holds no numbers.
        """
        import polars as pl

        schema = frame.schema
        numbers = tuple(
            name
            for name in columns
            if name in schema and (schema[name].is_numeric() or schema[name] == pl.Boolean)
        )
        found = {} if mode == "clarify" else _texts(frame, [name for name in columns if name not in numbers])
        left_out = tuple(name for name in columns if name not in numbers and name not in found)
        if (not numbers and not found) or (left_out and mode == "clarify"):
            raise BiasRefused(NOT_NUMERIC if left_out else "FlipTest needs features; name columns")
        return cls(numbers, found, left_out)

    def matrix(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """One row for each row; missing numbers are NaN."""
        import polars as pl

        numbers = frame.select(pl.col(self.numbers).cast(pl.Float64).fill_null(math.nan)).to_numpy()
        blocks = [numbers.reshape(frame.height, len(self.numbers))]
        for name, values in self.texts.items():
            places = {value: place for place, value in enumerate(values)}
            codes = _plain(frame[name]).replace_strict(places, return_dtype=pl.Int64).to_numpy()
            blocks.append(np.eye(len(values))[codes] * _APART)
        return np.hstack(blocks)


def _texts(frame: pl.DataFrame, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    import polars as pl

    found = {}
    for name in columns:
        kind = frame.schema.get(name)
        if kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum):
            values = _plain(frame[name]).unique()
            if len(values) <= MOST_TEXTS:
                found[name] = tuple(values.sort().to_list())
    return found


def _plain(column: pl.Series) -> pl.Series:
    import polars as pl

    return column.cast(pl.String).fill_null("")
