from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import codec
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


def refused(body: bytes, media: str = codec.JSON) -> BadBody:
    with pytest.raises(BadBody) as caught:
        codec.decode(body, media, MANIFEST)
    return caught.value


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (json.dumps({"instances": [ROW]}).encode(), codec.JSON),
        (json.dumps([ROW]).encode(), codec.JSON),
        (json.dumps({"instances": [[1.5, 7, "UA"]]}).encode(), codec.JSON),
        (b'{"columns": ["carrier", "hour", "delay"], "data": [["UA", 7, 1.5]]}', codec.JSON),
        (b"1.5,7,UA\n", codec.CSV),
        (b"carrier,hour,delay\r\nUA,7,1.5", codec.CSV),
    ],
)
def test_every_shape_means_the_same_row(body: bytes, media: str) -> None:
    columns = codec.decode(body, media, MANIFEST)
    assert {name: values.tolist() for name, values in columns.items()} == {
        "delay": [[1.5]],
        "hour": [[7.0]],
        "carrier": [["UA"]],
    }
    assert columns["delay"].dtype == np.float32


def test_named_columns_may_be_more_and_optional_ones_fewer() -> None:
    wide, narrow = {**ROW, "weather": "rain"}, {"hour": 7}
    assert codec.decode(json.dumps([wide]).encode(), codec.JSON, MANIFEST)["hour"].tolist() == [[7.0]]
    for body, media in ((json.dumps([narrow]).encode(), codec.JSON), (b"hour,wind\n7,3\n", codec.CSV)):
        columns = codec.decode(body, media, MANIFEST)
        assert np.isnan(columns["delay"]).all()
        assert columns["carrier"].tolist() == [[""]]


def test_missing_values() -> None:
    for body, media in ((b"[[null, 1, null]]", codec.JSON), (b",1,\n", codec.CSV)):
        columns = codec.decode(body, media, MANIFEST)
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
    error = refused(body, codec.CSV)
    assert (error.field, error.row) == (field, row)
    assert words in str(error)


def test_media_types() -> None:
    assert codec.media_type(None) == codec.JSON
    assert codec.media_type("Text/CSV; charset=UTF-8") == codec.CSV
    for unknown in ("application/x-npy", "text/csv; charset=utf-16"):
        with pytest.raises(UnsupportedContentType):
            codec.media_type(unknown)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [(None, codec.CSV), ("*/*", codec.CSV), ("image/png, application/json;q=0.1, text/csv", codec.JSON)],
)
def test_accept(accept: str | None, expected: str) -> None:
    assert codec.answer_type(accept, codec.CSV) == expected


def test_nothing_acceptable() -> None:
    with pytest.raises(NotAcceptable):
        codec.answer_type("image/png", codec.JSON)


def test_answers() -> None:
    binary = from_probabilities(MANIFEST, np.array([[0.17, 0.83]], np.float32))
    assert (
        codec.encode(binary, codec.JSON, MANIFEST) == b'{"predictions":[{"predicted_label":1,"score":0.83}]}'
    )
    assert codec.encode(binary, codec.CSV, MANIFEST) == b"1,0.83\n"
    plain = Predictions(np.array([12.5], np.float32), None)
    regression = Manifest("m", "regression", "onnx", None, MANIFEST.inputs, MANIFEST.parity)
    assert codec.encode(plain, codec.JSON, regression) == b'{"predictions":[{"score":12.5}]}'


@given(st.binary(max_size=200), st.sampled_from([codec.JSON, codec.CSV]))
def test_any_bytes_give_columns_or_a_refusal(body: bytes, media: str) -> None:
    try:
        columns = codec.decode(body, media, MANIFEST)
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
        codec.JSON: json.dumps({"instances": rows}).encode(),
        codec.CSV: "\n".join(["delay,hour,carrier", *quoted]).encode(),
    }
    for media, body in bodies.items():
        columns = codec.decode(body, media, MANIFEST)
        assert columns["carrier"][:, 0].tolist() == [c for _, _, c in rows]
        found = columns["delay"][:, 0].tolist()
        assert [None if value != value else value for value in found] == [a for a, _, _ in rows]  # noqa: PLR0124
