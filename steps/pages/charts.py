"""Charts as inline SVG in a few lines each: coordinates in pixels, colours from the page's style.

Every chart has a title that screen readers speak and browsers show. Values that are not finite are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeGuard

from steps.pages.markup import number, share, text

WIDE = 340
"""Width of a chart on a card."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One category: its share, or size, then and now; None where that side is not known."""

    name: str
    then: float | None
    now: float | None
    new: bool = False
    """It was never seen in the baseline."""
    rest: bool = False
    """Everything else together; the other bars set the scale."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One row of a forest plot."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    then: float | None = None
    """The same in the baseline."""
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A value over time."""

    at: datetime
    value: float
    low: float | None = None
    high: float | None = None


def svg(title: str, body: str, width: int, height: int) -> str:
    """The frame of a chart."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text(title, 300)}">'
        f"<title>{text(title, 300)}</title>{body}</svg>"
    )


def histogram(
    title: str,
    labels: tuple[str, str, str],
    then: Sequence[float] | None,
    now: Sequence[float] | None,
) -> str:
    """Shares of two samples in the same buckets: the baseline an area, the window an outline.

    `labels` stand below the left end, the middle and the right end.
    """
    height, base = 132, 112
    most = max([*(then or ()), *(now or ())], default=0.0) or 1.0
    step = WIDE / max(1, len(then or now or ()))

    def stairs(shares: Sequence[float], kind: str) -> str:
        ups = "".join(f"V{_n(base - 104 * part / most)}h{_n(step)}" for part in shares)
        return f'<path class="{kind}" d="M0 {base}{ups}V{base}"/>'

    drawn = (stairs(then, "then") if then else "") + (stairs(now, "now") if now else "")
    axis = f'<path class="axis" d="M0 {base}H{WIDE}"/>'
    ends = "".join(
        _label(WIDE * place / 2, height - 4, said, anchor)
        for place, (said, anchor) in enumerate(zip(labels, ("start", "middle", "end"), strict=True))
    )
    return svg(title, axis + drawn + ends, WIDE, height)


def bars(title: str, rows: Sequence[Bar], told: Callable[[float | None], str] = share) -> str:
    """Horizontal bars, the baseline's thin one below the window's."""
    name_width, value_width, line = 112, 62, 25
    room = WIDE - name_width - value_width
    named = [row for row in rows if not row.rest] or rows
    most = max((abs(one) for row in named for one in (row.then, row.now) if _known(one)), default=0.0) or 1.0

    def long(value: float) -> float:
        return room * min(1.0, abs(value) / most)

    drawn = []
    for place, row in enumerate(rows):
        top = place * line + 3
        drawn.append(_label(0, top + 13, _short(row.name, 17), "start", "name"))
        if _known(row.now):
            drawn.append(_rect(name_width, top + 2, long(row.now), 11, "bar new" if row.new else "bar"))
        if _known(row.then):
            drawn.append(_rect(name_width, top + 14, long(row.then), 5, "bar before"))
        known = row.now if row.now is not None else row.then
        drawn.append(_label(WIDE, top + 13, told(known) + (" new" if row.new else ""), "end"))
    return svg(title, "".join(drawn), WIDE, len(rows) * line + 6)


def meter(title: str, value: float, limit: float, *, chance: float = 0.0, bad: bool = False) -> str:
    """A value against its limit; `chance` is what was subtracted before it was judged."""
    most = max(value + chance, limit, 1e-12) * 1.15
    at = [WIDE * max(0.0, part) / most for part in (value, value + chance, limit)]
    drawn = _rect(0, 6, WIDE, 8, "track") + _rect(0, 6, at[0], 8, "far" if bad else "near")
    if chance > 0:
        drawn += _rect(at[0], 6, at[1] - at[0], 8, "chance")
    drawn += f'<path class="tick" d="M{_n(at[2])} 1v18"/>'
    return svg(title, drawn, WIDE, 20)


def line(title: str, marks: Sequence[Mark], limits: Iterable[float] = (), *, guess: bool = False) -> str:
    """A figure over time with its interval, and the limits that it is held against."""
    if not marks:
        return ""
    height, top, base = 104, 8, 78
    shown = [limit for limit in limits if math.isfinite(limit)]
    ends = [
        v for mark in marks for v in (mark.value, mark.low, mark.high) if v is not None and math.isfinite(v)
    ]
    low, high = _padded(min([*ends, *shown]), max([*ends, *shown]))
    first, last = marks[0].at.timestamp(), marks[-1].at.timestamp()

    def x(mark: Mark) -> float:
        return WIDE / 2 if last == first else 3 + (WIDE - 6) * (mark.at.timestamp() - first) / (last - first)

    def y(value: float) -> float:
        return base - (base - top) * (min(max(value, low), high) - low) / (high - low)

    drawn = [f'<path class="axis" d="M0 {base}H{WIDE}"/>']
    drawn += [f'<path class="limit" d="M0 {_n(y(limit))}H{WIDE}"/>' for limit in shown]
    drawn.append(
        _band(
            [
                (x(one), y(one.low), y(one.high))
                for one in marks
                if one.low is not None and one.high is not None
            ]
        )
    )
    path = "L".join(f"{_n(x(one))} {_n(y(one.value))}" for one in marks)
    kind = "now guess" if guess else "now"
    drawn.append(f'<path class="{kind}" d="M{path}"/>')
    drawn.append(f'<circle class="dot" cx="{_n(x(marks[-1]))}" cy="{_n(y(marks[-1].value))}" r="3.5"/>')
    drawn.append(_label(0, height - 10, f"{marks[0].at:%d %b %H:%M}", "start"))
    if last > first:
        drawn.append(_label(WIDE, height - 10, f"{marks[-1].at:%d %b %H:%M}", "end"))
    return svg(title, "".join(drawn), WIDE, height)


def _band(points: Sequence[tuple[float, float, float]]) -> str:
    if len(points) < 2:
        return ""
    above = "L".join(f"{_n(x)} {_n(high)}" for x, _, high in points)
    below = "L".join(f"{_n(x)} {_n(low)}" for x, low, _ in reversed(points))
    return f'<path class="band" d="M{above}L{below}Z"/>'


def forest(title: str, rows: Sequence[Dot], zero: float | None = 0.0) -> str:
    """Values with their intervals, each against its baseline (a hollow ring)."""
    width, name_width, value_width, line_height = 680, 190, 150, 26
    ends = [
        v
        for row in rows
        for v in (row.value, row.low, row.high, row.then)
        if v is not None and math.isfinite(v)
    ]
    if not ends:
        return ""
    if zero is not None:
        ends.append(zero)
    low, high = _padded(min(ends), max(ends))
    room = width - name_width - value_width

    def x(value: float) -> float:
        return name_width + room * (min(max(value, low), high) - low) / (high - low)

    tall = len(rows) * line_height
    drawn = [f'<path class="axis" d="M{_n(x(zero))} 0V{tall}"/>'] if zero is not None else []
    for place, row in enumerate(rows):
        middle = place * line_height + line_height / 2
        tone = " bad" if row.bad else ""
        drawn.append(_label(0, middle + 4, _short(row.name, 30), "start", "name"))
        if row.low is not None and row.high is not None and _known(row.low) and _known(row.high):
            drawn.append(
                f'<path class="whisker{tone}" d="M{_n(x(row.low))} {_n(middle)}H{_n(x(row.high))}"/>'
            )
        if _known(row.then):
            drawn.append(f'<circle class="ring" cx="{_n(x(row.then))}" cy="{_n(middle)}" r="5.5"/>')
        if _known(row.value):
            drawn.append(f'<circle class="dot{tone}" cx="{_n(x(row.value))}" cy="{_n(middle)}" r="4"/>')
        was = f" (was {number(row.then)})" if row.then is not None else ""
        drawn.append(_label(width, middle + 4, number(row.value) + was, "end"))
    ends_of_axis = _label(name_width, tall + 16, number(low), "start") + _label(
        name_width + room, tall + 16, number(high), "end"
    )
    return svg(title, "".join(drawn) + ends_of_axis, width, tall + 22)


def curve(
    title: str, across: Sequence[float], up: Sequence[float], names: tuple[str, str], *, slope: bool = True
) -> str:
    """A curve within the unit square, such as the ROC curve, thinned to what an eye can see.

    `slope` draws the diagonal on which guessing lies.
    """
    side, edge = 260, 26
    room = side - edge - 6
    seen, kept = None, []
    for a, b in zip(across, up, strict=False):
        if _known(a) and _known(b):
            point = (round(edge + room * a), round(side - edge - room * b))
            if point != seen:
                kept.append(f"{point[0]} {point[1]}")
            seen = point
    if not kept:
        return ""
    floor = side - edge
    frame = f'<path class="axis" d="M{edge} {floor - room}V{floor}H{edge + room}"/>'
    diagonal = f'<path class="limit" d="M{edge} {floor}L{edge + room} {floor - room}"/>' if slope else ""
    labels = _label(edge + room / 2, side - 8, names[0], "middle")
    labels += f'<g transform="rotate(-90)">{_label(room / 2 - floor, 15, names[1], "middle")}</g>'
    return svg(title, f'{frame}{diagonal}<path class="now" d="M{"L".join(kept)}"/>{labels}', side, side)


def _label(x: float, y: float, said: str, anchor: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    where = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{_n(x)}" y="{_n(y)}"{where}{named}>{text(said)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    size = f'width="{_n(max(0.0, width))}" height="{_n(height)}"'
    return f'<rect class="{kind}" x="{_n(x)}" y="{_n(y)}" {size} rx="2"/>'


def _short(name: str, limit: int) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _padded(low: float, high: float) -> tuple[float, float]:
    """Ends of an axis, a little wider than what it shows."""
    apart = high - low
    if not math.isfinite(apart) or apart <= 0:
        apart = abs(low) * 0.1 or 1.0
        return low - apart, low + apart
    return low - apart * 0.06, high + apart * 0.06


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if math.isfinite(value) else "0"
