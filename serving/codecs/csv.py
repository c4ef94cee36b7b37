"""CSV: rows in model order, or below a header line; an empty cell is missing."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from serving.codecs.columns import Columns, check_size, from_lists, from_table, order_of, short
from serving.errors import BadBody
from serving.manifest import Input, Manifest
from serving.predictions import Predictions


def decode(body: bytes, manifest: Manifest, most: int) -> Columns:
    """See `serving.codecs.decode`."""
    inputs = manifest.inputs
    rows = _rows(body, len(inputs))
    order: Sequence[int | None] = range(len(inputs))
    width = len(inputs)
    if rows and _is_header(rows[0], inputs):
        order, width = order_of([cell.strip() for cell in rows[0]], inputs), len(rows[0])
        rows = rows[1:]
    check_size(len(rows), len(inputs), most)
    table = from_lists(rows, order, width)
    numbered = [
        _numbers(cells, item.name) if item.type == "double" else cells
        for cells, item in zip(table, inputs, strict=True)
    ]
    return from_table(numbered, manifest)


def encode(predictions: Predictions, manifest: Manifest) -> bytes:
    """One line per row, no header: for a classifier the label, then the score or scores."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    labels: Sequence[object] = predictions.labels or ()
    for number, score in enumerate(predictions.scores):
        numbers = [str(value) for value in score] if manifest.task == "multiclass" else [str(score)]
        writer.writerow([labels[number], *numbers] if labels else numbers)
    return out.getvalue().encode()


def _rows(body: bytes, width: int) -> list[list[str]]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadBody(f"the body is not UTF-8 text: byte {error.start} cannot be decoded") from None
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise BadBody(f"the body is not valid CSV: {error}") from None
    if width == 1:
        return [line or [""] for line in lines]
    return [line for line in lines if line]


def _is_header(cells: list[str], inputs: Sequence[Input]) -> bool:
    names = {item.name for item in inputs}
    return 2 * len(names & {cell.strip() for cell in cells}) >= min(len(cells), len(names))


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
