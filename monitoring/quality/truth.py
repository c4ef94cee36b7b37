"""What really happened, as it is told: label records become a table.

A label record is SageMaker's ground-truth record, one JSON object a line:

    {"groundTruthData": {"data": "1", "encoding": "CSV"},
     "eventMetadata": {"eventId": "a-1"}, "eventVersion": "0"}

`eventId` is the caller's inference id where one was sent, else the event id. A request of several rows has
one label for each: lines, or cells of one line, in CSV; a list in JSON; null or an empty cell while it is
unknown.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from monitoring.payloads import plain_label

if TYPE_CHECKING:
    import polars as pl

SHOWN = 20
"""Problems that are told; all are counted."""
_USUAL = ("label", "labels", "ground_truth", "groundTruth", "target", "y")


@dataclass(frozen=True, slots=True)
class Decoded:
    """Label records as a table."""

    frame: pl.DataFrame
    """Columns `id`, `row` (place in the request), `count` (labels of the record), `label`, `at`; in order."""
    records: int
    problems: tuple[str, ...]
    """Lines that hold no label, the first ones in words."""
    refused: int
    """How many such lines."""


def decode(records: Iterable[tuple[datetime, str | bytes]], *, attribute: str | None = None) -> Decoded:
    """Read label records.

    Args:
        records: when each was collected, and its line.
        attribute: key (or dotted path) of the label in JSON objects; the place of the cell in CSV lines.
            None takes the only value there is, or the usual names.
    """
    import polars as pl

    ids, places, counts, labels, times = [], [], [], [], []
    problems: list[str] = []
    refused = seen = 0
    for seen, (at, line) in enumerate(records, start=1):
        try:
            event, values = _record(line, attribute)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as problem:
            refused += 1
            if len(problems) < SHOWN:
                problems.append(f"label record {seen}: {problem}")
            continue
        for place, value in enumerate(values):
            ids.append(event)
            places.append(place)
            counts.append(len(values))
            labels.append(value)
            times.append(at)
    frame = pl.DataFrame(
        {"id": ids, "row": places, "count": counts, "label": labels, "at": times},
        schema={
            "id": pl.String,
            "row": pl.Int64,
            "count": pl.Int64,
            "label": pl.String,
            "at": pl.Datetime("us", "UTC"),
        },
    )
    return Decoded(frame, seen, tuple(problems), refused)


def _record(line: str | bytes, attribute: str | None) -> tuple[str, list[str | None]]:
    import orjson

    document = orjson.loads(line)
    if not isinstance(document, Mapping) or not isinstance(truth := document.get("groundTruthData"), Mapping):
        raise ValueError("it has no groundTruthData; write SageMaker's record")  # noqa: TRY004
    event = document.get("eventMetadata", {}).get("eventId")
    if event is None or event == "":
        raise ValueError("it has no eventMetadata.eventId; give the inference id or the event id")
    data, encoding = truth.get("data"), str(truth.get("encoding", "CSV")).upper()
    if data is None:
        raise ValueError("groundTruthData has no data; give the label")
    if encoding == "CSV":
        return str(event), _csv(str(data), attribute)
    if encoding == "JSON":
        return str(event), _json(orjson.loads(data) if isinstance(data, str) else data, attribute)
    raise ValueError(f"encoding {encoding} is not read; use CSV or JSON")


def _csv(data: str, attribute: str | None) -> list[str | None]:
    if attribute is None and not {*data} & {*',"\r\n'}:
        return [_label(data)]
    lines = list(csv.reader(io.StringIO(data, newline="")))
    while lines and not lines[-1]:
        lines.pop()
    if attribute is not None and attribute.isdigit():
        cells = [line[int(attribute)] if int(attribute) < len(line) else "" for line in lines]
    elif len(lines) == 1:
        cells = lines[0]
    else:
        cells = [line[0] if line else "" for line in lines]
    return [_label(cell) for cell in cells] or [None]


def _json(value: Any, attribute: str | None) -> list[str | None]:
    value = _inside(value, attribute)
    return [_label(_inside(one, attribute)) for one in value] if isinstance(value, list) else [_label(value)]


def _inside(value: Any, attribute: str | None) -> Any:
    """What an object holds as label; anything else itself."""
    if not isinstance(value, Mapping):
        return value
    if attribute is not None:
        for step in attribute.split("."):
            value = value[step]
        return value
    if len(value) == 1:
        return next(iter(value.values()))
    named = [name for name in _USUAL if name in value]
    if not named:
        raise ValueError(f"which of {', '.join(map(str, value))} is the label? Name the attribute")
    return value[named[0]]


def _label(value: Any) -> str | None:
    if isinstance(value, list | Mapping):
        raise ValueError("a label is a list or an object inside; give one plain value for each row")  # noqa: TRY004
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return _plain(type(value).__name__, value)


@lru_cache(maxsize=4096)
def _plain(kind: str, value: Any) -> str:  # noqa: ARG001 - 1, 1.0 and True are one key without their type
    return plain_label(value)
