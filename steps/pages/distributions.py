"""A column now against the same column in the baseline, read off both profiles and drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

from monitoring.profiles import ColumnProfile
from steps.pages.charts import Bar, bars, histogram
from steps.pages.markup import number

BUCKETS = 24
SHOWN = 7
"""Categories that get their own bar; the rest are taken together."""
OTHERS = "all others"
STEPS = 40
"""Distinct numbers that each get a bucket."""
WIDE, SQUEEZED = 1000.0, 0.04
"""Positive numbers over such a range, half of them in so small a part of it, get a logarithmic scale."""


def chart(name: str, then: ColumnProfile | None, now: ColumnProfile | None) -> str:
    """The drawing of a column; empty when neither side has values that can be drawn."""
    either = then or now
    if either is None:
        return ""
    title = f"Distribution of {name}" + (": window against baseline" if then and now else "")
    few = _few(then) and _few(now)
    if either.kind == "numeric" and not few:
        return _numbers(title, then, now)
    return _categories(title, then, now, ordered=either.kind == "numeric")


def _few(column: ColumnProfile | None) -> bool:
    """Drawn as categories although it may be numeric; a side that is not there does not object."""
    if column is None:
        return True
    found = column.categories
    return found is not None and found.exact and len(found.counts) <= SHOWN + 1


def _numbers(title: str, then: ColumnProfile | None, now: ColumnProfile | None) -> str:
    columns = [one for one in (then, now) if one is not None]
    if values := _values(columns):
        ends = (number(_as_number(values[0])[0]), "", number(_as_number(values[-1])[0]))
        return histogram(
            title, ends, *([side.get(one, 0.0) for one in values] for side in map(_counted, (then, now)))
        )
    edges = _edges(columns)
    if not edges:
        return ""
    bent = edges[1] - edges[0] < (edges[-1] - edges[-2]) / 2
    middle = f"{number(edges[BUCKETS // 2])}, log scale" if bent else number(edges[BUCKETS // 2])
    labels = (number(edges[0]), middle, number(edges[-1]))
    return histogram(title, labels, _shares(then, edges), _shares(now, edges))


def _values(columns: list[ColumnProfile]) -> list[str]:
    """The numbers themselves, ascending, when they are few: each gets a bucket of its own."""
    counts = [one.categories for one in columns]
    if any(one is None or not one.exact for one in counts):
        return []
    values = {value for one in counts if one for value in one.counts}
    return sorted(values, key=_as_number) if len(values) <= STEPS else []


def _edges(columns: list[ColumnProfile]) -> list[float]:
    """Buckets of equal width over nearly all values: a few far ones would squeeze the others into one."""
    known = [one.numeric.quantiles for one in columns if one.numeric and one.numeric.quantiles.n]
    if not known:
        return []
    low, high = (pick(one.quantile(q) for one in known) for pick, q in ((min, 0.005), (max, 0.995)))
    least, most = min(one.minimum for one in known), max(one.maximum for one in known)
    reach = (high - low) * 0.25
    low, high = (least if low - least <= reach else low), (most if most - high <= reach else high)
    if not math.isfinite(high - low) or high <= low:
        low, high = low - (abs(low) * 0.05 or 0.5), low + (abs(low) * 0.05 or 0.5)
    middle = [one.quantile(0.5) for one in known]
    if low > 0 and high / low > WIDE and max(middle) - low < SQUEEZED * (high - low):
        return [low * (high / low) ** (place / BUCKETS) for place in range(BUCKETS + 1)]
    return [low + (high - low) * place / BUCKETS for place in range(BUCKETS + 1)]


def _shares(column: ColumnProfile | None, edges: list[float]) -> list[float] | None:
    """Share of each bucket; what lies beyond the ends counts to the outer ones."""
    if column is None or column.numeric is None or not column.numeric.quantiles.n:
        return None
    below = [0.0, *column.numeric.quantiles.cdf(edges[1:-1]).tolist(), 1.0]
    return [max(0.0, b - a) for a, b in pairwise(below)]


def _categories(title: str, then: ColumnProfile | None, now: ColumnProfile | None, *, ordered: bool) -> str:
    before, after = _counted(then), _counted(now)
    if not before and not after:
        return ""
    ranked = sorted({*(before or {}), *(after or {})}, key=lambda one: (-_most(one, before, after), one))
    shown = ranked[:SHOWN]
    if ordered:
        shown.sort(key=_as_number)
    rows = [
        Bar(one or "(empty text)", _of(before, one), _of(after, one), new=bool(before) and one not in before)
        for one in shown
    ]
    if len(ranked) > SHOWN or _rest(before, shown) + _rest(after, shown) > 1e-9:
        left, now_left = (_rest(side, shown) if side else None for side in (before, after))
        rows.append(Bar(OTHERS, left, now_left, rest=True))
    return bars(title, rows)


def _counted(column: ColumnProfile | None) -> dict[str, float]:
    found = column.categories if column else None
    return (
        {text: count / found.total for text, count in found.counts.items()} if found and found.total else {}
    )


def _of(shares: Mapping[str, float], name: str) -> float | None:
    return shares.get(name, 0.0) if shares else None


def _most(name: str, before: Mapping[str, float], after: Mapping[str, float]) -> float:
    return max(before.get(name, 0.0), after.get(name, 0.0))


def _rest(shares: Mapping[str, float], shown: list[str]) -> float:
    return max(0.0, 1 - sum(shares.get(one, 0.0) for one in shown)) if shares else 0.0


def _as_number(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return math.inf, name
