"""CSV: rows in model order, or below a header line; an empty cell is missing.

Empty lines are no rows; in a single column those between others are missing values.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import islice

from serving.codecs.bulk import Table
from serving.codecs.columns import PART, Columns, check_size, from_table, lists_table, order_of, short
from serving.codecs.layout import Layout
from serving.codecs.lenient import BOM
from serving.errors import BadBody
from serving.manifest import Manifest
from serving.predictions import Predictions

BULK = 4096
"""Bodies of at least this many bytes are read column by column first."""


def decode(body: bytes, layout: Layout, most: int) -> Columns:
    """See `serving.codecs.decode`."""
    if len(body) >= BULK and (found := _quickly(body, layout, most)) is not None:
        return found
    return _carefully(body, layout, most)


def _quickly(body: bytes, layout: Layout, most: int) -> Columns | None:
    """Columns of a body with nothing out of the ordinary in it; None when `_carefully` must look at it."""
    inputs = layout.inputs
    body = body.removeprefix(BOM).strip(b"\r\n")
    order: Sequence[int | None] = range(len(inputs))
    width = len(inputs)
    first, _, rest = body.partition(b"\n")
    try:
        cells = next(csv.reader([first.decode()], strict=True), [])
        if _is_header(cells, layout):
            order, width, body = order_of([cell.strip() for cell in cells], inputs), len(cells), rest
    except (UnicodeDecodeError, csv.Error, BadBody):
        return None
    if not body or (body.count(b"\n") + 1) * len(inputs) > most:
        return None
    return Table(layout, order, width).read(body)


def _carefully(body: bytes, layout: Layout, most: int) -> Columns:
    inputs = layout.inputs
    lines = _lines(body)
    order: Sequence[int | None] = range(len(inputs))
    width = len(inputs)
    if lines and _is_header(lines[0], layout):
        order, width = order_of([cell.strip() for cell in lines[0]], inputs), len(lines[0])
        lines = lines[1:]
    rows = [line or [""] for line in lines] if width == 1 else [line for line in lines if line]
    check_size(len(rows), len(inputs), most)
    table = lists_table(rows, order, width)
    numbered = [
        _numbers(cells, item.name) if item.type == "double" else cells
        for cells, item in zip(table, inputs, strict=True)
    ]
    return from_table(numbered, layout)


def encode(predictions: Predictions, manifest: Manifest) -> bytes:
    """One line per row, no header: for a classifier the label, then the score or scores."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    labels: Sequence[object] = predictions.labels or ()
    for number, score in enumerate(predictions.scores):
        numbers = [str(value) for value in score] if manifest.task == "multiclass" else [str(score)]
        writer.writerow([labels[number], *numbers] if labels else numbers)
    return out.getvalue().encode()


def _lines(body: bytes) -> list[list[str]]:
    """The cells of all lines but the empty ones at both ends; an empty line has none."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadBody(f"the body is not UTF-8 text: byte {error.start} cannot be decoded") from None
    lines: list[list[str]] = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        while part := list(islice(reader, PART)):  # other threads get their turn in between
            lines += part
            if len(part) < PART:
                break
    except csv.Error as error:
        raise BadBody(f"the body is not valid CSV: {error}") from None
    while lines and not lines[-1]:
        lines.pop()
    if lines and not lines[0]:
        lines = lines[next(place for place, line in enumerate(lines) if line) :]
    return lines


def _is_header(cells: list[str], layout: Layout) -> bool:
    known = layout.names.intersection([cell.strip() for cell in cells])
    return 2 * len(known) >= min(len(cells), len(layout.names))


def _numbers(cells: list[str | None], name: str) -> list[float | None]:
    return [_number(cell, name, row) for row, cell in enumerate(cells)]


def _number(cell: str | None, name: str, row: int) -> float | None:
    if not cell or cell.isspace():
        return None
    try:
        if "_" not in cell:
            return float(cell)
    except ValueError:
        pass
    raise BadBody(f"{name!r} in row {row} must be a number, not {short(cell)}", field=name, row=row)
