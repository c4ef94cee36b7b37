"""Rows of a comparison grouped by the value of one input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SHOWN = 12
"""Slices that a report lists."""
OTHER = "other values"


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows that share a value of an input."""

    value: str
    rows: int
    differences: int
    flips: int
    mean_difference: float
    """Mean of the score differences, candidate minus champion; 0 without any."""
    champion_better: int
    """Labelled rows on which only, or rather, the champion is right."""
    candidate_better: int


@dataclass(slots=True)
class Group:
    """What is counted of the rows with one value."""

    rows: int = 0
    differences: int = 0
    flips: int = 0
    moved: float = 0.0
    better: list[int] = field(default_factory=lambda: [0, 0])


def key(value: Any) -> Any:
    """The value under which a row is counted: itself when it is plain, None when missing, else its text."""
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, str | int | float) else str(value)


def slices(groups: Mapping[Any, Group]) -> tuple[Slice, ...]:
    """Slices with the most rows, the others in one; numbers of many values in four ranges.

    Without any slicing all rows are in the group of "".
    """
    if set(groups) <= {""}:
        return ()
    named = _binned(groups) if _numeric(groups) else [(_named(value), one) for value, one in groups.items()]
    named.sort(key=lambda one: -one[1].rows)
    rest = [group for _, group in named[SHOWN - 1 :]]
    if len(rest) > 1:
        named = [*named[: SHOWN - 1], (OTHER, _sum(rest))]
    return tuple(_slice(value, group) for value, group in named)


def _numeric(groups: Mapping[Any, Group]) -> bool:
    numbers = [value for value in groups if isinstance(value, int | float) and not isinstance(value, bool)]
    return len(numbers) > SHOWN and len(numbers) >= len(groups) - 2


def _binned(groups: Mapping[Any, Group]) -> list[tuple[str, Group]]:
    """Ranges with about a quarter of the rows each, and what is no number."""
    numbers = sorted(value for value in groups if isinstance(value, int | float))
    total = sum(groups[value].rows for value in numbers)
    ranges: list[list[float]] = [[], [], [], []]
    seen = 0
    for value in numbers:
        ranges[min(3, 4 * seen // max(total, 1))].append(value)
        seen += groups[value].rows
    made = [(f"{one[0]:g} to {one[-1]:g}", _sum([groups[value] for value in one])) for one in ranges if one]
    strange = [group for value, group in groups.items() if value not in set(numbers)]
    return [*made, (_named(None), _sum(strange))] if strange else made


def _named(value: Any) -> str:
    return (
        "missing"
        if value is None or value == ""
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _sum(groups: Sequence[Group]) -> Group:
    return Group(
        rows=sum(group.rows for group in groups),
        differences=sum(group.differences for group in groups),
        flips=sum(group.flips for group in groups),
        moved=sum(group.moved for group in groups),
        better=[sum(group.better[side] for group in groups) for side in (0, 1)],
    )


def _slice(value: str, group: Group) -> Slice:
    return Slice(
        value=value,
        rows=group.rows,
        differences=group.differences,
        flips=group.flips,
        mean_difference=group.moved / group.rows,
        champion_better=group.better[0],
        candidate_better=group.better[1],
    )
