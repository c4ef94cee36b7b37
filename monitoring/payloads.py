"""What bodies say: the predictions of an answer, one column of a request. Pure, and never raises.

Answers of a model package are known in detail: `{"predictions": [{"predicted_label": 1, "score": 0.8}]}` and
its CSV form. Of anything else numbers and texts are read where they stand plainly, one per row; what remains
is compared as a whole.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row of an answer."""

    label: str | None = None
    """The class, as `plain_label` writes it; None where the answer names none."""
    scores: tuple[float, ...] = ()
    """A probability or a value; one per class for several classes."""
    content: str = ""
    """What the row holds when it is neither label nor score: its text, or sha256 of it when long."""


Rows = tuple[Prediction, ...]
_LINES = frozenset({"application/jsonlines", "application/x-jsonlines", "application/jsonl"})
_LONG = 200
_UNREADABLE = (ValueError, OverflowError, RecursionError, csv.Error)


def predictions(content_type: str, body: bytes) -> Rows:
    """The predictions in a response body, one per row; one opaque prediction when it cannot be read."""
    media = content_type.partition(";")[0].strip().lower()
    try:
        if media == "text/csv":
            return _csv_predictions(body.decode())
        if media in _LINES:
            return tuple(row for line in body.splitlines() if line.strip() for row in _json_rows(line))
        if media == "application/json" or body[:1] in {b"{", b"["}:
            return _json_rows(body)
    except _UNREADABLE:
        pass
    return (Prediction(content=_brief(body)),)


def column(content_type: str, body: bytes, name: str, order: Sequence[str] = ()) -> tuple[Any, ...]:
    """The values of one input in a request body, one per row; None where it is absent.

    Args:
        content_type: the request's.
        body: JSON records, lists or a split frame; CSV with or without a header line.
        name: the input.
        order: names of a model's inputs, for rows that come without names.
    """
    media = content_type.partition(";")[0].strip().lower()
    try:
        if media == "text/csv":
            return _csv_column(body.decode("utf-8-sig"), name, order)
        return _json_column(json.loads(body), name, order)
    except _UNREADABLE:
        return ()


def plain_label(value: object) -> str:
    """A label as text, so that 1, 1.0, "1" and true are one label whoever wrote it."""
    if isinstance(value, bool):
        return str(int(value))
    text = str(value).strip()
    if text.casefold() in {"true", "false"}:
        return str(int(text.casefold() == "true"))
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if math.isfinite(number) and number == int(number) else text


def _json_rows(text: bytes) -> Rows:
    document = json.loads(text)
    found = document.get("predictions", document) if isinstance(document, dict) else document
    if isinstance(found, dict) and {"content_type", "data"} <= found.keys():  # an answer with explanations
        data = found["data"]
        plain = data if isinstance(data, str) else json.dumps(data)
        return predictions(str(found["content_type"]), plain.encode())
    rows = found if isinstance(found, list) else [found]
    return tuple(_prediction(row) for row in rows)


def _prediction(row: Any) -> Prediction:
    if isinstance(row, dict) and ("predicted_label" in row or "score" in row or "scores" in row):
        label, scores = row.get("predicted_label"), _numbers(row.get("scores", row.get("score")))
        if scores is not None:
            return Prediction(None if label is None else plain_label(label), scores)
    elif isinstance(row, str):
        return Prediction(label=plain_label(row))
    elif not isinstance(row, dict) and (scores := _numbers(row)) is not None:
        return Prediction(scores=scores)
    return Prediction(content=_brief(json.dumps(row, sort_keys=True).encode()))


def _numbers(value: Any) -> tuple[float, ...] | None:
    """A number, a list of numbers, or nothing at all; None for anything else."""
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, int | float) for item in items):
        return None
    return tuple(float(item) for item in items)


def _csv_predictions(text: str) -> Rows:
    """Lines of `label,score` as a model package answers, of one cell, or of numbers."""
    rows = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    return tuple(_csv_prediction(line) for line in rows)


def _csv_prediction(line: Sequence[str]) -> Prediction:
    head, rest = _float(line[0]), [_float(cell) for cell in line[1:]]
    scores = tuple(number for number in rest if number is not None)
    if len(scores) < len(rest):
        return Prediction(content=_brief(",".join(line).encode()))
    if head is None or (scores and head.is_integer()):
        return Prediction(plain_label(line[0]), scores)
    return Prediction(scores=(head, *scores))


def _float(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _json_column(document: Any, name: str, order: Sequence[str]) -> tuple[Any, ...]:
    names: Any = order
    rows = document
    if isinstance(document, dict):
        names = document.get("columns", order)
        rows = document.get("instances", document.get("data", [document]))
    return tuple(_cell(row, name, names) for row in rows) if isinstance(rows, list) else ()


def _cell(row: Any, name: str, names: Sequence[str]) -> Any:
    if isinstance(row, dict):
        return row.get(name)
    place = names.index(name) if name in names else -1
    return row[place] if isinstance(row, list) and 0 <= place < len(row) else None


def _csv_column(text: str, name: str, order: Sequence[str]) -> tuple[Any, ...]:
    rows = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    names = [cell.strip() for cell in rows[0]] if rows else []
    if name in names or 2 * len({*names} & {*order}) >= min(len(names), len(order)) > 0:
        rows = rows[1:]
    else:
        names = list(order)
    return tuple(_value(_cell(row, name, names)) for row in rows)


def _value(cell: str | None) -> Any:
    if not cell:
        return None
    number = _float(cell)
    return cell if number is None else number


def _brief(content: bytes) -> str:
    """The content itself when it is short, else its sha256."""
    if len(content) <= _LONG:
        return content.decode(errors="backslashreplace")
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
