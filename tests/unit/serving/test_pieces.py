"""Large JSON bodies, read in pieces, give what a reading as a whole gives: columns, or its words."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import codecs
from serving.codecs import json as json_codec
from serving.codecs import pieces
from serving.codecs.columns import MOST_VALUES
from serving.manifest import Input
from serving.predictions import Predictions
from tests.fakes.model import INPUTS, manifest
from tests.unit.serving.test_plain_rows import outcome

NUMBERS = (Input("a", "double", required=True), Input("b", "double"))
LAYOUTS = [codecs.Layout(manifest(inputs=inputs)) for inputs in (INPUTS, NUMBERS, (Input("t", "string"),))]
USUAL = st.floats(-1e6, 1e6, allow_nan=False) | st.integers(-(10**6), 10**6)
ODD = st.sampled_from(
    [
        None,
        True,
        "1",
        "",
        "ü",
        "},{",
        '"},{"',
        "],[",
        "}, {",
        '\\"}',
        [1],
        {"a": 1},
        [{}, {}],
        1e39,
        float("nan"),
    ]
)
SPACES = st.sampled_from(["", " ", "\n  "])


def same_both_ways(body: bytes, layout: codecs.Layout, piece: int = 24, most: int = 200) -> None:
    with patch.object(pieces, "PIECE", piece), patch.object(json_codec, "LARGE", 0):
        found = outcome(lambda: codecs.read(body, codecs.JSON, layout, most))
    with patch.object(json_codec, "LARGE", MOST_VALUES * 100):
        assert found == outcome(lambda: codecs.read(body, codecs.JSON, layout, most))


def written(rows: Any, space: str, frame: str, names: list[str]) -> bytes:
    inside = f",{space}".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return (frame % (json.dumps(names), f"[{space}{inside}{space}]")).encode()


FRAMES = st.sampled_from(
    ["%.0s%s"] * 2
    + ['%.0s{"instances": %s}', '%.0s{ "inputs" :%s }\n', '%.0s{"dataframe_records":%s}']
    + ['{"columns": %s, "data": %s}'] * 2
    + [
        '%.0s{"instances": %s, "parameters": {}}',
        '{"data": 1, "columns": %s, "data": %s}',
        "%.0s%s]",
        "%.0s\ufeff%s",
    ]
)


@given(st.data())
def test_rows_of_any_kind(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from(LAYOUTS))
    names = [item.name for item in layout.inputs]
    value = {item.name: (USUAL if item.type == "double" else st.text(max_size=3)) for item in layout.inputs}
    objects = data.draw(st.booleans())
    rows: list[Any] = [
        {name: data.draw(value[name]) for name in names} for _ in range(data.draw(st.integers(1, 12)))
    ]
    if data.draw(st.booleans()):
        place, name = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.sampled_from(names))
        rows[place][name] = data.draw(ODD)
    if not objects:
        rows = [list(row.values()) for row in rows]
    if data.draw(st.integers(0, 9)) == 0:
        rows[-1] = data.draw(st.sampled_from([[], {}, 1, None, "x"]))
    same_both_ways(written(rows, data.draw(SPACES), data.draw(FRAMES), names), layout)


@pytest.mark.parametrize(
    "body",
    [
        b'[{"a": 1, "b": 2}, {"a": 3, "b": 4},]',
        b'[{"a": 1, "b": 2}, {"a": 3, "b": 4}]]',
        b'{"instances": [{"a": 1}, {"a": 2}], "instances": [{"a": 3}, {"a": 4}]}',
        b'{"instances": [{"a": 1}, {"a": 2}]',
        b'[{"a": 1, "x": "},{"}, {"a": 2, "x": "}, {\\""}]',
        b'[{"a": 1, "x": [{}, {}, {}]}, {"a": 2, "x": [[1], [2], [3]]}]',
        b'[{"a": 1}, [2, 3], {"a": 1}, [2, 3], [4, 5]]',
        b'[{"a": NaN}, {"a": 1, "b": Infinity}, {"a": -Infinity}]',
        b'{"columns": ["b", "a"], "data": [[1, 2], [3, 4], [5, 6], [7, 8]]}',
        b'{"columns": ["b", "z"], "data": [[1, 2], [3, 4], [5, 6], [7, 8]]}',
        b'{"columns": ["b", 1], "data": [[1, 2], [3, 4], [5, 6], [7, 8]]}',
        b'{"columns": ["a"], "data": [{"a": 1}, {"a": 1}, {"a": 1}]}',
        b"[[1, 2], [3], [4, 5], [6, 7], [8, 9], [10, 11]]",
        b"[[1, 2], [], [4, 5]]",
        b"[[]]",
        b"[{}]",
        b"[[1, 2]" + b" " * 300 + b"]",
    ],
)
def test_what_is_out_of_the_ordinary(body: bytes) -> None:
    for piece in (1, 7, 24, 1000):
        same_both_ways(body, LAYOUTS[1], piece)


def test_too_many_rows_are_refused_in_the_same_words() -> None:
    same_both_ways(b"[" + b",".join([b"[1,2]"] * 200) + b"]", LAYOUTS[1], most=100)


def test_a_large_body_is_read_in_pieces() -> None:
    rows = [{"a": float(n), "b": n / 7, "more": "a, b"} for n in range(12_000)]
    body, reads = json.dumps({"instances": rows}).encode(), []

    def read(rows: list[Any], names: list[str] | None, layout: codecs.Layout) -> codecs.Columns:
        reads.append(len(rows))
        return json_codec.columns(rows, names, layout)

    found = pieces.decode(body, LAYOUTS[1], MOST_VALUES, read)
    assert found is not None
    assert found["a"].ravel().tolist() == [row["a"] for row in rows]
    assert (sum(reads), max(reads) < 4000, len(body) > json_codec.LARGE) == (12_000, True, True)


@pytest.mark.parametrize("count", [pieces.MANY, pieces.MANY + 1, 3 * pieces.MANY])
def test_many_answers_are_written_as_a_few_are(count: int) -> None:
    predictions = Predictions(
        np.linspace(0, 1, count, dtype=np.float32), ("no", "yes") * (count // 2) + ("no",) * (count % 2)
    )
    written = codecs.encode(predictions, codecs.JSON, manifest())
    with patch.object(pieces, "MANY", count):
        assert written == codecs.encode(predictions, codecs.JSON, manifest())
