"""Large CSV bodies, some hundred rows at a time and column by column.

Each part is read by few calls that each take a moment, so that other threads get their turn in between. What
is out of the ordinary is left to `serving.codecs.csv`, which finds the words for what is wrong.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import orjson

from serving.codecs.columns import Array, Columns, joined, narrowed
from serving.codecs.layout import Block, Layout
from serving.errors import BadBody
from serving.manifest import Input

SLICE = 128 * 1024
"""Bytes read at a time; no cell in them can be longer than `csv` takes."""
_COMMA, _NEWLINE = b",\n"
_FIGURES = b"0123456789+-.eE,"
_NEGATIVE_ZERO = b",-0,"
"""It would be read as a whole number, which has no sign at zero."""


class _Unusual(Exception):
    """Something must be looked at more closely."""


@dataclass(frozen=True, slots=True)
class Table:
    """How the lines of one body become columns."""

    layout: Layout
    order: Sequence[int | None]
    """Each input's place in a line; None for one that is left out."""
    width: int
    """Cells in a line."""

    def read(self, body: bytes) -> Columns | None:
        """Columns of lines, empty ones at the ends and the header left away; None when they are unusual."""
        straight = not self.layout.texts and [*self.order] == [*range(self.width)]
        try:
            parts = [self._block(part, straight=straight) for part in _parts(body)]
        except (_Unusual, BadBody, ValueError, csv.Error):
            return None
        return joined(parts, self.layout)

    def _block(self, part: bytes, *, straight: bool) -> Block:
        if straight and (flat := _figures(part)) is not None:
            return self._all_numbers(part, flat)
        cells = self._cells(part)
        columns = {
            item.name: cells[place :: self.width]
            for item, place in zip(self.layout.inputs, self.order, strict=True)
            if place is not None
        }
        return self._of_columns(columns, len(cells) // self.width)

    def _all_numbers(self, part: bytes, flat: Array) -> Block:
        """A part that holds numbers alone, read as it stands."""
        _check_shape(part, self.width)
        numbers = narrowed(flat.reshape(-1, self.width), self.layout)
        return Block(self.layout, numbers, np.empty((len(numbers), 0), object))

    def _cells(self, part: bytes) -> list[str]:
        """All cells of a part, line by line."""
        if b'"' in part:
            lines = csv.reader(io.StringIO(part.decode(), newline=""), strict=True)
            rows = [line or [""] for line in lines] if self.width == 1 else list(lines)
            if set(map(len, rows)) != {self.width}:
                raise _Unusual
            return list(chain.from_iterable(rows))
        part = part.replace(b"\r\n", b"\n")
        if b"\r" in part:
            raise _Unusual
        _check_shape(part, self.width)
        return part[:-1].decode().replace("\n", ",").split(",")

    def _of_columns(self, columns: dict[str, list[str]], rows: int) -> Block:
        layout = self.layout
        numbers = np.full((rows, len(layout.numbers)), np.nan)
        for place, item in enumerate(layout.numbers):
            if item.name in columns:
                numbers[:, place] = _numbers(columns[item.name])
        texts = np.full((rows, len(layout.texts)), "", object)
        for place, item in enumerate(layout.texts):
            if item.name in columns:
                texts[:, place] = _texts(columns[item.name], item)
        return Block(layout, narrowed(numbers, layout), texts)


def _parts(body: bytes) -> Iterator[bytes]:
    """Whole lines, each with its end."""
    start, size = 0, len(body)
    while start < size:
        end = size if size - start <= SLICE else body.rfind(b"\n", start, start + SLICE) + 1
        if end == 0:
            raise _Unusual
        part = body[start:end]
        yield part if part.endswith(b"\n") else part + b"\n"
        start = end


def _check_shape(part: bytes, width: int) -> None:
    """Every line must have `width` cells."""
    characters = np.frombuffer(part, np.uint8)
    ends = characters[(characters == _COMMA) | (characters == _NEWLINE)]
    if len(ends) % width:
        raise _Unusual
    lines = ends.reshape(-1, width)
    if (lines[:, -1] != _NEWLINE).any() or (lines[:, :-1] != _COMMA).any():
        raise _Unusual


def _figures(part: bytes) -> Array | None:
    """The numbers of lines that hold nothing else; None when they do."""
    joint = part.replace(b"\r\n", b"\n").replace(b"\n", b",")
    return _parsed(joint[:-1])


def _parsed(joint: bytes) -> Array | None:
    """Numbers with commas between them, empty ones missing; None when JSON would write them otherwise."""
    if joint.translate(None, _FIGURES):
        return None
    joint = b",%b," % joint
    if _NEGATIVE_ZERO in joint:
        return None
    if b",," in joint:
        joint = joint.replace(b",,", b",null,").replace(b",,", b",null,")
    try:
        return np.array(orjson.loads(b"[%b]" % joint[1:-1]), np.float64)
    except orjson.JSONDecodeError:
        return None


def _numbers(cells: list[str]) -> Array:
    joint = ",".join(cells)
    if joint.isascii() and (found := _parsed(joint.encode())) is not None:
        if len(found) != len(cells):
            raise _Unusual
        return found
    if "_" in joint:
        raise _Unusual
    return np.fromiter(map(float, [cell.strip() or "nan" for cell in cells]), np.float64, len(cells))


def _texts(cells: list[str], item: Input) -> list[str]:
    if item.required and not all(cells):
        raise _Unusual
    return cells
