"""Captured traffic, read back: requests to replay, answers to compare, and the labels of what happened.

A capture holds answers that were given; a request that failed was not captured. How every request went stands
in the outcomes.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from serving.capture import CaptureUnreadable, Noted, Place, body, place, read_captures, read_outcomes
from steps.errors import DataRefused

_SCALE = 1 << 64


@dataclass(frozen=True, slots=True)
class Recorded:
    """One captured request and what was answered."""

    event_id: str
    at: str
    """When it came, as the capture writes it; texts sort as times do."""
    variant: str
    """Who answered, for example `v3`."""
    content_type: str
    """As the client sent it; empty when it sent none."""
    body: bytes | None
    """Byte for byte; None when only answers were captured."""
    answer_content_type: str = ""
    answer_body: bytes | None = None
    """None when only requests were captured."""
    inference_id: str = ""
    custom_attributes: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Which captures are meant: from `since` up to, and without, `until`."""

    since: datetime
    until: datetime
    share: float = 1.0
    """Part of the events, chosen by their ids: the same events each time, and the same in every variant."""
    key: bytes | None = field(default=None, repr=False)
    """Opens captures that are encrypted at rest."""


def requests(endpoint: Place | Path, span: Span) -> Iterator[Recorded]:
    """Every captured request of an endpoint once, in order of time, whichever variants have answered it.

    Args:
        endpoint: where the endpoint's captures are, with a part for each variant.
        span: which of them.

    Raises:
        DataRefused: the captures cannot be read.
    """
    where = _place(endpoint)
    streams = [variant(where.within(name), span) for name in variants(where)]
    seen: set[str] = set()
    for one in heapq.merge(*streams, key=lambda found: found.at):
        if one.body is not None and one.event_id not in seen:
            seen.add(one.event_id)
            yield one


def variants(endpoint: Place | Path) -> list[str]:
    """Variants that have captures, by name.

    Raises:
        DataRefused: the captures cannot be reached.
    """
    where = _place(endpoint)
    with _readable(where):
        return where.parts()


def variant(folder: Place | Path, span: Span) -> Iterator[Recorded]:
    """Captures of one variant, in order of time; those in S3 hour by hour.

    Raises:
        DataRefused: a capture file cannot be read.
    """
    where = _place(folder)
    with _readable(where):
        for record in read_captures(where, span.since, span.until, key=span.key):
            if _chosen(record["eventMetadata"]["eventId"], span.share):
                yield _recorded(where.name, record)


def outcomes(folder: Place | Path, span: Span) -> Iterator[Noted]:
    """How the requests to one variant went, in order of time.

    Raises:
        DataRefused: a file of outcomes cannot be read.
    """
    where = _place(folder)
    with _readable(where):
        for one in read_outcomes(where, span.since, span.until, key=span.key):
            if _chosen(one.event_id, span.share):
                yield one


def _place(where: Place | Path) -> Place:
    return place(where) if isinstance(where, Path) else where


@contextmanager
def _readable(where: Place) -> Iterator[None]:
    try:
        yield
    except CaptureUnreadable as error:
        raise DataRefused(f"captures in {where}: {error}") from error


def _recorded(name: str, record: Mapping[str, Any]) -> Recorded:
    captured, about = record["captureData"], record["eventMetadata"]
    asked, answered = captured.get("endpointInput"), captured.get("endpointOutput")
    return Recorded(
        event_id=about["eventId"],
        at=about["inferenceTime"],
        variant=name,
        content_type=asked["observedContentType"] if asked else "",
        body=body(asked) if asked else None,
        answer_content_type=answered["observedContentType"] if answered else "",
        answer_body=body(answered) if answered else None,
        inference_id=about.get("inferenceId", ""),
        custom_attributes=next(iter(about.get("customAttributes") or ()), ""),
    )


def read_labels(file: Path) -> dict[str, dict[int, Any]]:
    """Labels by event and row, from CSV, Parquet or JSON Lines.

    Columns: `label`, and `event_id` or `inference_id`; `row` counts the rows of a request from 0, and is 0
    without such a column. Rows without a label are left out.

    Raises:
        DataRefused: the file cannot be read or lacks a column.
    """
    import polars as pl

    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".csv": lambda one: pl.read_csv(one, infer_schema=False),
        ".parquet": pl.read_parquet,
        ".jsonl": pl.read_ndjson,
        ".ndjson": pl.read_ndjson,
        ".json": pl.read_ndjson,
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise DataRefused(f"{file.name}: labels are read from .csv, .parquet or .jsonl files; convert it")
    try:
        table = reader(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataRefused(f"{file.name} cannot be read: {error}") from error
    event = next((name for name in ("event_id", "inference_id") if name in table.columns), None)
    if event is None or "label" not in table.columns:
        raise DataRefused(f"{file.name}: labels need the columns label and event_id (or inference_id)")
    return _by_event(table.drop_nulls([event, "label"]), event)


def _by_event(table: Any, event: str) -> dict[str, dict[int, Any]]:
    rows = table["row"].to_list() if "row" in table.columns else [0] * table.height
    found: dict[str, dict[int, Any]] = {}
    for name, row, label in zip(table[event].to_list(), rows, table["label"].to_list(), strict=True):
        found.setdefault(str(name), {})[int(row)] = label
    return found


def _chosen(event_id: str, share: float) -> bool:
    if share >= 1:
        return True
    # Salted, so that a share of sampled captures is that share of them.
    return int.from_bytes(sha256(f"share:{event_id}".encode()).digest()[:8], "big") < share * _SCALE


def order_of(package: Path) -> Sequence[str]:
    """Names of the inputs of an unpacked package in model order; none when it lists none."""
    manifest = package / "seaway.json"
    if not manifest.exists():
        return ()
    return tuple(one["name"] for one in json.loads(manifest.read_text()).get("inputs", ()))
