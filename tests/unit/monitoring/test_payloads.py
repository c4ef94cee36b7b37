"""What is read out of bodies, and that nothing makes the reader fall."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.payloads import Prediction, column, plain_label, predictions

JSON, CSV = "application/json", "text/csv"


@pytest.mark.parametrize(
    ("kind", "body", "rows"),
    [
        (JSON, b'{"predictions": [{"predicted_label": 1, "score": 0.25}]}', (Prediction("1", (0.25,)),)),
        (JSON, b'{"predictions": [{"score": 3.5}]}', (Prediction(None, (3.5,)),)),
        (JSON, b'{"predictions": [{"predicted_label": "a", "scores": [0.7, 0.3]}]}', (Prediction("a", (0.7, 0.3)),)),
        (JSON + "; charset=utf-8", b"[1, 0.5]", (Prediction(None, (1.0,)), Prediction(None, (0.5,)))),
        (JSON, b"[[0.1, 0.9]]", (Prediction(None, (0.1, 0.9)),)),
        (JSON, b'["cat"]', (Prediction("cat"),)),
        (JSON, b'{"b": 1, "a": [2]}', (Prediction(content='{"a": [2], "b": 1}'),)),
        (CSV + "; charset=utf-8", b"1,0.25\n0,0.125\n", (Prediction("1", (0.25,)), Prediction("0", (0.125,)))),
        (CSV, b"3.5\n4\n", (Prediction(None, (3.5,)), Prediction(None, (4.0,)))),
        (CSV, b"0.1,0.9\n", (Prediction(None, (0.1, 0.9)),)),
        (CSV, b"True,0.5\n", (Prediction("1", (0.5,)),)),
        ("application/jsonlines", b'{"score": 1}\n\n{"score": 2}\n', (Prediction(None, (1.0,)), Prediction(None, (2.0,)))),
        ("text/plain", b"hello", (Prediction(content="hello"),)),
        (JSON, b"{broken", (Prediction(content="{broken"),)),
    ],
)  # fmt: skip
def test_answers(kind, body, rows):
    assert predictions(kind, body) == rows


def test_the_two_formats_of_a_package_say_the_same():
    as_json = predictions(JSON, b'{"predictions": [{"predicted_label": false, "score": 0.1}]}')
    assert as_json == predictions(CSV, b"False,0.1\n")


@given(st.sampled_from([JSON, CSV, "application/jsonlines", "", "application/x-npy"]), st.binary(max_size=80))
def test_no_answer_makes_it_fall(kind, body):
    assert predictions(kind, body) == predictions(kind, body)
    assert isinstance(column(kind, body, "a", ("a", "b")), tuple)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)))  # fmt: skip
def test_nor_does_any_json(document):
    body = json.dumps(document).encode()
    predictions(JSON, body)
    column(JSON, body, "a", ("a", "b"))


@pytest.mark.parametrize(
    ("kind", "body", "values"),
    [
        (JSON, b'{"instances": [{"a": 1, "c": "x"}, {"c": "y"}]}', ("x", "y")),
        (JSON, b'[{"c": "x"}, {}]', ("x", None)),
        (JSON, b'{"columns": ["c", "a"], "data": [["x", 1]]}', ("x",)),
        (JSON, b'[[1, "x"], [2, "y"]]', ("x", "y")),
        (JSON, b'{"c": "x"}', ("x",)),
        (CSV, b"c,a\nx,1\ny,2\n", ("x", "y")),
        (CSV, b"1,x\n2,\n", ("x", None)),
        (JSON, b"nonsense", ()),
    ],
)
def test_a_column_of_a_request(kind, body, values):
    assert column(kind, body, "c", ("a", "c")) == values


@pytest.mark.parametrize("written", [1, 1.0, "1", "1.0", True, "true", " True "])
def test_one_label_however_it_is_written(written):
    assert plain_label(written) == "1"


def test_long_answers_are_compared_by_their_hash():
    one, other = (predictions("image/png", bytes([byte]) * 1000) for byte in (1, 2))
    assert one != other
    assert one[0].content.startswith("sha256:")
