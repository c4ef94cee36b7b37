"""What a baseline says for certain: events of its columns, and between which shares each truly lies.

An event is something a row does or does not do: its value is at most a decile of the baseline, it is a given
category, a category the baseline never saw, or missing. The baseline is a sample too. So each event gets an
interval that holds its true share, all intervals together with probability 1 - risk:

- numbers: Dvoretzky-Kiefer-Wolfowitz-Massart, uniform over all values, so deciles may be read off the same
  rows; plus the most that the sketch can be off;
- categories with at least 2 % of the rows: Clopper and Pearson, over the hundred that can have 1 %;
- unseen categories: Good and Turing's estimate (categories seen once) plus
  `(1 + sqrt(2)) sqrt(ln(2 / risk) / m)` (McDiarmid for the estimate, Berend and Kontorovich 2013 for the
  unseen mass);
- missing values: Clopper and Pearson.

The risk is shared equally by columns, in each by values and missing values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

from monitoring.drift import bins
from monitoring.drift.comparison import curve
from monitoring.profiles import Categories, ColumnProfile, Numeric, Profile

FREQUENT = 0.02
"""Least share of a category that is watched on its own."""
POSSIBLE = 100
"""Categories over which the risk is shared."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something a row of one column does or does not do."""

    feature: str
    kind: Literal["at most", "category", "unseen", "missing"]
    value: float | str | None
    """The bound, or the category."""
    low: float
    """Least true share that the baseline leaves possible."""
    high: float
    """Largest."""


@dataclass(frozen=True, slots=True)
class Count:
    """How often an event happened in a window; a sketch leaves some room."""

    least: float
    most: float
    n: float
    """Rows that could have done it."""


NOTHING = Count(0.0, 0.0, 0.0)


def events(baseline: Profile, risk: float, tolerance: float) -> tuple[Event, ...]:
    """The events of every column of a baseline, with their intervals.

    Args:
        baseline: its profile; columns without values have only the event of missing ones.
        risk: probability, at most, that any interval misses.
        tolerance: by how much a share may really change and count as unchanged: half a standard deviation of
            the event is 1, so 0.02 is two points for a half and 0.4 for one in a hundred.
    """
    share = risk / max(1, len(baseline.columns))
    made: list[Event] = []
    for name, column in baseline.columns.items():
        found = _of_values(name, column, share / 2)
        if column.rows:
            bounds = clopper_pearson(column.missing, column.rows, share / 2)
            found.append(Event(name, "missing", None, *bounds))
        made += [_widened(event, tolerance) for event in found]
    return tuple(made)


def _of_values(name: str, column: ColumnProfile, risk: float) -> list[Event]:
    if column.kind == "numeric" and column.numeric is not None and column.numeric.quantiles.n:
        return _deciles(name, column.numeric, risk)
    if column.kind == "categorical" and column.categories is not None and column.categories.total:
        return _frequent(name, column.categories, risk)
    return []


def _deciles(name: str, numeric: Numeric, risk: float) -> list[Event]:
    rows = curve(numeric)
    room = math.sqrt(math.log(2 / risk) / (2 * rows.n)) + numeric.quantiles.worst / rows.n
    edges = bins.inner_edges(rows)
    return [
        Event(name, "at most", float(edge), max(0.0, below - room), min(1.0, below + room))
        for edge, below in zip(edges, rows.cdf(edges).tolist(), strict=True)
    ]


def _frequent(name: str, categories: Categories, risk: float) -> list[Event]:
    total, found = categories.total, []
    for value, count in categories.counts.items():
        if count >= FREQUENT * total:
            low, high = clopper_pearson(count, total, risk / 2 / POSSIBLE)
            found.append(Event(name, "category", value, low, min(1.0, high + categories.missed / total)))
    if categories.exact:
        once = sum(count == 1 for count in categories.counts.values())
        room = (1 + math.sqrt(2)) * math.sqrt(math.log(4 / risk) / total)
        found.append(Event(name, "unseen", None, 0.0, min(1.0, once / total + room)))
    return found


def clopper_pearson(k: float, n: float, risk: float) -> tuple[float, float]:
    """Interval of a share from k of n, missed with probability `risk` at most."""
    from scipy.special import betaincinv

    low = float(betaincinv(k, n - k + 1, risk / 2)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - risk / 2)) if k < n else 1.0
    return low, high


def _widened(event: Event, tolerance: float) -> Event:
    low, high = (
        bound + side * tolerance * 2 * math.sqrt(bound * (1 - bound))
        for bound, side in ((event.low, -1), (event.high, 1))
    )
    return Event(event.feature, event.kind, event.value, max(0.0, low), min(1.0, high))


def count(reference: Sequence[Event], baseline: Profile, window: Profile) -> tuple[Count, ...]:
    """How often each event happened in a window; a column that is not there says nothing.

    Args:
        reference: the events, those of one column side by side as `events` gives them.
        baseline: from which they are; says which categories are unseen.
        window: where they are counted.
    """
    found: list[Count] = []
    for name, group in groupby(reference, key=lambda event: event.feature):
        column, asked = window.columns.get(name), tuple(group)
        if column is None or not column.rows:
            found += [NOTHING] * len(asked)
        else:
            found += _counted(asked, baseline.columns[name], column)
    return tuple(found)


def _counted(asked: Sequence[Event], then: ColumnProfile, now: ColumnProfile) -> list[Count]:
    edges = [event.value for event in asked if event.kind == "at most"]
    below = iter(_below(now.numeric, edges))
    found = []
    for event in asked:
        if event.kind == "at most":
            found.append(next(below))
        elif event.kind == "missing":
            found.append(Count(now.missing, now.missing, now.rows))
        elif event.kind == "category":
            found.append(_category(now.categories, str(event.value)))
        else:
            found.append(_unseen(then.categories, now.categories))
    return found


def _below(numeric: Numeric | None, edges: Sequence[float | str | None]) -> list[Count]:
    if numeric is None or not numeric.quantiles.n:
        return [NOTHING] * len(edges)
    rows, room = curve(numeric), numeric.quantiles.worst
    return [
        Count(max(0.0, below - room), min(rows.n, below + room), rows.n)
        for below in rows.below(np.array(edges, dtype=float)).tolist()
    ]


def _category(categories: Categories | None, value: str) -> Count:
    if categories is None or not categories.total:
        return NOTHING
    seen = categories.counts.get(value, 0)
    return Count(seen, min(categories.total, seen + categories.missed), categories.total)


def _unseen(then: Categories | None, now: Categories | None) -> Count:
    if then is None or now is None or not now.total:
        return NOTHING
    new = sum(count for value, count in now.counts.items() if value not in then.counts)
    return Count(new, new + now.others, now.total)
