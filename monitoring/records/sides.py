"""One direction of many records to rows, each by its own encoding and content type."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, cast

from monitoring.records import arrays, delimited, documents, objects
from monitoring.records.columns import RECORD, by_schema, from_rows, stacked
from monitoring.records.envelope import Side
from monitoring.records.layout import Layout, Unreadable

if TYPE_CHECKING:
    import polars as pl

_LINES = frozenset(
    {"application/jsonlines", "application/x-jsonlines", "application/jsonl", "application/x-ndjson"}
)
_BINARY: dict[str, Callable[[bytes, Sequence[str]], pl.DataFrame]] = {
    "application/x-npy": arrays.npy,
    "application/x-npz": arrays.npz,
    "application/vnd.apache.parquet": arrays.parquet,
    "application/x-parquet": arrays.parquet,
    "application/vnd.apache.arrow.stream": arrays.arrow,
}
_KNOWN = {"text/csv": "csv", "application/json": "json", **dict.fromkeys(_LINES, "lines")}
Refused = dict[int, str]
"""Why a record's direction could not be read, by its place."""


def read(side: Side, layout: Layout, *, answers: bool = False) -> tuple[list[pl.DataFrame], Refused]:
    """Rows of all records, in a frame for each shape of them, with the column `RECORD`.

    Args:
        side: the direction; records that were not captured in it have no rows.
        layout: what is known of requests; an empty one for answers.
        answers: lists of numbers stay lists, and answers with explanations are unwrapped.
    """
    refused: Refused = {}
    texts: dict[str, dict[int, str]] = defaultdict(dict)
    made: list[pl.DataFrame] = []
    for (kind, encoding), places in _kinds(side):
        try:
            form = _form(kind, encoding)
        except Unreadable as problem:
            refused.update(dict.fromkeys(places, str(problem)))
            continue
        if encoding != "BASE64" and form not in _BINARY:
            bodies = side.data if len(places) == len(side.data) else [side.data[n] for n in places]
            texts[form].update(zip(places, cast("list[str]", bodies), strict=True))
            continue
        for place in places:
            data = side.data[place]
            try:
                if form in _BINARY:
                    made.append(_placed(_BINARY[form](_raw(data), layout.names), place))
                else:
                    texts[form][place] = _raw(data).decode("utf-8-sig")
            except Unreadable as problem:
                refused[place] = str(problem)
            except UnicodeDecodeError:
                refused[place] = "body is not UTF-8 text"
    for form, found in texts.items():
        made += _texts(form, found, layout, refused, answers=answers)
    return [stacked(same) for same in by_schema(frame for frame in made if frame.height)], refused


def _kinds(side: Side) -> list[tuple[tuple[str, str], Sequence[int]]]:
    """Content type and encoding, and the places of the records that have them."""
    if len(set(side.types)) == 1 == len(set(side.encodings)):
        pair = side.types[0], side.encodings[0]
        return [(pair, range(len(side.types)))] if pair[1] else []
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, pair in enumerate(zip(side.types, side.encodings, strict=True)):
        if pair[1]:
            places[pair].append(place)
    return list(places.items())


def _form(kind: str, encoding: str) -> str:
    media = kind.partition(";")[0].strip().lower()
    if encoding == "CSV":
        return "csv"
    if encoding == "JSON":
        return "lines" if media in _LINES else "json"
    if not media:
        return "json"
    if media in _KNOWN:
        return _KNOWN[media]
    if media in _BINARY:
        return media
    if media.startswith("text/"):
        return "text"
    raise Unreadable(f"content type {media[:60]} is not read")


def _raw(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode()


def _placed(frame: pl.DataFrame, place: int) -> pl.DataFrame:
    import polars as pl

    return frame.insert_column(0, pl.Series(RECORD, [place] * frame.height, pl.Int64))


def in_order(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One frame, by records; rows of a record stay in their order."""
    import polars as pl

    if not frames:
        return pl.DataFrame({RECORD: []}, {RECORD: pl.Int64})
    found = stacked(frames)
    return found if found[RECORD].is_sorted() else found.sort(RECORD, maintain_order=True)


def _texts(
    form: str, found: dict[int, str], layout: Layout, refused: Refused, *, answers: bool
) -> list[pl.DataFrame]:
    if form == "csv":
        places = list(found)
        frames, problems = delimited.rows(list(found.values()), layout)
        refused.update((places[n], problem) for n, problem in problems.items())
        return [_moved(frame, places) for frame in frames]
    if form == "text":
        return _single(found, lambda text: [{"text": text}], refused, answers=answers)
    if form == "lines":
        return _single(found, lambda text: documents.line_rows(text, layout.names), refused, answers=answers)
    return _json(found, layout, refused, answers=answers)


def _moved(frame: pl.DataFrame, places: Sequence[int]) -> pl.DataFrame:
    """Places within a group to places among all records."""
    import polars as pl

    if list(places) == list(range(len(places))):
        return frame
    return frame.with_columns(pl.Series(RECORD, places, pl.Int64).gather(frame[RECORD]).alias(RECORD))


def _json(found: dict[int, str], layout: Layout, refused: Refused, *, answers: bool) -> list[pl.DataFrame]:
    shapes = _shapes(found)
    singly = shapes.pop("", [])
    made = []
    for shape, places in shapes.items():
        for first in range(0, len(places), objects.AT_ONCE):
            some = places[first : first + objects.AT_ONCE]
            frame = objects.rows([found[place] for place in some], shape, lists=answers)
            if frame is None:
                singly += some
            else:
                made.append(_moved(frame, some))
    if singly:
        read_one = _answer_rows if answers else (lambda text: documents.rows(text, layout.names))
        made += _single({place: found[place] for place in singly}, read_one, refused, answers=answers)
    return made


def _shapes(found: dict[int, str]) -> dict[str, list[int]]:
    """Places of documents by their shape."""
    first = objects.beginning(next(iter(found.values()))) if found else None
    if first and all(map(str.startswith, found.values(), repeat(first[1]))):
        return {first[0]: list(found)}
    shapes: dict[str, list[int]] = defaultdict(list)
    for place, text in found.items():
        begun = objects.beginning(text)
        shapes[begun[0] if begun else ""].append(place)
    return shapes


def _single(
    found: dict[int, str],
    read_one: Callable[[str], list[documents.Row]],
    refused: Refused,
    *,
    answers: bool,
) -> list[pl.DataFrame]:
    """Rows of documents that are read one by one; answers with other names in a frame of their own."""
    import polars as pl

    shapes: dict[tuple[str, ...], tuple[list[int], list[documents.Row]]] = {}
    for place, text in found.items():
        try:
            some = read_one(text)
        except Unreadable as problem:
            refused[place] = str(problem)
            continue
        for row in some:
            places, rows = shapes.setdefault(tuple(row) if answers else (), ([], []))
            places.append(place)
            rows.append(row)
    return [
        from_rows(rows, lists=answers).insert_column(0, pl.Series(RECORD, places, pl.Int64))
        for places, rows in shapes.values()
    ]


def _answer_rows(text: str) -> list[documents.Row]:
    """Rows of an answer, also of one with explanations around it."""
    document = documents.load(text)
    held = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(held, dict) or not {"content_type", "data"} <= held.keys():
        return documents.rows(text, ())
    data = held["data"] if isinstance(held["data"], str) else json.dumps(held["data"])
    if _KNOWN.get(str(held["content_type"]).partition(";")[0].strip().lower()) != "csv":
        return documents.rows(data, ())
    frames, problems = delimited.rows([data], Layout(header=False))
    if problems:
        raise Unreadable(problems[0])
    return [row for frame in frames for row in frame.drop(RECORD).to_dicts()]
