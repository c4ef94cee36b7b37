from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import codecs
from serving.errors import BadBody, NotAcceptable, RequestRefused, UnsupportedContentType
from serving.manifest import Input, Manifest, ParityRecord
from serving.predictions import Predictions, from_probabilities

MANIFEST = Manifest(
    "m",
    "binary",
    "onnx",
    (0, 1),
    (Input("delay", "double"), Input("hour", "double", required=True), Input("carrier", "string")),
    ParityRecord(1, 0.0, passed=True),
)
ROW = {"delay": 1.5, "hour": 7, "carrier": "UA"}


def refused(body: bytes, media: str = codecs.JSON) -> BadBody:
    with pytest.raises(BadBody) as caught:
        codecs.decode(body, media, MANIFEST)
    return caught.value


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (json.dumps({"instances": [ROW]}).encode(), codecs.JSON),
        (json.dumps([ROW]).encode(), codecs.JSON),
        (json.dumps({"instances": [[1.5, 7, "UA"]]}).encode(), codecs.JSON),
        (b'{"columns": ["carrier", "hour", "delay"], "data": [["UA", 7, 1.5]]}', codecs.JSON),
        (b"1.5,7,UA\n", codecs.CSV),
        (b"carrier,hour,delay\r\nUA,7,1.5", codecs.CSV),
    ],
)
def test_every_shape_means_the_same_row(body: bytes, media: str) -> None:
    columns = codecs.decode(body, media, MANIFEST)
    assert {name: values.tolist() for name, values in columns.items()} == {
        "delay": [[1.5]],
        "hour": [[7.0]],
        "carrier": [["UA"]],
    }
    assert columns["delay"].dtype == np.float32


def test_named_columns_may_be_more_and_optional_ones_fewer() -> None:
    wide, narrow = {**ROW, "weather": "rain"}, {"hour": 7}
    assert codecs.decode(json.dumps([wide]).encode(), codecs.JSON, MANIFEST)["hour"].tolist() == [[7.0]]
    for body, media in ((json.dumps([narrow]).encode(), codecs.JSON), (b"hour,wind\n7,3\n", codecs.CSV)):
        columns = codecs.decode(body, media, MANIFEST)
        assert np.isnan(columns["delay"]).all()
        assert columns["carrier"].tolist() == [[""]]


def test_missing_values() -> None:
    for body, media in ((b"[[null, 1, null]]", codecs.JSON), (b",1,\n", codecs.CSV)):
        columns = codecs.decode(body, media, MANIFEST)
        assert np.isnan(columns["delay"]).all()
        assert columns["carrier"][0, 0] == ""


@pytest.mark.parametrize(
    ("body", "field", "row", "words"),
    [
        (b"[[1, 1, 1]]", "carrier", 0, "must be text"),
        (b'[[1, 1, "a"], ["x", 1, "a"]]', "delay", 1, "must be a number"),
        (b"[[1, null, null]]", "hour", 0, "required"),
        (b"[[1e300, 1, null]]", "delay", 0, "too large"),
        (b"[[1, 1, null], [1, 1]]", None, 1, "2 values"),
        (b'[{"delay": 1, "carrier": "a"}]', "hour", 0, "is missing"),
        (b'[{"delay": 1, "hour": 1, "carier": "x"}]', "carier", 0, "did you mean 'carrier'"),
        (b"[]", None, None, "no rows"),
        (b" ", None, None, "empty"),
        (b"[[NaN, 1, null]]", None, None, "null"),
        (b"[" * 100_000, None, None, "JSON"),
        (b'"text"', None, None, "instances"),
    ],
)
def test_bad_json_says_where(body: bytes, field: str | None, row: int | None, words: str) -> None:
    error = refused(body)
    assert (error.field, error.row, error.status) == (field, row, 400)
    assert words in str(error)


@pytest.mark.parametrize(
    ("body", "field", "row", "words"),
    [
        (b"x,1,a\n", "delay", 0, "must be a number"),
        (b"1,1,a\n1,2\n", None, 1, "2 values"),
        (b"delay,huor,carrier\n1,1,a\n", "huor", None, "did you mean 'hour'"),
        (b"delay,hour,carrier\n", None, None, "no rows"),
        (b"\xff\xfe", None, None, "UTF-8"),
        (b"inf,1,a\n", "delay", 0, "finite"),
    ],
)
def test_bad_csv_says_where(body: bytes, field: str | None, row: int | None, words: str) -> None:
    error = refused(body, codecs.CSV)
    assert (error.field, error.row) == (field, row)
    assert words in str(error)


def test_media_types() -> None:
    assert codecs.media_type(None) == codecs.JSON
    assert codecs.media_type("Text/CSV; charset=UTF-8") == codecs.CSV
    for unknown in ("image/png", "text/csv; charset=utf-16"):
        with pytest.raises(UnsupportedContentType):
            codecs.media_type(unknown)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [(None, codecs.CSV), ("*/*", codecs.CSV), ("image/png, application/json;q=0.1, text/csv", codecs.JSON)],
)
def test_accept(accept: str | None, expected: str) -> None:
    assert codecs.answer_type(accept, codecs.CSV) == expected


def test_nothing_acceptable() -> None:
    with pytest.raises(NotAcceptable):
        codecs.answer_type("image/png", codecs.JSON)


def test_answers() -> None:
    binary = from_probabilities(MANIFEST, np.array([[0.17, 0.83]], np.float32))
    assert (
        codecs.encode(binary, codecs.JSON, MANIFEST)
        == b'{"predictions":[{"predicted_label":1,"score":0.83}]}'
    )
    assert codecs.encode(binary, codecs.CSV, MANIFEST) == b"1,0.83\n"
    plain = Predictions(np.array([12.5], np.float32), None)
    regression = Manifest("m", "regression", "onnx", None, MANIFEST.inputs, MANIFEST.parity)
    assert codecs.encode(plain, codecs.JSON, regression) == b'{"predictions":[{"score":12.5}]}'


@given(st.binary(max_size=200), st.sampled_from([codecs.JSON, codecs.CSV]))
def test_any_bytes_give_columns_or_a_refusal(body: bytes, media: str) -> None:
    try:
        columns = codecs.decode(body, media, MANIFEST)
    except RequestRefused as error:
        assert 400 <= error.status < 500
    else:
        assert len({values.shape for values in columns.values()}) == 1


NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=8)


@given(st.lists(st.tuples(NUMBERS, st.floats(-1e6, 1e6, width=32), WORDS), min_size=1, max_size=5))
def test_round_trip(rows: list[tuple[float | None, float, str]]) -> None:
    quoted = [f'{"" if a is None else a},{b},"{c.replace(chr(34), chr(34) * 2)}"' for a, b, c in rows]
    bodies = {
        codecs.JSON: json.dumps({"instances": rows}).encode(),
        codecs.CSV: "\n".join(["delay,hour,carrier", *quoted]).encode(),
    }
    for media, body in bodies.items():
        columns = codecs.decode(body, media, MANIFEST)
        assert columns["carrier"][:, 0].tolist() == [c for _, _, c in rows]
        found = columns["delay"][:, 0].tolist()
        assert [None if value != value else value for value in found] == [a for a, _, _ in rows]  # noqa: PLR0124


def test_lines() -> None:
    body = b'{"hour": 7, "carrier": "UA"}\r\n\n{"hour": 8, "delay": 1.5}\n'
    columns = codecs.decode(body, codecs.LINES, MANIFEST)
    assert columns["hour"].tolist() == [[7], [8]]
    assert columns["carrier"].tolist() == [["UA"], [""]]
    assert codecs.decode(b'[1.5, 7, "UA"]', codecs.LINES, MANIFEST)["hour"].tolist() == [[7]]
    binary = from_probabilities(MANIFEST, np.array([[0.17, 0.83], [1, 0]], np.float32))
    lines = codecs.encode(binary, codecs.LINES, MANIFEST)
    assert lines == b'{"predicted_label":1,"score":0.83}\n{"predicted_label":0,"score":0.0}\n'


@pytest.mark.parametrize(
    ("body", "row", "words"),
    [
        (b'{"hour": 7}\n{"hour": NaN}', 1, "null"),
        (b'{"hour": 7}\n[1, 2, "x"]', 1, "not an object"),
        (b"[1, 2, null]\n7", 1, "must be a list"),
        (b"\n\n ,", 0, "not valid JSON"),
    ],
)
def test_bad_lines_say_where(body: bytes, row: int, words: str) -> None:
    error = refused(body, codecs.LINES)
    assert error.row == row
    assert words in str(error)


@pytest.mark.parametrize(
    ("name", "media"),
    [
        ("application/x-ndjson", codecs.LINES),
        ("application/jsonl", codecs.LINES),
        ("application/jsonlines; charset=utf-8", codecs.LINES),
        ("application/x-npy", codecs.NPY),
        ("application/x-parquet", codecs.PARQUET),
        ("Application/VND.Apache.Arrow.Stream", codecs.ARROW),
    ],
)
def test_names_of_formats(name: str, media: str) -> None:
    assert codecs.media_type(name) == media
    answered = codecs.ARROW if media == codecs.PARQUET else media
    assert codecs.answer_type("", media) == answered
    assert codecs.answer_type("text/csv", media) == codecs.CSV
    assert codecs.answer_type("*/*", media, "application/x-ndjson") == codecs.LINES


def test_parquet_is_never_an_answer() -> None:
    with pytest.raises(NotAcceptable):
        codecs.answer_type(codecs.PARQUET, codecs.PARQUET)
