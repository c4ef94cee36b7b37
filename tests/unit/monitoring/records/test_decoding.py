"""Captured payloads to rows: every format on either side, and records that cannot be read."""

from __future__ import annotations

import base64
import io
import json
from datetime import UTC, datetime

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pytest

from monitoring.records import COLUMNS, Layout, decode
from serving.capture.record import Exchange, line
from serving.capture.settings import parse

AT = datetime(2026, 11, 23, 9, 59, 50, tzinfo=UTC)
SETTINGS = parse('{"destination": "/captures"}')
LAYOUT = Layout((("age", "double"), ("city", "string")), "binary", (0, 1))
JSON, CSV = "application/json", "text/csv; charset=utf-8"
ANSWER = b'{"predictions":[{"predicted_label":1,"score":0.75}]}'


def record(
    body: bytes, kind: str = JSON, answer: bytes = ANSWER, answer_kind: str = JSON, number: int = 0, **changes
) -> bytes:
    exchange = Exchange(f"e{number}", AT.timestamp() + number, kind, body, answer_kind, answer, **changes)
    return line(exchange, SETTINGS)[:-1]


def rows(*lines: bytes, layout: Layout = LAYOUT) -> list[dict]:
    found = decode(lines, layout, "v1")
    assert not found.refused, found.examples
    return found.frame.to_dicts()


def npy(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


FRAME = pl.DataFrame({"age": [31, 40], "city": ["Rome", None]})
TWO = b'{"predictions":[{"predicted_label":1,"score":0.75},{"predicted_label":0,"score":0.25}]}'


def test_a_row_carries_inputs_ids_time_variant_and_prediction():
    found = decode(
        [record(b'{"instances":[{"age":31,"city":"Rome"}]}', number=3, inference_id="own")], LAYOUT, "v7"
    )
    assert found.frame.columns == ["age", "city", *COLUMNS]
    assert found.frame.row(0, named=True) == {
        "age": 31, "city": "Rome", "@event_id": "e3", "@inference_id": "own", "@row": 0,
        "@at": AT.replace(second=53), "@variant": "v7", "@predicted_label": "1", "@score": 0.75,
    }  # fmt: skip
    assert found.records == 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b'{"instances":[{"age":31,"city":"Rome"},{"age":40,"city":null}]}'),
        (JSON, b'[{"age":31,"city":"Rome"},{"age":40}]'),
        (JSON, b'{"instances":[[31,"Rome"],[40,null]]}'),
        (JSON, b'[[31,"Rome"],[40,null]]'),
        (JSON, b'{"columns":["city","age"],"data":[["Rome",31],[null,40]]}'),
        (JSON, b'{\n "instances": [\n {"age": 31, "city": "Rome"}, {"age": 40, "city": null}]}'),
        ("application/jsonlines", b'{"age":31,"city":"Rome"}\n{"age":40,"city":null}\n'),
        ("application/x-ndjson", b'[31,"Rome"]\n\n[40,null]'),
        (CSV, b"31,Rome\n40,\n"),
        (CSV, b"31,Rome\r\n40,\r\n"),
        (CSV, b'31,"Rome"\n40,""\n'),
        (CSV, b"city,age\nRome,31\n,40"),
        (CSV, b'"city","age"\n"Rome",31\n,40'),
        ("application/vnd.apache.parquet", parquet(FRAME)),
        ("application/vnd.apache.arrow.stream", arrow(FRAME.to_arrow())),
    ],
)
def test_every_format_of_requests(kind, body):
    found = rows(record(body, kind, TWO))
    assert [(one["age"], one["city"], one["@row"]) for one in found] == [(31, "Rome", 0), (40, None, 1)]
    assert [(one["@predicted_label"], one["@score"]) for one in found] == [("1", 0.75), ("0", 0.25)]


def test_arrays_of_npy_are_named_in_the_models_order_and_whole_numbers_are_whole():
    layout = Layout((("age", "double"), ("height", "double")), "binary", (0, 1))
    frame = decode(
        [record(npy(np.array([[31.0, 1.5], [40.0, np.nan]])), "application/x-npy", TWO)], layout, "v"
    ).frame
    assert frame["age"].to_list() == [31, 40]
    assert frame["height"].to_list() == [1.5, None]
    assert frame.schema["age"] == pl.Int64


def test_structured_arrays_have_their_own_names():
    body = npy(np.array([(31, "Rome")], [("age", "i8"), ("city", "U10")]))
    (found,) = rows(record(body, "application/x-npy"))
    assert (found["age"], found["city"]) == (31, "Rome")


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (JSON, ANSWER),
        (JSON, b'[{"predicted_label": true, "score": 0.75}]'),
        (JSON, b'{"predictions": [0.75]}'),
        (JSON, b"0.75"),
        (JSON, b"[[0.25, 0.75]]"),
        (JSON, b'{"probabilities": [0.25, 0.75]}'),
        (JSON, b'{"predictions":{"content_type":"text/csv","data":"1,0.75\\n"},"explanations":{}}'),
        ("application/jsonlines", b'{"predicted_label":1,"score":0.75}\n'),
        (CSV, b"1,0.75\n"),
        (CSV, b"0.75"),
        (CSV, b"1.0,0.75\n"),
        ("application/x-npy", npy(np.array([(1, 0.75)], [("predicted_label", "i8"), ("score", "f8")]))),
        ("application/x-npy", npy(np.array([0.75]))),
        (
            "application/vnd.apache.arrow.stream",
            arrow(pa.table({"predicted_label": [1], "score": [0.75]})),
        ),
        ("text/plain", b"1"),
    ],
)
def test_every_format_of_answers(kind, answer):
    (found,) = rows(record(b"31,Rome", CSV, answer, kind))
    assert found["@predicted_label"] == "1"
    assert found["@score"] == (None if kind == "text/plain" else 0.75)
    assert found["age"] == 31


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (JSON, b'{"predictions":[{"predicted_label":"b","scores":[0.2,0.5,0.3]}]}'),
        (JSON, b'{"predictions":[[0.2,0.5,0.3]]}'),
        (CSV, b"b,0.2,0.5,0.3\n"),
        (CSV, b"0.2,0.5,0.3\n"),
        (
            "application/x-npy",
            npy(np.array([("b", [0.2, 0.5, 0.3])], [("predicted_label", "U1"), ("scores", "f8", 3)])),
        ),
    ],
)
def test_answers_of_many_classes(kind, answer):
    layout = Layout(LAYOUT.inputs, "multiclass", ("a", "b", "c"))
    (found,) = rows(record(b"31,Rome", CSV, answer, kind), layout=layout)
    assert found["@predicted_label"] == "b"
    assert found["@score"] == pytest.approx([0.2, 0.5, 0.3])


@pytest.mark.parametrize(
    ("kind", "answer"),
    [(JSON, b'{"predictions":[{"score":12.5}]}'), (CSV, b"12.5"), (JSON, b"[12.5]"), (JSON, b"12.5")],
)
@pytest.mark.parametrize("task", ["regression", None])
def test_answers_that_are_numbers(kind, answer, task):
    layout = Layout(LAYOUT.inputs, task)
    found = decode([record(b"31,Rome", CSV, answer, kind)], layout, "v1").frame
    assert found["@predicted_label"].to_list() == [12.5]
    assert found["@score"].to_list() == [None]


@pytest.mark.parametrize(("score", "label"), [(0.5, "0"), (0.51, "1")])
def test_a_score_equal_to_the_threshold_is_negative(score, label):
    (found,) = rows(record(b"31,Rome", CSV, f"{score}".encode(), CSV))
    assert found["@predicted_label"] == label


def test_columns_of_answers_that_somebody_names():
    layout = Layout(LAYOUT.inputs, "binary", ("no", "yes"), predicted="result.class", score="result.p")
    answer = b'{"id": 7, "result": {"class": "yes", "p": 0.9, "unit": "x"}}'
    (found,) = rows(record(b"31,Rome", CSV, answer), layout=layout)
    assert (found["@predicted_label"], found["@score"]) == ("yes", 0.9)
    layout = Layout(LAYOUT.inputs, "binary", ("no", "yes"), predicted="2", score="0")
    (found,) = rows(record(b"31,Rome", CSV, b"0.9,7,yes\n", CSV), layout=layout)
    assert (found["@predicted_label"], found["@score"]) == ("yes", 0.9)


def test_nested_objects_become_dotted_names_and_lists_become_json():
    body = b'{"instances":[{"person":{"age":31,"home":{"city":"Rome"}},"tags":["a",1],"@at":"x"}]}'
    (found,) = rows(record(body), layout=Layout())
    assert (found["person.age"], found["person.home.city"]) == (31, "Rome")
    assert found["tags"] == '["a",1]'
    assert found["_@at"] == "x"


def test_nested_objects_at_once_as_one_by_one():
    bodies = [b'{"instances":[{"p":{"age":%d,"q":{"c":"x"}},"when":"2026-01-0%d"}]}' % (n, n) for n in (1, 2)]
    found = rows(*(record(body) for body in bodies), layout=Layout())
    assert [(one["p.age"], one["p.q.c"], one["when"]) for one in found] == [
        (1, "x", "2026-01-01"),
        (2, "x", "2026-01-02"),
    ]


def test_a_column_of_mixed_types_is_text_and_harms_nobody():
    bodies = [
        b'{"instances":[{"age":31}]}',
        b'{"instances":[{"age":"old"}]}',
        b'{"instances":[{"age":true}]}',
    ]
    found = rows(*(record(body) for body in bodies))
    assert [one["age"] for one in found] == ["31", "old", "true"]


def test_numbers_that_are_none_are_missing_and_infinity_stays():
    found = rows(record(b'[{"age": NaN}, {"age": Infinity}, {"age": 1.5}]', JSON, b"[0.1,0.2,0.3]"))
    assert [one["age"] for one in found] == [None, float("inf"), 1.5]


def test_an_input_that_is_text_keeps_its_zeros():
    layout = Layout((("age", "double"), ("zip", "string")), "binary", (0, 1))
    (found,) = rows(record(b"31,01234", CSV), layout=layout)
    assert found["zip"] == "01234"
    (unknown,) = rows(record(b"31,01234", CSV), layout=Layout())
    assert (unknown["_c0"], unknown["_c1"]) == (31, "01234")


def test_sides_of_different_encodings_are_read_each_on_its_own():
    found = rows(
        record(b"31,Rome", CSV, ANSWER, JSON, 0),
        record(b'{"instances":[{"age":1,"city":"x"}]}', JSON, b"0,0.25\n", CSV, 1),
        record(
            npy(np.array([(2, "y")], [("age", "i8"), ("city", "U1")])), "application/x-npy", b"0.9", CSV, 2
        ),
    )
    assert [(one["age"], one["city"], one["@score"]) for one in found] == [
        (31, "Rome", 0.75), (1, "x", 0.25), (2, "y", 0.9),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"no json", "record: line is not JSON"),
        (b"[]", "record: line is no object"),
        (b"{}", "record: line has no captureData or eventMetadata"),
        (b'{"captureData":{},"eventMetadata":{}}', "record: record has no eventId"),
        (b'{"captureData":{},"eventMetadata":{"eventId":"x"}}', "record: record has no inferenceTime"),
        (record(b"{", JSON), "request: body is not JSON"),
        (record(b'"31', CSV), "request: body is not CSV"),
        (record(b"", CSV), "request: body is empty"),
        (record(b"\xff\xfe", "image/png"), "request: content type image/png is not read"),
        (record(b"\xff", CSV), "request: body is not UTF-8 text"),
        (record(b"\x93NUMPY", "application/x-npy"), "request: body is not an npy array that can be read"),
        (record(b"PAR1", "application/x-parquet"), "request: body is not a Parquet file that can be read"),
        (record(b"x", "application/vnd.apache.arrow.stream"), "request: body is not an Arrow stream that can be read"),
        (record(b"1,x", CSV, b"{"), "answer: body is not JSON"),
        (record(b"1,x", CSV, b"[0.1,0.2]"), "answer: answer has 2 rows for a request with one row"),
        (record(b"1,x", CSV).replace(b'"inferenceTime":"2', b'"inferenceTime":"a'), "record: inferenceTime is no time"),
        (record(b"1,x", CSV).replace(b'"encoding":"CSV"', b'"encoding":"TSV"'), "record: unknown encoding TSV"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_counted_and_described_and_stops_nothing(line, reason):
    good = [record(b"31,Rome", CSV, number=n) for n in (1, 2)]
    found = decode([good[0], line, good[1]], LAYOUT, "v1")
    assert dict(found.refused) == {reason: 1}
    assert f"{found.examples[0].part}: {found.examples[0].reason}" == reason
    assert found.records == 3
    events = [one for one in found.frame["@event_id"] if one != "e0"]
    assert events == ["e1", "e2"]
    if reason.startswith("answer"):
        assert found.frame.filter(pl.col("@event_id") == "e0")["@score"].to_list() == [None]


def test_an_array_of_objects_is_never_loaded():
    out = io.BytesIO()
    np.save(out, np.array([{"a": 1}], object), allow_pickle=True)
    found = decode([record(out.getvalue(), "application/x-npy")], LAYOUT, "v1")
    assert dict(found.refused) == {"request: body is not an npy array that can be read": 1}


def test_only_answers_or_only_requests():
    only = parse('{"destination": "/x", "modes": ["Output"]}')
    exchange = Exchange("e", AT.timestamp(), CSV, b"1,x", JSON, TWO)
    found = decode([line(exchange, only)[:-1]], LAYOUT, "v1").frame
    assert found["@score"].to_list() == [0.75, 0.25]
    assert found["@row"].to_list() == [0, 1]
    only = parse('{"destination": "/x", "modes": ["Input"]}')
    found = decode([line(exchange, only)[:-1]], LAYOUT, "v1").frame
    assert found["age"].to_list() == [1]
    assert found["@predicted_label"].to_list() == [None]


def test_somebody_elses_lines_are_read_as_ours():
    event = {
        "captureData": {
            "batchTransformOutput": {"encoding": "CSV", "data": "0.9", "observedContentType": "text/csv"},
            "endpointInput": {"mode": "INPUT", "data": "31,Rome\n", "encoding": "CSV"},
        },
        "eventVersion": "0",
        "eventMetadata": {"inferenceTime": "2026-11-23T09:59:50.5+00:00", "eventId": "theirs", "customAttributes": "a"},
    }  # fmt: skip
    found = decode([json.dumps(event).encode(), record(b"31,Rome", CSV)], LAYOUT, "v1").frame
    assert found["@event_id"].to_list() == ["theirs", "e0"]
    assert found["@at"].to_list() == [AT.replace(microsecond=500_000), AT]
    assert found["@score"].to_list() == [0.9, 0.75]


def test_no_lines():
    found = decode([], LAYOUT, "v1")
    assert found.frame.height == 0
    assert found.frame.columns == list(COLUMNS)
    assert found.records == 0


# ---- a project's handler ----------------------------------------------------------------------------------


def test_a_handler_makes_the_rows_and_may_leave_records_out():
    def preprocess_handler(inference_record):
        found = json.loads(inference_record.endpoint_input.data)
        if found["age"] < 18:
            return []
        return {"decade": found["age"] // 10, "zone": {"name": inference_record.event_metadata.event_id}}

    lines = [record(b'{"age":%d}' % age, number=n) for n, age in enumerate((31, 12, 47))]
    found = decode(lines, LAYOUT, "v1", preprocess_handler)
    assert found.dropped == 1
    assert not found.refused
    assert found.frame.select("decade", "zone.name", "@score").rows() == [(3, "e0", 0.75), (4, "e2", 0.75)]


def test_a_handler_may_give_the_prediction_too_and_takes_a_logger():
    def preprocess_handler(inference_record, logger):
        logger.debug("seen")
        return [{"x": 1, "@predicted_label": "yes", "@score": 0.4}]

    found = decode([record(b"{}")], LAYOUT, "v1", preprocess_handler).frame
    assert found.row(0, named=True)["@predicted_label"] == "yes"
    assert found["@score"].to_list() == [0.4]


def test_a_handler_that_raises_is_a_refusal():
    def preprocess_handler(inference_record):
        raise KeyError("age")

    found = decode([record(b"1,x", CSV)], LAYOUT, "v1", preprocess_handler)
    assert dict(found.refused) == {"request: preprocess_handler raised KeyError: 'age'": 1}
    assert found.frame.height == 0


def test_base64_of_text():
    event = orjson.loads(record(b"31,Rome", CSV))
    event["captureData"]["endpointInput"] |= {
        "encoding": "BASE64",
        "data": base64.b64encode(b"31,Rome").decode(),
    }
    (found,) = rows(orjson.dumps(event))
    assert (found["age"], found["city"]) == (31, "Rome")
