"""JSON documents to rows, one by one: whatever shape they have, nested objects to dotted names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from monitoring.records.columns import own_name
from monitoring.records.layout import Unreadable

Row = dict[str, Any]
LISTS = (
    "instances",
    "predictions",
    "inputs",
    "outputs",
    "dataframe_records",
    "records",
    "rows",
    "data",
)
"""Entries of a document that hold its rows, when they are lists."""
MOST_DEPTH = 32
VALUE = "value"
"""Name of a value that stands alone."""


def rows(body: str | bytes, names: Sequence[str]) -> list[Row]:
    """Rows of one document.

    Args:
        body: the document.
        names: of the values of rows that are lists.

    Raises:
        Unreadable: it is no JSON, or nests too deeply.
    """
    return _rows(load(body), names)


def line_rows(body: str | bytes, names: Sequence[str]) -> list[Row]:
    """Rows of JSON Lines, one or more in each line.

    Raises:
        Unreadable: a line is no JSON.
    """
    encoded = body.encode() if isinstance(body, str) else body
    return [row for line in encoded.split(b"\n") if line.strip() for row in _rows(load(line), names)]


def load(body: str | bytes) -> Any:
    """The document; a byte order mark, NaN and Infinity, which JSON does not have, are taken.

    Raises:
        Unreadable: it is no JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body.removeprefix("\ufeff") if isinstance(body, str) else body)
    except (ValueError, RecursionError):
        raise Unreadable("body is not JSON") from None


def _rows(document: Any, names: Sequence[str]) -> list[Row]:
    if isinstance(document, dict):
        if not (names and set(names) & document.keys()):
            split = document.get("dataframe_split", document)
            if isinstance(split, dict) and isinstance(split.get("columns"), list) and "data" in split:
                return _split(split)
            if isinstance(by_column := document.get("inputs"), dict):
                return _by_column(by_column)
        held = next((document[name] for name in LISTS if isinstance(document.get(name), list)), None)
        document = [document] if held is None or (names and set(names) & document.keys()) else held
    elif not isinstance(document, list):
        document = [document]
    plain = not any(isinstance(one, dict | list) for one in document)
    if plain and len(document) == len(names) > 1:
        document = [document]  # one row without the list around it
    return [_row(one, names) for one in document]


def _split(document: dict[str, Any]) -> list[Row]:
    """Rows below the names of their columns."""
    if not isinstance(document["data"], list):
        raise Unreadable("data is no list of rows")
    return [_row(one, [str(title) for title in document["columns"]]) for one in document["data"]]


def _by_column(document: dict[str, Any]) -> list[Row]:
    """Rows of lists of values, one for each column; one row where they are no such lists."""
    lists = list(document.values())
    if not lists or any(not isinstance(one, list) or len(one) != len(lists[0]) for one in lists):
        return [_row(document, ())]
    names = [own_name(name) for name in document]
    return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]


def _row(value: Any, names: Sequence[str]) -> Row:
    if isinstance(value, dict):
        return dict(flat(value))
    if isinstance(value, list):
        return dict(zip(titles(names, len(value)), value, strict=True))
    return {names[0] if len(names) == 1 else VALUE: value}


def titles(names: Sequence[str], width: int) -> list[str]:
    """Names of so many columns: the known ones, then `_c7` and so on."""
    known = [own_name(name) for name in names[:width]]
    return known + [f"_c{number}" for number in range(len(known), width)]


def flat(value: dict[Any, Any], above: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Names and values of an object, those of nested objects with dots; lists stay.

    Raises:
        Unreadable: it nests more than `MOST_DEPTH` deep.
    """
    if depth > MOST_DEPTH:
        raise Unreadable("objects nest too deeply")
    for name, one in value.items():
        full = f"{above}{name}" if above else own_name(name)
        if isinstance(one, dict):
            yield from flat(one, f"{full}.", depth + 1)
        else:
            yield full, one
