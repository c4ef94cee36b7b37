"""How a column tells groups of rows apart: by values, by a threshold, or each value on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from monitoring.bias.settings import BiasRefused, Facet, Mode, Outcome, Value
from monitoring.payloads import plain_label

if TYPE_CHECKING:
    import polars as pl

Type = Literal["boolean", "integer", "fractional", "text", "category"]
MOST_DISTINCT = 0.05
"""Whole numbers with a larger share of distinct values are continuous for Clarify."""
NO_THRESHOLD = "Threshold values must be provided for continuous features"
NO_NUMBER = "Facet/label value provided must be a single numeric threshold for continuous data"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the type rule needs to know of a column."""

    name: str
    type: Type
    distinct: int
    count: int
    """Values that are not missing."""
    numeric: bool
    """Numbers, or texts that are all numbers."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A column and what is chosen of it."""

    column: str
    type: Type
    values: tuple[Value, ...] = ()
    threshold: float | None = None

    @property
    def open(self) -> bool:
        """Nothing is chosen: each value is a group."""
        return not self.values and self.threshold is None

    def text(self) -> pl.Expr:
        """The value as text, as Python writes it; null where it is missing."""
        import polars as pl

        column = self._clean()
        if self.type == "boolean":
            return pl.when(column).then(pl.lit("True")).when(column.not_()).then(pl.lit("False"))
        return column.cast(pl.String)

    def present(self) -> pl.Expr:
        """Rows whose value says on which side they are."""
        return (self.number() if self.threshold is not None else self._clean()).is_not_null()

    def number(self) -> pl.Expr:
        """The value as a number; null where it is none."""
        import polars as pl

        column = pl.col(self.column)
        if self.type in {"text", "category"}:
            column = column.cast(pl.String).str.strip_chars()
        return column.cast(pl.Float64, strict=False).fill_nan(None)

    def chosen(self) -> pl.Expr:
        """True for rows of the group."""
        import polars as pl

        if self.threshold is not None:
            return self.number() > self.threshold
        if self.type in {"text", "category"}:
            return self._clean().cast(pl.String).is_in(sorted(_texts(self.values)))
        return self._clean().cast(pl.Float64).is_in(sorted(_numbers(self.values)))

    def key(self) -> pl.Expr:
        """Name of the group that a row belongs to; null for everybody else."""
        import polars as pl

        return self.text() if self.open else pl.when(self.chosen()).then(pl.lit(self.name))

    @property
    def name(self) -> str:
        """Of the group that is chosen."""
        return ",".join(map(str, self.values)) if self.threshold is None else f"> {self.threshold:g}"

    def title(self, highest: float | None) -> str:
        """`value_or_threshold`: the values, or `(threshold, highest]`.

        As Clarify has it, the ends change places when nobody is above the threshold.
        """
        if self.threshold is None:
            return self.name
        if highest is None or self.threshold == highest:
            return ""
        low, high = sorted((float(self.threshold), float(highest)))
        return f"({self._written(low)}, {self._written(high)}]"

    def _written(self, number: float) -> str:
        return str(int(number) if self.type == "integer" and number.is_integer() else number)

    def _clean(self) -> pl.Expr:
        import polars as pl

        column = pl.col(self.column)
        return column.fill_nan(None) if self.type == "fractional" else column


def look(frame: pl.DataFrame, name: str, called: str = "") -> Seen:
    """Describe a column.

    Args:
        frame: the rows.
        name: of the column.
        called: its name in errors; its own when empty.

    Raises:
        BiasRefused: there is no such column, or it holds neither numbers nor texts nor truth values.
    """
    import polars as pl

    if name not in frame.columns:
        known = [one for one in frame.columns if not one.startswith("@")]
        raise BiasRefused(
            f"there is no column {called or name!r}; the columns are {', '.join(known) or 'none'}"
        )
    column = frame[name]
    kind = _type(column.dtype)
    if kind is None:
        raise BiasRefused(
            f"{called or name} holds {column.dtype}; give a column of numbers, texts or truth values"
        )
    values = column.drop_nulls()
    if kind == "fractional":
        values = values.drop_nans()
    distinct, numeric = values.n_unique(), kind in {"integer", "fractional"}
    if kind == "text" and len(values):
        texts = values.cast(pl.String).unique().str.strip_chars()
        numeric = texts.cast(pl.Float64, strict=False).null_count() == 0
    return Seen(name, kind, distinct, len(values), numeric)


def continuous(seen: Seen, given: int, mode: Mode) -> bool:
    """Clarify's rule of what is a number and what a category.

    It takes a 0/1 label of up to 40 rows for continuous; in exact mode two values are always categories.
    """
    if mode == "exact" and seen.distinct <= 2:
        return False
    if seen.type in {"boolean", "category"} or given > 1 or not seen.numeric:
        return False
    if seen.type == "fractional":
        return True
    return seen.count > 0 and seen.distinct / seen.count >= MOST_DISTINCT


def of_facet(frame: pl.DataFrame, facet: Facet, mode: Mode) -> Choice:
    """What a facet chooses.

    Raises:
        BiasRefused: the column cannot be a facet in this way.
    """
    seen = look(frame, facet.name)
    if facet.threshold is not None:
        if not seen.numeric and seen.count:
            raise BiasRefused(f"{facet.name} holds no numbers; give values instead of a threshold")
        return Choice(facet.name, seen.type, (), float(facet.threshold))
    if facet.values and mode == "exact":
        return Choice(facet.name, seen.type, facet.values)
    if not continuous(seen, len(facet.values), mode):
        return Choice(facet.name, seen.type, facet.values)
    if not facet.values:
        raise BiasRefused(f"{facet.name}: {NO_THRESHOLD}; give one, or the values of the group")
    return Choice(facet.name, seen.type, (), _number(facet.values))


def of_outcome(seen: Seen, favourable: Sequence[Value], mode: Mode, outcome: Outcome = "auto") -> Choice:
    """Which outcomes are positive; Clarify does not know what `outcome` says, and goes by the rows.

    Raises:
        BiasRefused: a continuous outcome without a number as threshold.
    """
    by_rule = mode == "clarify" or outcome == "auto"
    if continuous(seen, len(favourable), mode) if by_rule else outcome == "threshold":
        return Choice(seen.name, seen.type, (), _number(favourable))
    return Choice(seen.name, seen.type, tuple(favourable))


def _number(values: Sequence[Value]) -> float:
    try:
        (only,) = values
        return float(only)
    except ValueError:
        raise BiasRefused(f"{NO_NUMBER}; give one number instead of {list(values)}") from None


def _type(kind: pl.DataType) -> Type | None:
    import polars as pl

    if kind == pl.Boolean:
        return "boolean"
    if kind.is_integer():
        return "integer"
    if kind.is_float() or isinstance(kind, pl.Decimal):
        return "fractional" if kind.is_float() else None
    if isinstance(kind, pl.Categorical | pl.Enum):
        return "category"
    return "text" if kind == pl.String or kind.is_temporal() or kind == pl.Null else None


def _texts(values: Sequence[Value]) -> set[str]:
    """Every way to write the values: 1, 1.0, "1" and true are one."""
    found = {str(value) for value in values}
    for plain in {plain_label(value) for value in values}:
        found.add(plain)
        if plain.lstrip("-").isdigit():
            found.add(f"{plain}.0")
        if plain in {"0", "1"}:
            word = "true" if plain == "1" else "false"
            found |= {word, word.capitalize(), word.upper()}
    return found


def _numbers(values: Sequence[Value]) -> set[float]:
    found = set()
    for plain in map(plain_label, values):
        try:
            number = float(plain)
        except ValueError:
            continue
        if not math.isnan(number):
            found.add(number)
    return found
