"""CSV bodies to rows: those of one width together where no cell is quoted, others one by one."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from itertools import repeat
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
    reader = _Reader(layout)
    found = reader.at_once(bodies) if len(bodies) >= _FEWEST else None
    made, refused = ([found], {}) if found is not None else reader.each(bodies)
    return _typed([stacked(same) for same in by_schema(made)], layout), refused


_FEWEST = 16
"""Bodies below which looking for what all have in common does not pay."""
_MOST_HEADERS = 256
"""First lines whose meaning is remembered."""


class _Reader:
    """Bodies to rows of texts, by what is known of them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known = frozenset(layout.names)
        self._headers: dict[str, tuple[str, ...]] = {}
        self._titles: dict[int, tuple[str, ...]] = {}

    def at_once(self, bodies: Sequence[str]) -> pl.DataFrame | None:
        """Bodies of one plain line each, of one width and none of them names; None when some are others."""
        lines = [body.strip("\n") for body in bodies]
        width = lines[0].count(",") + 1
        block = "\n".join(lines)
        if width == 1 or any(odd in block for odd in _ODD) or block.count("\n") != len(lines) - 1:
            return None
        commas = list(map(str.count, lines, repeat(",")))
        if commas.count(width - 1) != len(lines) or self._some_names(lines):
            return None
        return _parsed(block, self._titled(width), range(len(lines)))

    def _some_names(self, lines: list[str]) -> bool:
        import polars as pl

        if self._layout.header is not None or not self._known:
            return bool(self._layout.header)
        likely = pl.Series(lines, dtype=pl.String)
        likely = likely.filter(likely.str.contains_any(list(self._layout.names)))
        return any(self._names(line.split(",")) for line in likely.to_list())

    def each(self, bodies: Sequence[str]) -> tuple[list[pl.DataFrame], dict[int, str]]:
        """Any bodies, those without quotes and odd ends of lines together where they have the same names."""
        refused: dict[int, str] = {}
        plain: dict[tuple[str, ...], list[int]] = defaultdict(list)
        lines: dict[int, list[str]] = {}
        made = []
        for place, body in enumerate(bodies):
            cleaned = body.removeprefix("\ufeff").replace("\r\n", "\n").strip("\n")
            if '"' in cleaned or "\r" in cleaned or "\n\n" in cleaned or not cleaned:
                try:
                    made.append(self._single(place, body))
                except Unreadable as problem:
                    refused[place] = str(problem)
                continue
            found = cleaned.split("\n")
            names = self._header(found[0])
            width = len(names) or found[0].count(",") + 1
            rest = found[1:] if names else found
            if any(line.count(",") != width - 1 for line in rest):
                made.append(_by_rows(place, [line.split(",") for line in rest], names, self._layout))
                continue
            lines[place] = rest
            plain[names or self._titled(width)].append(place)
        made += [_together(places, lines, names) for names, places in plain.items()]
        return made, refused

    def _single(self, place: int, body: str) -> pl.DataFrame:
        """One body with quotes or odd ends of lines.

        Raises:
            Unreadable: it is no CSV, or empty.
        """
        try:
            found = list(csv.reader(io.StringIO(body.removeprefix("\ufeff"), newline=""), strict=True))
        except csv.Error:
            raise Unreadable("body is not CSV") from None
        wide = len(self._layout.inputs) != 1
        found = [line for line in found if line] if wide else [line or [""] for line in found]
        if not found:
            raise Unreadable("body is empty")
        names = self._names(found[0])
        return _by_rows(place, found[1:] if names else found, names, self._layout)

    def _header(self, first: str) -> tuple[str, ...]:
        known = self._headers.get(first)
        if known is None:
            known = self._names(first.split(","))
            if known and len(self._headers) < _MOST_HEADERS:
                self._headers[first] = known
        return known

    def _names(self, cells: Sequence[str]) -> tuple[str, ...]:
        """The names in a first line; none when it is a row like the others."""
        if self._layout.header is False:
            return ()
        plain = [cell.strip() for cell in cells]
        known = self._known
        if not self._layout.header and (
            known.isdisjoint(plain) or 2 * len(known & set(plain)) < min(len(plain), len(known))
        ):
            return ()
        return tuple(own_name(cell) if cell else f"_c{place}" for place, cell in enumerate(plain))

    def _titled(self, width: int) -> tuple[str, ...]:
        if width not in self._titles:
            self._titles[width] = tuple(titles(self._layout.names, width))
        return self._titles[width]


_ODD = ('"', "\r", "\ufeff")


def _together(places: list[int], lines: dict[int, list[str]], names: tuple[str, ...]) -> pl.DataFrame:
    import polars as pl

    if len(names) == 1:
        cells = [cell for place in places for cell in lines[place]]
        records = [place for place in places for _ in lines[place]]
        return pl.DataFrame([pl.Series(RECORD, records, pl.Int64), pl.Series(names[0], cells, pl.String)])
    return _parsed(
        "\n".join(line for place in places for line in lines[place]),
        names,
        [place for place in places for _ in lines[place]],
    )


def _parsed(block: str, names: tuple[str, ...], records: Sequence[int]) -> pl.DataFrame:
    """Lines of one width without quotes, and the place of each line's body."""
    import polars as pl

    record = pl.Series(RECORD, records, pl.Int64)
    if not block:
        return record.to_frame().clear()
    schema = dict.fromkeys((f"{n}" for n in range(len(names))), pl.String)
    found = pl.read_csv(io.BytesIO(block.encode()), has_header=False, quote_char=None, schema=schema)
    found.columns = _unique(names)
    return found.insert_column(0, record)


def _unique(names: Sequence[str]) -> list[str]:
    """Names of which a second one of the same name gets a number."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return made


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
