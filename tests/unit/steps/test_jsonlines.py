from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from steps import jsonlines
from steps.errors import DataRefused


def rows(file: Path, content: bytes) -> list[dict[str, object]]:
    file.write_bytes(content)
    return pl.concat(list(jsonlines.batches(file)), how="vertical_relaxed").to_dicts()


def test_objects_become_rows_and_nested_ones_dotted_names(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"a": 1, "o": {"p": "x", "q": [1]}}\r\n\n{"a": 2.5, "o": {"p": "y", "q": []}}'
    assert rows(tmp_path / "a.jsonl", content) == [
        {"a": 1.0, "o.p": "x", "o.q": "[1]"},
        {"a": 2.5, "o.p": "y", "o.q": "[]"},
    ]


def test_lines_are_the_same_in_blocks_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"".join(b'{"a": %d, "b": "\xc3\xa9%d"}\n' % (n, n % 3) for n in range(20))
    whole = rows(tmp_path / "a.jsonl", content)
    assert whole[-1] == {"a": 19, "b": "é1"}
    for size in (23, 64):
        monkeypatch.setattr(jsonlines, "_BLOCK", size)
        assert rows(tmp_path / "a.jsonl", content) == whole


def test_what_mixes_types_is_text(tmp_path: Path) -> None:
    assert rows(tmp_path / "a.jsonl", b'{"a": 1}\n{"a": "x"}\n{"b": null}\n') == [
        {"a": "1", "b": None},
        {"a": "x", "b": None},
        {"a": None, "b": None},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n\n[1]\n', "line 3 is no JSON object"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "line 2 is not UTF-8"),
        (b'{"a": 1}\n{"a"\n', "line 2 cannot be read"),
        (b'{"a": 1}, {"a": 2}\n', "line 1 cannot be read"),
        (b"3\n", "line 1 is no JSON object"),
    ],
)
def test_the_line_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        rows(tmp_path / "a.jsonl", content)
