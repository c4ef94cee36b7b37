"""The quick way through a request finds what looking at every value finds: columns, or the same words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import codecs, tensors
from serving.codecs import json as json_codec
from serving.errors import RequestRefused
from serving.manifest import Input
from tests.fakes.model import INPUTS, manifest

REQUIRED = (Input("hour", "double"), Input("carrier", "string", required=True), Input("dest", "string"))
NUMBERS = (Input("a", "double", required=True), Input("b", "double"))
LAYOUTS = [codecs.Layout(manifest(inputs=inputs)) for inputs in (INPUTS, REQUIRED, NUMBERS, REQUIRED[1:])]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.sampled_from(["", "UA", "ä", [], [1], {}, 1e300, 3.5e38]),
)


@contextmanager
def careful() -> Iterator[None]:
    with (
        patch("serving.codecs.columns.plain", lambda *_: None),
        patch("serving.tensors._plain", lambda *_: None),
    ):
        yield


def outcome(make: Callable[[], codecs.Columns]) -> object:
    try:
        columns = make()
    except RequestRefused as error:
        return type(error), str(error), error.field, error.row
    return {name: (values.dtype, values.shape, repr(values.tolist())) for name, values in columns.items()}


def same_both_ways(make: Callable[[], codecs.Columns]) -> None:
    quick = outcome(make)
    with careful():
        assert quick == outcome(make)


def typical(item: Input) -> st.SearchStrategy[object]:
    usual = st.floats(-1e6, 1e6) if item.type == "double" else st.sampled_from(["UA", "DL"])
    return st.one_of(usual, usual, usual, VALUES)


@given(st.data())
def test_rows(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from(LAYOUTS))
    row = st.fixed_dictionaries(
        {item.name: typical(item) for item in layout.inputs}, optional={"more": VALUES}
    )
    rows = data.draw(st.lists(st.one_of(row, row, row, VALUES), min_size=1, max_size=4))
    if data.draw(st.booleans()):
        rows = [list(one.values())[: len(layout.inputs)] if isinstance(one, dict) else one for one in rows]
    body = json.dumps(rows).encode()
    same_both_ways(lambda: codecs.read(body, codecs.JSON, layout))
    lines = b"\n".join(json.dumps(one).encode() for one in rows)
    same_both_ways(lambda: codecs.read(lines, codecs.LINES, layout))


@given(st.data())
def test_lists_below_names(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from(LAYOUTS))
    names = data.draw(st.permutations([*(item.name for item in layout.inputs), "more"]))
    names = names[: data.draw(st.integers(len(names) - 1, len(names)))]
    items = {item.name: typical(item) for item in layout.inputs}
    rows = data.draw(
        st.lists(st.tuples(*(items.get(name, VALUES) for name in names)), min_size=1, max_size=4)
    )
    body = json.dumps({"columns": names, "data": rows}).encode()
    same_both_ways(lambda: codecs.read(body, codecs.JSON, layout))


@given(st.data())
def test_tensors(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from(LAYOUTS))
    rows = data.draw(st.integers(0, 3))
    shapes = st.sampled_from([[rows], [rows, 1], [rows], [True], [1.0], [rows, 2], [], None])
    shape = data.draw(shapes)
    given = []
    for item in layout.inputs:
        kind = "FP32" if item.type == "double" else "BYTES"
        tensor = {
            "name": item.name,
            "datatype": data.draw(
                st.sampled_from([kind] * 8 + ["INT8", "UINT8", "BYTES", "BOOL", "FP64", [], None])
            ),
            "shape": shape if data.draw(st.integers(0, 9)) else data.draw(shapes),
            "data": data.draw(st.lists(typical(item), min_size=rows, max_size=rows)),
        }
        extra = st.sampled_from([{}] * 8 + [{"parameters": {}}, {"parameters": 1}, {"name": 1}, {"data": 1}])
        given.append({**tensor, **data.draw(extra)})
    content = {"inputs": data.draw(st.permutations(given))}
    same_both_ways(lambda: tensors.columns(content, b"", layout, 1000))


@given(st.data(), st.integers(1, 3))
def test_rows_in_parts(data: st.DataObject, size: int) -> None:
    with patch("serving.codecs.columns.PART", size):
        test_rows.hypothesis.inner_test(data)  # type: ignore[attr-defined]


def test_numbers_lie_in_one_array_as_compiled_models_take_them() -> None:
    columns = codecs.read(b'[{"a": 1, "b": null}, {"a": 2, "b": 0.5}]', codecs.JSON, LAYOUTS[2])
    assert isinstance(columns, codecs.Block)
    assert columns.numbers.flags.c_contiguous
    np.testing.assert_array_equal(columns.numbers, np.array([[1, np.nan], [2, 0.5]], np.float32))
    assert (list(columns), len(columns)) == (["a", "b"], 2)
    with pytest.raises(KeyError):
        columns["c"]


def test_rows_of_one_call_are_told_apart() -> None:
    layout = LAYOUTS[0]
    rows = json_codec.columns([{"delay": 1, "hour": 2, "carrier": "UA"}] * 2, None, layout)
    assert rows["carrier"].tolist() == [["UA"], ["UA"]]
    assert rows["hour"].shape == (2, 1)
