"""JSON Lines files of any size to rows, a part at a time: nested objects to dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monitoring.records import columns, documents, objects
from monitoring.records.layout import Unreadable
from steps.errors import DataRefused

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (".jsonl", ".ndjson")
_BLOCK = 16 << 20
"""Bytes that are read at once."""
_MARK = "\ufeff".encode()
"""Byte order mark."""


def batches(file: Path) -> Iterator[pl.DataFrame]:
    """The rows of a file in order, a bounded number at a time; each line is one object.

    Columns have the narrowest type that holds their values in a batch; what mixes types is text.

    Raises:
        DataRefused: it cannot be read, is not UTF-8, or a line is no object.
    """
    for first, lines in _blocks(file):
        for start in range(0, len(lines), objects.AT_ONCE):
            yield _frame(file, first + start, lines[start : start + objects.AT_ONCE])


def _blocks(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and lines."""
    number, rest = 1, b""
    try:
        with file.open("rb") as source:
            while block := source.read(_BLOCK):
                whole, ended, rest = (rest + block).rpartition(b"\n")
                if ended:
                    yield number, _lines(file, number, whole)
                    number += whole.count(b"\n") + 1
    except OSError as error:
        raise DataRefused(f"{file} cannot be read ({error.strerror or error}); check its rights") from error
    if rest:
        yield number, _lines(file, number, rest)


def _lines(file: Path, number: int, block: bytes) -> list[str]:
    try:
        return (block.removeprefix(_MARK) if number == 1 else block).decode().split("\n")
    except UnicodeDecodeError as error:
        line = number + block.count(b"\n", 0, error.start)
        raise DataRefused(f"{file}: line {line} is not UTF-8; write the file again in UTF-8") from error


def _frame(file: Path, number: int, lines: Sequence[str]) -> pl.DataFrame:
    """All at once by Arrow where no value asks for a decision, else one by one."""
    listed = [f"[{line}]" for line in lines if not line.isspace() and line]
    found = objects.rows(listed, "@root", lists=False) if listed else None
    if found is not None and found.height == len(listed):
        return found.drop(columns.RECORD)
    singly = enumerate(lines, number)
    return columns.from_rows([_row(file, place, line) for place, line in singly if line.strip()])


def _row(file: Path, number: int, line: str) -> dict[str, object]:
    try:
        found = documents.load(line)
        if isinstance(found, dict):
            return dict(documents.flat(found))
    except Unreadable as error:
        raise DataRefused(f"{file}: line {number} cannot be read ({error}); correct it") from error
    raise DataRefused(f"{file}: line {number} is no JSON object; write one row as one object in each line")
