"""Small pieces of HTML. Whatever comes from data is escaped here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

LONG = 160
"""Characters of a text that are shown."""
MINUS, NONE = "\u2212", "\u2013"
"""The typographic minus, and the dash that stands for no value."""


@dataclass(frozen=True, slots=True)
class Html:
    """Text that is HTML already."""

    text: str


Cell = str | int | float | None | Html


def text(value: object, limit: int = LONG) -> str:
    """Anything as safe text, shortened; control characters, which HTML forbids, are shown as a sign."""
    return escape(legal(value, limit), quote=True)


def legal(value: object, limit: int = LONG) -> str:
    """Anything as text that is not escaped yet."""
    shown = str(value)
    shown = shown if len(shown) <= limit else f"{shown[: limit - 1]}…"
    return "".join(sign if _legal(sign) else "\ufffd" for sign in shown)


def _legal(sign: str) -> bool:
    code = ord(sign)
    return sign in "\t\n" or 0x20 <= code < 0x7F or (code >= 0xA0 and not 0xD800 <= code < 0xE000)


def number(value: float | None) -> str:
    """A number for people: four digits that count, thousands apart, a dash for none."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value and not 1e-4 <= abs(value) < 1e9:
        shown = f"{value:.2e}"
    elif abs(value) >= 1000 or value == int(value):
        shown = f"{value:,.0f}"
    else:
        shown = f"{value:.4g}"
    return shown.replace("-", MINUS)


def share(value: float | None) -> str:
    """A share as percent."""
    if value is None or not math.isfinite(value):
        return NONE
    digits = 0 if value in {0.0, 1.0} else 1 if abs(value) >= 0.01 else 2
    return f"{value * 100:.{digits}f} %"


def between(low: float | None, high: float | None) -> str:
    """An interval, or nothing."""
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def section(title: str, body: str, *, lead: str = "", mark: str = "") -> str:
    """A part of the page under its own heading; nothing when it has no body."""
    if not body:
        return ""
    told = f'<p class="lead">{text(lead, 600)}</p>' if lead else ""
    return f'<section id="{text(mark or slug(title))}"><h2>{text(title)}</h2>{told}{body}</section>\n'


def slug(title: str) -> str:
    """A name for links within the page."""
    kept = (sign if sign.isascii() and sign.isalnum() else "-" for sign in title.lower())
    return "-".join(part for part in "".join(kept).split("-") if part)


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, caption: str = "") -> str:
    """A table that scrolls sideways on a phone; numbers stand right."""
    shown = list(rows)
    if not shown:
        return ""
    right = [
        any(isinstance(row[place], int | float) for row in shown if place < len(row))
        for place in range(len(heads))
    ]
    head = "".join(
        f'<th scope="col"{_right(flag)}>{text(name)}</th>' for name, flag in zip(heads, right, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{_right(flag)}>{_cell(cell)}</td>" for cell, flag in zip(row, right, strict=True))
        + "</tr>\n"
        for row in shown
    )
    named = f"<caption>{text(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0" role="group"{_label(caption)}><table>{named}'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def _label(caption: str) -> str:
    return f' aria-label="{text(caption)}"' if caption else ""


def _right(numbers: object) -> str:
    return ' class="r"' if numbers else ""


def _cell(cell: Cell) -> str:
    if isinstance(cell, Html):
        return cell.text
    if isinstance(cell, float) or cell is None:
        return number(cell)
    if isinstance(cell, int):
        return f"{cell:,}"
    return text(cell, 400)


def facts(pairs: Mapping[str, Cell]) -> str:
    """Names and values below each other."""
    shown = "".join(
        f"<div><dt>{text(name)}</dt><dd>{_cell(value)}</dd></div>"
        for name, value in pairs.items()
        if value not in ("", None)
    )
    return f'<dl class="facts">{shown}</dl>' if shown else ""


def figures(pairs: Iterable[tuple[str, str, str]]) -> str:
    """Large figures side by side: value, name, tone."""
    shown = "".join(
        f'<div><b class="{text(tone)}">{text(value)}</b>{text(name)}</div>' for value, name, tone in pairs
    )
    return f'<div class="figures">{shown}</div>\n'


def badge(said: str, tone: str = "") -> str:
    """A word in a frame: tone `good`, `bad`, `guess` or none."""
    return f'<span class="badge {text(tone)}">{text(said)}</span>'


def link(said: str, address: str) -> str:
    """A link, if following it can do no harm; else its text."""
    parts = urlsplit(address)
    beside = not parts.scheme and not parts.netloc and not address.startswith(("/", "\\"))
    if not (beside or parts.scheme in {"http", "https"}):
        return text(said)
    return f'<a href="{text(address, 2000)}" rel="noreferrer">{text(said)}</a>'
