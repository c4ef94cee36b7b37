"""What else stands out in a window, beyond the constraints: extensions that Model Monitor has not.

None of them is a violation; each is a sentence for a person, marked with its kind. Columns that were renamed,
reordered, became constant or empty, changed their unit, or bring categories that the baseline never saw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitoring.drift import distances, distribution
from monitoring.drift.checks import NUMBERS, new_columns
from monitoring.drift.comparison import curve
from monitoring.drift.constraints import Constraints
from monitoring.profiles import Categories, ColumnProfile, Profile

Kind = Literal["renamed", "reordered", "constant", "empty", "unit", "new categories", "infinite"]

ALIKE = 0.05
"""Largest distance at which a new column may be a missing one under another name."""
ENOUGH = 100
"""Values on both sides before a rename or a change of unit is guessed."""
CLOSE = 0.02
"""How near, as a share, a ratio of medians must come to a known factor."""
UNITS = {
    2.54: "inches and centimetres",
    0.3048: "feet and metres",
    1.609344: "miles and kilometres",
    0.45359237: "pounds and kilograms",
    3.785411784: "gallons and litres",
    60.0: "minutes and seconds, or hours and minutes",
    3600.0: "hours and seconds",
    24.0: "days and hours",
    **{10.0**power: f"a factor of {10**power:,}" for power in (1, 2, 3, 6, 9)},
}
SHOWN = 10
"""New categories that are named."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that stands out."""

    kind: Kind
    feature: str
    """Empty when it is about the table."""
    sentence: str


@dataclass(frozen=True, slots=True)
class NewCategories:
    """Values of a column that the baseline never saw."""

    name: str
    values: tuple[tuple[str, int], ...]
    """(value, rows), most frequent first, `SHOWN` at most."""
    distinct: int
    """How many there are."""
    share: float
    """Of the column's values in the window."""


def observe(baseline: Profile, constraints: Constraints, window: Profile) -> tuple[Observation, ...]:
    """Everything that stands out, the table first, then by column."""
    found = [*_reordered(baseline, window), *_renamed(baseline, constraints, window)]
    for name, then in baseline.columns.items():
        now = window.columns.get(name)
        if now is not None and now.rows and then.present:
            found += [one for look in (_empty, _constant, _unit, _infinite) if (one := look(then, now))]
    return tuple(found)


def new_categories(baseline: Profile, window: Profile) -> tuple[NewCategories, ...]:
    """Unseen categories by column; only where the baseline knows every category it saw."""
    found = []
    for name, then in baseline.columns.items():
        now = window.columns.get(name)
        if then.kind == "categorical" and now is not None and then.categories and now.categories:
            unseen = _unseen(then.categories, now.categories)
            if unseen:
                share = sum(unseen.values()) / now.categories.total
                ranked = sorted(unseen.items(), key=lambda one: (-one[1], one[0]))
                found.append(NewCategories(name, tuple(ranked[:SHOWN]), len(unseen), share))
    return tuple(found)


def _unseen(then: Categories, now: Categories) -> dict[str, int]:
    if not then.exact:
        return {}
    return {value: count for value, count in now.counts.items() if value not in then.counts}


def _reordered(baseline: Profile, window: Profile) -> list[Observation]:
    before = [name for name in baseline.columns if name in window.columns]
    after = [name for name in window.columns if name in baseline.columns]
    moved = [name for name, other in zip(before, after, strict=True) if name != other]
    if not moved:
        return []
    said = f"columns come in another order than in the baseline, from {moved[0]} on"
    return [Observation("reordered", "", said)]


def _renamed(baseline: Profile, constraints: Constraints, window: Profile) -> list[Observation]:
    gone = [name for name in baseline.columns if name not in window.columns]
    found = []
    for name in new_columns(constraints, window):
        apart = [(_apart(baseline.columns[old], window.columns[name]), old) for old in gone]
        likely = sorted(pair for pair in apart if pair[0] <= ALIKE)
        if likely:
            said = (
                f"{likely[0][1]} may have been renamed to {name}: distance of their values {likely[0][0]:.3g}"
            )
            found.append(Observation("renamed", name, said))
    return found


def _apart(then: ColumnProfile, now: ColumnProfile) -> float:
    """Distance of two columns' values; infinite where they are of different kinds or too few."""
    if min(then.present, now.present) < ENOUGH or then.kind != now.kind:
        return math.inf
    if then.kind == "numeric" and then.numeric and now.numeric:
        return distribution.linf(curve(then.numeric), curve(now.numeric))
    if then.categories and now.categories:
        return distances.linf_categorical(then.categories.counts, now.categories.counts)
    return math.inf


def _empty(then: ColumnProfile, now: ColumnProfile) -> Observation | None:
    if now.present:
        return None
    return Observation("empty", then.name, f"{then.name} has no values any more")


def _constant(then: ColumnProfile, now: ColumnProfile) -> Observation | None:
    value = _only(now)
    if value is None or _only(then) is not None or now.present < 2:
        return None
    return Observation("constant", then.name, f"{then.name} has become constant: always {value}")


def _only(column: ColumnProfile) -> str | None:
    """The one value of a column that has no other."""
    if column.numeric and column.inferred_type in NUMBERS and not _endless(column):
        moments = column.numeric.moments
        return f"{moments.minimum:g}" if moments.minimum == moments.maximum else None
    categories = column.categories
    if categories and categories.exact and len(categories.counts) == 1:
        return next(iter(categories.counts))
    return None


def _infinite(then: ColumnProfile, now: ColumnProfile) -> Observation | None:
    endless = _endless(now)
    if not endless or _endless(then):
        return None
    said = f"{then.name} holds {endless:,} infinite values, which no distance counts"
    return Observation("infinite", then.name, said)


def _endless(column: ColumnProfile) -> int:
    """Infinite values of a column of numbers: those that are present and not among the finite ones."""
    if column.kind != "numeric" or column.numeric is None:
        return 0
    return max(0, column.present - column.numeric.moments.n)


def _unit(then: ColumnProfile, now: ColumnProfile) -> Observation | None:
    """A change of unit multiplies every quantile by one factor; three of them must agree on it."""
    if min(then.present, now.present) < ENOUGH or not then.numeric or not now.numeric:
        return None
    if min(then.numeric.quantiles.n, now.numeric.quantiles.n) < ENOUGH:
        return None
    at = (0.25, 0.5, 0.75)
    before, after = curve(then.numeric).quantile(at), curve(now.numeric).quantile(at)
    if not before.all() or before[0] == before[2]:
        return None
    with np.errstate(over="ignore"):
        ratios = after / before
    for factor, unit in UNITS.items():
        for ratio in (factor, 1 / factor):
            if (abs(ratios / ratio - 1) < 5 * CLOSE).all() and abs(ratios[1] / ratio - 1) < CLOSE:
                said = f"{then.name} is {ratio:.4g} times what it was: another unit? ({unit})"
                return Observation("unit", then.name, said)
    return None
