"""CSV bodies to rows: those of one width together where no cell is quoted, others one by one."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from monitoring.records.columns import RECORD, by_schema, own_name, stacked, typed
from monitoring.records.documents import titles
from monitoring.records.layout import Layout, Unreadable

if TYPE_CHECKING:
    import polars as pl


def rows(bodies: Sequence[str], layout: Layout) -> tuple[list[pl.DataFrame], dict[int, str]]:
    """Rows with their body's place, in a frame for each set of names, and why others could not be read.

    Args:
        bodies: CSV; the first line may hold names.
        layout: names for rows without, and what is text for certain.
    """
    refused: dict[int, str] = {}
    plain: dict[tuple[str, ...], list[int]] = defaultdict(list)
    lines: dict[int, list[str]] = {}
    headers: dict[str, tuple[str, ...]] = {}
    made = []
    for place, body in enumerate(bodies):
        cleaned = body.removeprefix("\ufeff").replace("\r\n", "\n").strip("\n")
        if '"' in cleaned or "\r" in cleaned or "\n\n" in cleaned or not cleaned:
            try:
                made.append(_single(place, body, layout))
            except Unreadable as problem:
                refused[place] = str(problem)
            continue
        found = cleaned.split("\n")
        if found[0] not in headers:
            headers[found[0]] = _names(found[0].split(","), layout)
        names = headers[found[0]] if len(headers) < _MOST_HEADERS else _names(found[0].split(","), layout)
        width = len(names) or found[0].count(",") + 1
        rest = found[1:] if names else found
        if any(line.count(",") != width - 1 for line in rest):
            made.append(_by_rows(place, [line.split(",") for line in rest], names, layout))
            continue
        lines[place] = rest
        plain[names or tuple(titles(layout.names, width))].append(place)
    made += [_together(places, lines, names) for names, places in plain.items()]
    return _typed([stacked(same) for same in by_schema(made)], layout), refused


_MOST_HEADERS = 256
"""First lines whose meaning is remembered."""


def _names(cells: Sequence[str], layout: Layout) -> tuple[str, ...]:
    """The names in a first line; none when it is a row like the others."""
    plain = [cell.strip() for cell in cells]
    if layout.header is False:
        return ()
    known = set(layout.names)
    if layout.header or (known and 2 * len(known & set(plain)) >= min(len(plain), len(known))):
        return tuple(own_name(cell) if cell else f"_c{place}" for place, cell in enumerate(plain))
    return ()


def _together(places: list[int], lines: dict[int, list[str]], names: tuple[str, ...]) -> pl.DataFrame:
    import polars as pl

    counts = [len(lines[place]) for place in places]
    record = pl.Series(RECORD, places, pl.Int64).repeat_by(pl.Series(counts, dtype=pl.UInt32)).explode()
    record = record.drop_nulls()
    block = "\n".join("\n".join(lines[place]) for place in places if lines[place])
    if len(names) == 1:
        cells = block.split("\n") if block else []
        return pl.DataFrame([record.alias(RECORD), pl.Series(names[0], cells, pl.String)])
    if not block:
        return pl.DataFrame({RECORD: []}, {RECORD: pl.Int64})
    schema = dict.fromkeys((f"{n}" for n in range(len(names))), pl.String)
    found = pl.read_csv(io.BytesIO(block.encode()), has_header=False, quote_char=None, schema=schema)
    found.columns = _unique(names)
    return found.insert_column(0, record.alias(RECORD))


def _unique(names: Sequence[str]) -> list[str]:
    """Names of which a second one of the same name gets a number."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return made


def _single(place: int, body: str, layout: Layout) -> pl.DataFrame:
    """One body with quotes or odd ends of lines.

    Raises:
        Unreadable: it is no CSV, or empty.
    """
    try:
        found = list(csv.reader(io.StringIO(body.removeprefix("\ufeff"), newline=""), strict=True))
    except csv.Error:
        raise Unreadable("body is not CSV") from None
    wide = len(layout.inputs) != 1
    found = [line for line in found if line] if wide else [line or [""] for line in found]
    if not found:
        raise Unreadable("body is empty")
    names = _names(found[0], layout)
    return _by_rows(place, found[1:] if names else found, names, layout)


def _by_rows(place: int, found: list[list[str]], names: tuple[str, ...], layout: Layout) -> pl.DataFrame:
    """Rows of any widths; what a row lacks is missing."""
    import polars as pl

    width = max(map(len, found), default=0)
    given = _unique(titles(names or layout.names, width))
    columns = [
        pl.Series(name, [line[n] if n < len(line) else None for line in found], pl.String)
        for n, name in enumerate(given)
    ]
    return pl.DataFrame([pl.Series(RECORD, [place] * len(found), pl.Int64), *columns])


def _typed(frames: list[pl.DataFrame], layout: Layout) -> list[pl.DataFrame]:
    kinds = dict(layout.inputs)
    return [
        frame.with_columns(typed(frame[name], kinds.get(name)) for name in frame.columns if name != RECORD)
        for frame in frames
    ]
