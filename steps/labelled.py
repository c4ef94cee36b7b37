"""Labels as people have them: tables with an id and a label, or SageMaker's ground-truth records."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import orjson

from steps.errors import DataRefused

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

ENDINGS = (".csv", ".parquet", ".jsonl", ".ndjson", ".json")
IDS = ("event_id", "inference_id", "eventId", "inferenceId", "@event_id", "@inference_id", "id")
LABELS = ("label", "ground_truth", "groundTruth", "target", "y", "actual")
ROW = "row"
_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a table has what; empty takes the usual names."""

    id: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that holds no label."""

    reason: str


Records = Iterator[dict[str, Any] | Bad]
"""Ground-truth records, and what was none."""


def ground_truth(event_id: str, labels: Sequence[object]) -> dict[str, Any]:
    """SageMaker's record: a label for each row of the request, None where it is not known."""
    if len(labels) == 1:
        cell = _cell(labels[0])
        plain = cell if not set(cell) & set(',"\r\n') else _csv([cell])
        return _record(event_id, plain)
    return _record(event_id, _csv([_cell(one) for one in labels]))


def _record(event_id: str, data: str) -> dict[str, Any]:
    return {
        "groundTruthData": {"data": data, "encoding": "CSV"},
        "eventMetadata": {"eventId": event_id},
        "eventVersion": "0",
    }


def _csv(cells: Sequence[str]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([cell] for cell in cells)
    return out.getvalue().removesuffix("\n")


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def record_of(one: object) -> dict[str, Any] | Bad:
    """A ground-truth record as it is, or one made of `{"event_id": ..., "label": ...}`.

    `label` may be a list with a label for each row of the request.
    """
    if not isinstance(one, Mapping):
        return Bad("it is no object")
    if "groundTruthData" in one:
        return dict(one)
    event = next((one[name] for name in IDS if one.get(name) not in (None, "")), None)
    label = next((one[name] for name in LABELS if name in one), None)
    if event is None:
        return Bad("it has neither groundTruthData nor event_id or inference_id")
    if label is None:
        return Bad("it has no label")
    return ground_truth(str(event), label if isinstance(label, list) else [label])


def read(file: Path, columns: Columns) -> Records:
    """The records of one file.

    Raises:
        DataRefused: the file cannot be read, or lacks a column.
    """
    readers: dict[str, Callable[[Path, Columns], Records]] = {".csv": _table, ".parquet": _table}
    suffix = file.suffix.lower()
    if suffix not in ENDINGS:
        raise DataRefused(f"{file.name}: labels are read from {', '.join(ENDINGS)} files; convert it")
    yield from readers.get(suffix, _lines)(file, columns)


def _lines(file: Path, columns: Columns) -> Records:
    """JSON Lines, or one JSON list."""
    with file.open("rb") as stream:
        first = stream.read(1)
        while first.isspace():
            first = stream.read(1)
        stream.seek(0)
        if first == b"[":
            yield from (_named(one, columns) for one in _document(stream.read(), file))
            return
        for line in stream:
            if line.strip():
                try:
                    yield _named(orjson.loads(line), columns)
                except orjson.JSONDecodeError:
                    yield Bad("line is not JSON")


def _document(content: bytes, file: Path) -> list[Any]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DataRefused(f"{file.name} is not JSON: {error}; write one record a line") from error
    return found if isinstance(found, list) else [found]


def _named(one: object, columns: Columns) -> dict[str, Any] | Bad:
    """A record of which somebody may have said what its entries are called."""
    if isinstance(one, dict) and "groundTruthData" not in one:
        renamed = {
            name: one[given]
            for name, given in (("event_id", columns.id), ("label", columns.label))
            if given in one
        }
        return record_of({**one, **renamed})
    return record_of(one)


def _table(file: Path, columns: Columns) -> Records:
    import polars as pl

    try:
        lazy = (
            pl.scan_parquet(file)
            if file.suffix.lower() == ".parquet"
            else pl.scan_csv(file, infer_schema=False)
        )
        names = lazy.collect_schema().names()
        event, label = (
            _pick(file, names, columns.id, IDS, "id"),
            _pick(file, names, columns.label, LABELS, "label"),
        )
        wanted = [event, label, *([ROW] if ROW in names else [])]
        chosen = lazy.select(wanted)
        if ROW in names:
            yield from _by_request(chosen.collect(), event, label)
            return
        for frame in chosen.collect_batches(chunk_size=_AT_ONCE, maintain_order=True):
            for name, value in zip(
                frame[event].cast(pl.String).to_list(), frame[label].to_list(), strict=True
            ):
                yield _pair(name, [value])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataRefused(f"{file.name} cannot be read: {error}") from error


def _pick(file: Path, names: Sequence[str], given: str, usual: Sequence[str], what: str) -> str:
    if given:
        if given not in names:
            raise DataRefused(f"{file.name} has no column {given!r}; it has {', '.join(names)}")
        return given
    found = next((name for name in usual if name in names), None)
    if found is None:
        raise DataRefused(
            f"{file.name}: which column is the {what}? It has {', '.join(names)}; name it with --{what}"
        )
    return found


def _by_request(frame: pl.DataFrame, event: str, label: str) -> Records:
    """Rows of a table that says which row of a request each is about."""
    import polars as pl

    whole = frame.select(pl.col(event).cast(pl.String), label, pl.col(ROW).cast(pl.Int64, strict=False))
    for (name,), rows in whole.group_by([event], maintain_order=True):
        places = rows[ROW].fill_null(0).to_list()
        if any(place < 0 or place > 1_000_000 for place in places):
            yield Bad("row is no place in a request")
            continue
        labels: list[object] = [None] * (max(places) + 1)
        for place, value in zip(places, rows[label].to_list(), strict=True):
            labels[place] = value
        yield _pair(name, labels)


def _pair(event: object, labels: Sequence[object]) -> dict[str, Any] | Bad:
    if event is None or event == "":
        return Bad("it has no id")
    if not any(_cell(one).strip() for one in labels):
        return Bad("it has no label")
    return ground_truth(str(event), labels)
