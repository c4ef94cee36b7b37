"""Label records and rows: encodings, several rows, repeats, orphans, late labels."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import rows as names
from monitoring.quality import labels, truth

START = datetime(2026, 3, 1, 14, 20, tzinfo=UTC)


def record(event: str, data: object, encoding: str = "CSV") -> str:
    return json.dumps(
        {
            "groundTruthData": {"data": data, "encoding": encoding},
            "eventMetadata": {"eventId": event},
            "eventVersion": "0",
        }
    )


def told(*records: tuple[str, object], at: datetime = START) -> pl.DataFrame:
    return truth.decode([(at, record(*one)) for one in records]).frame


def captured(*requests: tuple[str, str | None, int]) -> pl.DataFrame:
    """Rows of requests: event id, inference id, number of rows; a request an hour."""
    rows = [
        {
            names.EVENT_ID: event,
            names.INFERENCE_ID: inference,
            names.ROW: row,
            names.AT: START + timedelta(hours=hour),
            "x": 1.0,
        }
        for hour, (event, inference, count) in enumerate(requests)
        for row in range(count)
    ]
    return pl.DataFrame(rows, schema_overrides={names.INFERENCE_ID: pl.String})


def known(joined: labels.Joined) -> list[str | None]:
    return joined.rows[names.LABEL].to_list()


@pytest.mark.parametrize(
    ("data", "encoding", "attribute", "expected"),
    [
        ("1", "CSV", None, ["1"]),
        ("1.0\n", "CSV", None, ["1"]),
        ("yes", "CSV", None, ["yes"]),
        ('"a,b"', "CSV", None, ["a,b"]),
        ("1\n0\n1\n", "CSV", None, ["1", "0", "1"]),
        ("1,0,1", "CSV", None, ["1", "0", "1"]),
        ("1\n\n0", "CSV", None, ["1", None, "0"]),
        ("7,1\n8,0", "CSV", "1", ["1", "0"]),
        ("", "CSV", None, [None]),
        ("1", "JSON", None, ["1"]),
        ("true", "JSON", None, ["1"]),
        ('"late"', "JSON", None, ["late"]),
        ("[0, 1.0, null]", "JSON", None, ["0", "1", None]),
        ('{"label": 1}', "JSON", None, ["1"]),
        ('{"labels": [1, 0]}', "JSON", "labels", ["1", "0"]),
        ('[{"y": 1, "id": 4}, {"y": 0, "id": 5}]', "JSON", None, ["1", "0"]),
        ('{"a": {"b": 3.5}}', "JSON", "a.b", ["3.5"]),
        (["x"], "JSON", None, ["x"]),
    ],
)
def test_encodings(data, encoding, attribute, expected) -> None:
    found = truth.decode([(START, record("e", data, encoding))], attribute=attribute)
    assert not found.problems
    assert found.frame["label"].to_list() == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "label record 1"),
        ("[]", "no groundTruthData"),
        ('{"groundTruthData": {"data": "1"}}', "eventId"),
        ('{"groundTruthData": {}, "eventMetadata": {"eventId": "a"}}', "no data"),
        (record("a", "AQ==", "BASE64"), "encoding BASE64"),
        (record("a", "{", "JSON"), "label record 1"),
        (record("a", '{"p": 1, "q": 2}', "JSON"), "which of p, q"),
        (record("a", "[[1]]", "JSON"), "plain value"),
    ],
)
def test_unreadable_records_are_told(line: str, message: str) -> None:
    found = truth.decode([(START, line), (START, record("b", "1"))])
    assert (found.refused, found.records, found.frame.height) == (1, 2, 1)
    assert message in found.problems[0]


def test_by_event_id_and_by_inference_id() -> None:
    rows = captured(("e-1", None, 1), ("e-2", "mine", 1), ("e-3", "other", 1))
    joined = labels.join(rows, told(("e-1", "1"), ("mine", "0"), ("e-3", "1")))
    assert known(joined) == ["1", "0", "1"]
    assert (joined.captured, joined.matched, joined.orphaned) == (3, 3, 0)
    assert joined.rows["x"].to_list() == [1.0] * 3


def test_several_rows_of_a_request() -> None:
    joined = labels.join(captured(("a", None, 3), ("b", None, 1)), told(("a", "1\n\n0"), ("b", "1")))
    assert known(joined) == ["1", None, "0", "1"]


def test_another_number_of_labels_is_not_guessed() -> None:
    joined = labels.join(captured(("a", None, 3)), told(("a", "1")))
    assert known(joined) == [None] * 3
    assert joined.mismatched == ("a",)
    assert "not as many" in joined.notes[0]


def test_the_last_label_wins_whatever_the_order() -> None:
    rows = captured(("a", None, 1), ("b", None, 1))
    later = START + timedelta(hours=5)
    found = truth.decode(
        [(later, record("a", "late")), (START, record("a", "early")), (later, record("b", "1"))]
    )
    joined = labels.join(rows, found.frame)
    assert known(joined) == ["late", "1"]
    assert joined.replaced == 1
    assert joined.rows[names.LABEL_AT].to_list() == [later, later]
    same_time = told(("a", "first"), ("a", "second"))
    assert known(labels.join(rows, same_time))[0] == "second"


def test_tables_of_one_time_are_taken_in_their_order() -> None:
    both = pl.concat([told(("x", "1"), ("a", "first")), told(("a", "second"))])
    assert known(labels.join(captured(("a", None, 1)), both)) == ["second"]


def test_an_unknown_value_replaces_nothing() -> None:
    joined = labels.join(captured(("a", None, 1)), told(("a", "1"), ("a", "")))
    assert known(joined) == ["1"]


def test_orphans_are_listed() -> None:
    joined = labels.join(captured(("a", None, 1)), told(("a", "1"), ("ghost", "0"), ("ghost", "1")))
    assert joined.orphans == ("ghost",)
    assert joined.orphaned == 1
    assert joined.notes == ("Labels of 1 ids belong to no captured row.",)


def test_late_labels_name_the_hours_they_touch() -> None:
    rows = captured(("a", None, 1), ("b", None, 1), ("c", None, 1))
    first = labels.join(rows, told(("a", "1"), ("b", "0")))
    assert [hour.hour for hour in first.touched] == [14, 15]
    again = labels.join(first.rows, told(("a", "1"), ("b", "0")))
    assert (again.touched, again.replaced) == ((), 0)
    later = labels.join(first.rows, told(("b", "1"), ("c", "1"), at=START + timedelta(days=3)))
    assert [hour.hour for hour in later.touched] == [15, 16]
    assert known(later) == ["1", "1", "1"]
    assert later.replaced == 1
    stale = labels.join(later.rows, told(("b", "0"), at=START + timedelta(days=1)))
    assert known(stale) == ["1", "1", "1"]


def test_an_inference_id_of_several_requests_is_told() -> None:
    joined = labels.join(captured(("a", "same", 1), ("b", "same", 1)), told(("same", "1")))
    assert known(joined) == ["1", "1"]
    assert "1 inference ids were sent with several requests" in joined.notes[0]


def test_rows_with_little_more_than_ids() -> None:
    rows = pl.DataFrame({names.EVENT_ID: ["a", "a", "b"], names.LABEL: [1, None, None]})
    joined = labels.join(rows, told(("a", "0\n1")))
    assert known(joined) == ["0", "1", None]
    assert labels.join(pl.DataFrame(), told(("a", "1"))).orphaned == 1
    assert labels.join(rows, told()).matched == 1


@given(st.permutations([(hour, event, str(hour)) for hour in range(3) for event in "abc"]))
def test_order_of_files_does_not_matter(records) -> None:
    rows = captured(("a", None, 1), ("b", "b2", 1))
    found = truth.decode(
        [(START + timedelta(hours=hour), record(event, data)) for hour, event, data in records]
    )
    assert known(labels.join(rows, found.frame)) == ["2", "2"]
