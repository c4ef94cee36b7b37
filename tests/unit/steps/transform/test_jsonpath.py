from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.transform import jsonpath
from steps.transform.jsonpath import NothingThere, PathInvalid

RECORD = {"id": 7, "features": [1, 2, 3, 4], "more": {"a": {"x": 1}, "b": {"x": 2}}, "rows": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", RECORD),
        ("$.id", 7),
        ("$['id']", 7),
        ('$["id"]', 7),
        ("$.['id']", 7),
        ("$['id','features']", {"id": 7, "features": [1, 2, 3, 4]}),
        ("$.more.['a', 'b']", RECORD["more"]),
        ("$.more.*", [{"x": 1}, {"x": 2}]),
        ("$.more.*.x", [1, 2]),
        ("$.features[*]", [1, 2, 3, 4]),
        ("$.features[0]", 1),
        ("$.features[-1]", 4),
        ("$.features[0,-1]", [1, 4]),
        ("$.features[1:]", [2, 3, 4]),
        ("$.features[:2]", [1, 2]),
        ("$.features[1:-1]", [2, 3]),
        ("$.rows[:][1]", [2, 4]),
        ("$.rows[:][*]", [1, 2, 3, 4]),
    ],
)
def test_selects(path: str, expected: object) -> None:
    assert jsonpath.parse(path).select(RECORD) == expected


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "begin with"),
        ("id", "begin with"),
        ("$..id", "name every level"),
        ("$[?(@.a > 1)]", "conditions"),
        ("$['a','b.c']", "nested"),
        ("$['a','b'].c", "nothing can follow"),
        ("$[a]", "write for example"),
        ("$[1:2:3]", "write for example"),
        ("$.", "write for example"),
        ("$x", "write for example"),
        ("$." + "a" * 62, "shorten"),
    ],
)
def test_refuses_with_a_reason(path: str, words: str) -> None:
    with pytest.raises(PathInvalid, match=words):
        jsonpath.parse(path)


@pytest.mark.parametrize(
    "path", ["$.id.x", "$.other", "$.features[9]", "$.id[0]", "$['id','other']", "$.id.*"]
)
def test_says_what_is_missing(path: str) -> None:
    with pytest.raises(NothingThere, match=r"^it "):
        jsonpath.parse(path).select(RECORD)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("$", "abcd"), ("$[1:]", "bcd"), ("$[0,-1]", "ad"), ("$[2]", "c"), ("$[*]", "abcd")],
)
def test_selects_cells(path: str, expected: str) -> None:
    row = [b"a", b"b", b"c", b"d"]
    assert b"".join(jsonpath.parse(path).selector()(row)).decode() == expected


@pytest.mark.parametrize("path", ["$.id", "$[1:][0]"])
def test_csv_takes_places_only(path: str) -> None:
    with pytest.raises(PathInvalid, match="places only"):
        jsonpath.parse(path).selector()


@given(st.text("$.[]*',:-019ab ", max_size=20))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        path = jsonpath.parse(text)
    except PathInvalid:
        return
    with suppress(NothingThere):
        json.dumps(path.select(RECORD))


@given(st.lists(st.integers()), st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9))
def test_sections_are_python_s(values: list[int], start: int | None, end: int | None) -> None:
    text = f"$[{'' if start is None else start}:{'' if end is None else end}]"
    assert jsonpath.parse(text).select(values) == values[start:end]
