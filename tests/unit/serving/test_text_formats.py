from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import codecs
from serving.codecs import lenient
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
        (json.dumps(ROW).encode(), codecs.JSON),
        (b'[1.5, 7, "UA"]', codecs.JSON),
        (b'{"instances": [1.5, 7, "UA"]}', codecs.JSON),
        (json.dumps({"inputs": [ROW]}).encode(), codecs.JSON),
        (b'{"inputs": {"carrier": ["UA"], "hour": [7], "delay": [1.5]}}', codecs.JSON),
        (json.dumps({"instances": [ROW], "parameters": {}}).encode(), codecs.JSON),
        (json.dumps({"signature_name": "serving_default", "instances": [ROW]}).encode(), codecs.JSON),
        (json.dumps({"dataframe_records": [ROW], "params": {"a": 1}}).encode(), codecs.JSON),
        (b'{"columns": ["carrier", "hour", "delay"], "data": [["UA", 7, 1.5]]}', codecs.JSON),
        (b'{"columns":["carrier","hour","delay"],"index":[0],"data":[["UA",7,1.5]]}', codecs.JSON),
        (
            b'{"dataframe_split": {"columns": ["carrier", "hour", "delay"], "data": [["UA", 7, 1.5]]}}',
            codecs.JSON,
        ),
        (b'{"columns": ["z", "hour", "z", "carrier", "delay"], "data": [[0, 7, 0, "UA", 1.5]]}', codecs.JSON),
        (b'\xef\xbb\xbf[[1.5, 7, "UA"]]', codecs.JSON),
        (b'\xef\xbb\xbf[1.5, 7, "UA"]', codecs.LINES),
        (b"delay,hour,carrier,z,z\n1.5,7,UA,1,2\n", codecs.CSV),
        (b",,delay,hour,carrier\n0,0,1.5,7,UA\n", codecs.CSV),
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
    for body, media in (
        (b"[[null, 1, null]]", codecs.JSON),
        (b"[[NaN, 1, NaN]]", codecs.JSON),
        (b'{"delay": NaN, "hour": 1, "z": Infinity}', codecs.LINES),
        (b",1,\n", codecs.CSV),
    ):
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
        (b"[[1, NaN, null]]", "hour", 0, "required"),
        (b"[[1, 1, null], [-Infinity, 1, null]]", "delay", 1, "not '-Infinity'"),
        (b"[[NaN, 1, null]", None, None, "not valid JSON"),
        (b"[1.5, 7]", None, 0, "must be a list of 3 values"),
        (b'[1.5, 7, ["UA"]]', None, 0, "must be a list of 3 values"),
        (b'{"dely": 1, "hour": 1}', "dely", 0, "did you mean 'delay'"),
        (b'{"other": 1}', None, None, "instances"),
        (b'{"inputs": {"hour": [1, 2], "delay": [1]}}', None, None, "one length"),
        (b'{"columns": ["hour"], "data": [7]}', None, None, "list of lists"),
        (b'{"columns": ["hour", "hour"], "data": [[7, 7]]}', "hour", None, "given twice"),
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
        (b'{"hour": 7}\n{"hour": NaN}', 1, "required"),
        (b'{"hour": 7}\n{"hour": Infinity}', 1, "must be a number, not 'Infinity'"),
        (b'{"hour": 7}\n{"hour": NaN', 1, "not valid JSON"),
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


@pytest.mark.parametrize("body", [b"[1, 2, 3]", b'{"instances": [1, 2, 3]}', b"[[1], [2], [3]]"])
def test_a_flat_list_is_rows_of_a_model_with_one_input(body: bytes) -> None:
    one = Manifest("m", "regression", "onnx", None, (Input("a", "double"),), MANIFEST.parity)
    assert codecs.decode(body, codecs.JSON, one)["a"].tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (
            b'["NaN", NaN, "a\\"NaN", -Infinity, "\\\\", Infinity]',
            ["NaN", None, 'a"NaN', "-Infinity", "\\", "Infinity"],
        ),
        (b'\xef\xbb\xbf{"NaN": [NaN]}', {"NaN": [None]}),
    ],
)
def test_words_that_are_no_json_are_found_outside_of_texts(body: bytes, value: object) -> None:
    assert lenient.loads(body) == value


@given(
    st.recursive(
        st.floats() | st.text() | st.none(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
        max_leaves=6,
    )
)
def test_what_python_writes_is_read(value: object) -> None:
    def plain(one: object) -> object:
        match one:
            case float() if math.isnan(one):
                return None
            case float() if math.isinf(one):
                return "Infinity" if one > 0 else "-Infinity"
            case list():
                return [plain(item) for item in one]
            case dict():
                return {key: plain(item) for key, item in one.items()}
        return one

    assert lenient.loads(json.dumps(value).encode()) == plain(value)


def test_texts_without_an_end_are_refused_in_time() -> None:
    for body in (b'"' + b'\\"' * 200_000 + b" NaN", b'["NaN' * 100_000, b'"' * 200_001 + b"NaN"):
        refused(body)
