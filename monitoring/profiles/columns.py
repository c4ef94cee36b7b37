"""What a profile knows of one column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

from monitoring.profiles.categories import FEW, Categories
from monitoring.profiles.moments import Moments
from monitoring.profiles.quantiles import Quantiles, union
from monitoring.profiles.typecounts import Type, TypeCounts

Kind = Literal["numeric", "categorical"]


@dataclass(frozen=True, slots=True)
class Numeric:
    """The numbers of a column; moments and quantiles are of the finite ones, of which there may be none."""

    moments: Moments
    quantiles: Quantiles
    infinite: int = 0
    """Infinite ones: present, and neither in the moments nor in the quantiles."""

    @classmethod
    def union(cls, parts: Sequence[Numeric]) -> Numeric:
        """Numbers of all together."""
        return cls(
            reduce(Moments.merge, [part.moments for part in parts]),
            union([part.quantiles for part in parts]),
            sum(part.infinite for part in parts),
        )


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column over some rows.

    Null and NaN are missing. Infinity and the empty text are present.
    """

    name: str
    present: int
    missing: int
    types: TypeCounts = field(default_factory=TypeCounts)
    """Of the present values; their sum is `present`."""
    numeric: Numeric | None = None
    """None when no value is a number, or when the column was declared categorical."""
    categories: Categories | None = None
    """None for a numeric column with more than 50 distinct numbers, and when no value is present."""

    @property
    def rows(self) -> int:
        """Rows that were seen."""
        return self.present + self.missing

    @property
    def completeness(self) -> float:
        """Share of present values, from 0 to 1; 1 without rows."""
        return self.present / self.rows if self.rows else 1.0

    @property
    def inferred_type(self) -> Type:
        """Integral, Fractional, String, Boolean, or Unknown without values."""
        return self.types.inferred

    @property
    def kind(self) -> Kind:
        """How to compare it: by its distribution of numbers or by its categories.

        Text columns carry both; they are numeric when every value has the form of a number.
        """
        if self.numeric is None:
            return "categorical"
        numbers = self.inferred_type in {"Integral", "Fractional"}
        return "numeric" if self.categories is None or numbers else "categorical"

    def merge(self, other: ColumnProfile) -> ColumnProfile:
        """The column over the rows of both."""
        return ColumnProfile.union((self, other))

    @classmethod
    def union(cls, parts: Sequence[ColumnProfile]) -> ColumnProfile:
        """The column over the rows of all; it has the first one's name."""
        numbers = [part.numeric for part in parts if part.numeric is not None]
        return cls(
            parts[0].name,
            sum(part.present for part in parts),
            sum(part.missing for part in parts),
            reduce(TypeCounts.merge, [part.types for part in parts]),
            Numeric.union(numbers) if numbers else None,
            _categories([part for part in parts if part.present]),
        )


def _categories(parts: Sequence[ColumnProfile]) -> Categories | None:
    """Counts of all; None as soon as one has values without counts, or with too many distinct numbers."""
    counted = [part.categories for part in parts if part.categories is not None]
    if not counted or len(counted) < len(parts):
        return None
    merged = reduce(Categories.merge, counted)
    return None if merged.cap == FEW and not merged.exact else merged
