"""Captures read back: every request once, in order, byte for byte; and labels of three formats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from monitoring.payloads import plain_label
from serving.capture.record import Exchange, line
from serving.capture.settings import parse
from steps.errors import DataRefused
from steps.recorded import Span, read_labels, requests, variant, variants

START = datetime(2026, 11, 23, 9, 59, 50, tzinfo=UTC)
DAY = Span(START - timedelta(hours=1), START + timedelta(days=1))


def write(folder: Path, exchanges: list[Exchange], modes: str = '["InputAndOutput"]') -> None:
    settings = parse(f'{{"destination": "{folder}", "sampling": 100, "modes": {modes}}}')
    for exchange in exchanges:
        hour = folder / f"{datetime.fromtimestamp(exchange.at, UTC):%Y/%m/%d/%H}"
        hour.mkdir(parents=True, exist_ok=True)
        with (hour / "00-00-000-x.jsonl").open("ab") as file:
            file.write(line(exchange, settings))


def exchange(number: int, **changes) -> Exchange:
    plain = {
        "event_id": f"e{number}", "at": START.timestamp() + number, "content_type": "text/csv; charset=utf-8",
        "body": b"1,x\r\n", "answer_content_type": "application/json", "answer_body": b"[1]",
    }  # fmt: skip
    return Exchange(**plain | changes)


def test_every_request_comes_once_in_order_whichever_variant_answered(tmp_path):
    write(tmp_path / "v1", [exchange(n) for n in range(0, 20, 2)])
    write(tmp_path / "v2", [exchange(n) for n in [*range(1, 20, 2), 4]])
    found = list(requests(tmp_path, DAY))
    assert [one.event_id for one in found] == [f"e{n}" for n in range(20)]
    assert {one.variant for one in found} == {"v1", "v2"}
    assert variants(tmp_path) == ["v1", "v2"]


@pytest.mark.parametrize("body", [b"1,x\r\n", b"\xff\x00binary", b'{"a": "\xc3\xbc"}', b""])
def test_bodies_and_types_come_back_byte_for_byte(tmp_path, body):
    write(tmp_path / "v1", [exchange(0, body=body, custom_attributes="a=1", inference_id="i")])
    (found,) = requests(tmp_path, DAY)
    assert (found.body, found.content_type) == (body, "text/csv; charset=utf-8")
    assert (found.answer_body, found.custom_attributes, found.inference_id) == (b"[1]", "a=1", "i")


def test_only_the_span(tmp_path):
    write(tmp_path / "v1", [exchange(n) for n in range(20)])
    span = Span(START + timedelta(seconds=5), START + timedelta(seconds=15))
    assert [one.event_id for one in variant(tmp_path / "v1", span)] == [f"e{n}" for n in range(5, 15)]


def test_a_share_is_the_same_events_everywhere(tmp_path):
    for name in ("v1", "v2"):
        write(tmp_path / name, [exchange(n) for n in range(400)])
    span = Span(DAY.since, DAY.until, 0.25)
    ours, theirs = ({one.event_id for one in variant(tmp_path / name, span)} for name in ("v1", "v2"))
    assert ours == theirs
    assert 60 < len(ours) < 140
    assert ours < {one.event_id for one in variant(tmp_path / "v1", Span(DAY.since, DAY.until, 0.5))}


def test_answers_without_requests_are_not_replayed(tmp_path):
    write(tmp_path / "v1", [exchange(0)], '["Output"]')
    assert list(requests(tmp_path, DAY)) == []
    (found,) = variant(tmp_path / "v1", DAY)
    assert (found.body, found.answer_body) == (None, b"[1]")


def test_an_endpoint_without_captures(tmp_path):
    assert list(requests(tmp_path / "nothing", DAY)) == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_labels_come_from_each_format(tmp_path, suffix):
    table = pl.DataFrame({"event_id": ["a", "a", "b", "c"], "row": [0, 1, 0, 0], "label": [1, 0, 1, None]})
    file = tmp_path / f"labels{suffix}"
    {".csv": table.write_csv, ".parquet": table.write_parquet, ".jsonl": table.write_ndjson}[suffix](file)
    found = {
        event: {row: plain_label(one) for row, one in rows.items()}
        for event, rows in read_labels(file).items()
    }
    assert found == {"a": {0: "1", 1: "0"}, "b": {0: "1"}}


def test_labels_by_inference_id_without_rows(tmp_path):
    (tmp_path / "labels.csv").write_text("inference_id,label\n007,yes\n")
    assert read_labels(tmp_path / "labels.csv") == {"007": {0: "yes"}}


@pytest.mark.parametrize(("name", "text"), [("l.csv", "a,b\n1,2\n"), ("l.xlsx", ""), ("l.jsonl", "nonsense")])
def test_labels_that_cannot_be_read_are_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataRefused, match=name):
        read_labels(tmp_path / name)
