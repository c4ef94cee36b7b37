"""How many values look like which type, by the patterns that Model Monitor's engine uses.

Each value counts on its own. A number counts by whether it has a fraction, however it is stored, for callers
write 3 and 3.0 for the same. Text counts by its form: `1` is Integral, `1.0` and `1e5` are Fractional, `true`
is Boolean, and `1.`, `.5`, `True`, `NaN`, `inf`, `1,000` and the empty text are String.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Type = Literal["Integral", "Fractional", "Boolean", "String", "Unknown"]

FRACTIONAL = r"\A[-+]? ?[0-9]+(?:\.[0-9]+|(?:\.[0-9]+)?[Ee][-+]?[0-9]+)\z"
INTEGRAL = r"\A[-+]? ?[0-9]+\z"
BOOLEAN = r"\A(?:true|false)\z"
"""In the syntax of polars; each matches a whole value."""


@dataclass(frozen=True, slots=True)
class TypeCounts:
    """Present values by type."""

    integral: int = 0
    fractional: int = 0
    boolean: int = 0
    string: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.integral + self.fractional + self.boolean + self.string

    @property
    def inferred(self) -> Type:
        """The type of the column.

        Without values it is Unknown. Any text, or truth values among numbers, make it String; any fraction
        among numbers makes it Fractional.
        """
        if not self.total:
            return "Unknown"
        numbers = self.integral + self.fractional
        if self.string or (self.boolean and numbers):
            return "String"
        if self.boolean:
            return "Boolean"
        return "Fractional" if self.fractional else "Integral"

    def count(self, kind: Type) -> int:
        """Values of one type; none are Unknown."""
        return {
            "Integral": self.integral,
            "Fractional": self.fractional,
            "Boolean": self.boolean,
            "String": self.string,
        }.get(kind, 0)

    def merge(self, other: TypeCounts) -> TypeCounts:
        """Counts of both together."""
        return TypeCounts(
            self.integral + other.integral,
            self.fractional + other.fractional,
            self.boolean + other.boolean,
            self.string + other.string,
        )
