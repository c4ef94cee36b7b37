"""Thousands of records at once are read as each is alone, whatever stands beside them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.records import Layout, decode, delimited, envelope
from monitoring.records.columns import typed
from serving.capture.record import Exchange, line
from serving.capture.settings import parse

AT = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
SETTINGS = parse('{"destination": "/captures"}')
LAYOUT = Layout((("age", "string"), ("city", "string"), ("n", "string")), "binary", (0, 1))
ANSWER = b'{"predictions":[{"predicted_label":1,"score":0.75}]}'
CELLS = ["1", "+2", "2.5", "", " 3", "Rome", "00012", "age", "city", "n", "\x1cage", "é", 'say "x"', "back\\"]
cells = st.sampled_from(CELLS)
csv = st.lists(st.lists(cells, min_size=2, max_size=4).map(",".join), min_size=1, max_size=3).map("\n".join)
bodies = st.one_of(
    csv.map(lambda text: (text.encode(), "text/csv")),
    st.sampled_from(
        [
            (b'{"instances":[{"age":"1","city":"x","p":{"q":"2"}}]}', "application/json"),
            (b'[["1","a","2"]]', "application/json"),
            (b"{", "application/json"),
            (b"\xff", "text/csv"),
            (b"1,a,2", "text/csv"),
        ]
    ),
)


def record(
    number: int, body: bytes = b"1,a,2", media: str = "text/csv", answer: bytes = ANSWER, **more: str
) -> bytes:
    return line(
        Exchange(f"e{number}", AT + number, media, body, "application/json", answer, **more), SETTINGS
    )[:-1]


def torn(text: bytes, how: str) -> bytes:
    """A line as nobody of ours writes it."""
    return {
        "whole": text,
        "half": text[: len(text) // 2],
        "twice": text + text,
        "spaced": text.replace(b'"mode"', b'"mode" ', 1),
        "quoted": text.replace(b'","encoding', b'\\","encoding', 1),
        "marked": text.replace(b'"data":"', b'"data":"90071992547409933", 9007199254740993, "', 1),
        "timeless": text.replace(b'"inferenceTime":"2', b'"inferenceTime":"a'),
        "nameless": text.replace(b'"eventId":"e', b'"eventId":"","e":"'),
        "anonymous": text.replace(text[text.index(b'"eventId":"') :].split(b",")[0], b'"eventId":""'),
        "empty": b"",
    }[how]


odd = st.sampled_from(["whole"] * 12 + ["half", "twice", "spaced", "quoted", "marked", "timeless", "nameless", "anonymous", "empty"])  # fmt: skip
records = st.tuples(bodies, odd, st.sampled_from(["", "", "own", 'q"\\']), st.sampled_from(["", "", "", "a"]))


def known(frame: pl.DataFrame) -> list[dict[str, object]]:
    """Rows without what they lack."""
    return [
        {name: plain(name, value) for name, value in row.items() if value is not None}
        for row in frame.to_dicts()
    ]


def plain(name: str, value: object) -> object:
    """What no layout names is a number or a text by what else is in its column: here it is either."""
    if name.startswith("@") or name in dict(LAYOUT.inputs):
        return value
    try:
        return repr(float(str(value)))
    except ValueError:
        return str(value).lower()


@settings(max_examples=10)
@given(st.lists(records, min_size=1, max_size=4), st.integers(0, 40))
def test_many_records_are_read_as_each_alone(some, copies) -> None:
    made = [
        torn(record(n, *body, inference_id=own, custom_attributes=extra), how)
        for n, (body, how, own, extra) in enumerate(some)
    ]
    lines = [record(100 + n) for n in range(copies)] + made + [record(200 + n) for n in range(copies)]
    whole, alone = decode(lines, LAYOUT, "v"), [decode([one], LAYOUT, "v") for one in made]
    usual = [row for row in known(whole.frame) if str(row["@event_id"]).removeprefix("e").zfill(3) >= "100"]
    assert len(usual) == 2 * copies
    assert [row for row in known(whole.frame) if row not in usual] == [
        row for one in alone for row in known(one.frame)
    ]
    counts: Counter[str] = Counter()
    for one in alone:
        counts.update(one.refused)
    assert Counter(whole.refused) == counts
    told = sorted((each.event_id, each.part, each.reason) for each in whole.examples)
    assert told == sorted((each.event_id, each.part, each.reason) for one in alone for each in one.examples)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(cells, cells, cells).map(",".join), min_size=1, max_size=6),
    st.sampled_from([None, True, False]),
    st.sampled_from(["", "\n"]),
)
def test_lines_at_once_are_lines_one_by_one(lines, header, end) -> None:
    layout = Layout(LAYOUT.inputs, header=header)
    found = delimited._Reader(layout).at_once([one + end for one in lines])
    frames, refused = delimited._Reader(layout).each([one + end for one in lines])
    if found is not None:
        assert refused == {}
        assert [found.rows()] == [frame.rows() for frame in frames]
        assert [found.columns] == [frame.columns for frame in frames]


def test_usual_lines_are_cut_and_not_parsed(monkeypatch) -> None:
    def never(*_arguments) -> None:
        raise AssertionError

    lines = [record(n, inference_id="own" if n % 3 else "") for n in range(200)]
    with monkeypatch.context() as strict:
        strict.setattr(envelope, "_parsed", never)
        found, refused = envelope.records(lines)
    assert refused == []
    assert found.inference_ids == ["own" if n % 3 else None for n in range(200)]
    assert found.event_ids == [f"e{n}" for n in range(200)]


def test_one_odd_line_does_not_have_all_parsed(monkeypatch) -> None:
    parsed: list[int] = []
    real = envelope._parsed

    def counting(lines, numbers, found, refused) -> None:
        parsed.extend(numbers)
        real(lines, numbers, found, refused)

    monkeypatch.setattr(envelope, "_parsed", counting)
    lines = [record(n) for n in range(2000)]
    lines[777] = lines[777][:100]
    found, (refusal,) = envelope.records(lines)
    assert found.lines == [n for n in range(2000) if n != 777]
    assert refusal.reason == "line is not JSON"
    assert len(parsed) <= 128


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["1", "+2", " 3 "], [1, 2, 3]),
        (["1", "+2"], [1, 2]),
        (["1", "2.5", None], [1.0, 2.5, None]),
        (["1", "nan"], [1.0, None]),
        (["++1", "1"], [1, 1]),
        (["9223372036854775808"], [9223372036854775808.0]),
        (["", " "], [None, None]),
        (["1"] * 70 + ["x"], ["1"] * 70 + ["x"]),
        (["1"] * 70 + ["1.5"], [1.0] * 70 + [1.5]),
    ],
)
def test_texts_as_numbers(texts, wanted) -> None:
    assert typed(pl.Series("x", texts, pl.String), "double").to_list() == wanted
