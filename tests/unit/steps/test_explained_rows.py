from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from serving.manifest import Input, Manifest
from steps.errors import DataRefused
from steps.explained_rows import columns_of, picked
from steps.reference import signature

MANIFEST: Manifest = replace(
    signature("onnx", "regression", None, []),
    inputs=(Input("x", "double", required=True), Input("c", "string", required=False)),
)


def test_what_is_no_number_is_missing() -> None:
    rows = pl.DataFrame({"x": ["1.5", "a", None, "1e300", "inf"], "c": [1, None, 3, 4, 5]})
    found = columns_of(rows, MANIFEST)
    assert found["x"][:, 0].tolist() == pytest.approx([1.5, *[np.nan] * 4], nan_ok=True)
    assert found["c"][:, 0].tolist() == ["1", "", "3", "4", "5"]
    nested = columns_of(pl.DataFrame({"x": [[1.0], [2.0]], "c": [["a"], None]}), MANIFEST)
    assert np.isnan(nested["x"]).all()
    assert nested["c"][:, 0].tolist() == ["['a']", ""]


def test_a_sample_is_seeded_and_in_order() -> None:
    rows = pl.DataFrame({"x": np.arange(100.0), "c": ["a"] * 100})
    places, columns, notes = picked(rows, MANIFEST, 10, 7)
    assert list(places) == sorted(set(places))
    assert columns["x"][:, 0].tolist() == list(places)
    assert notes == []
    assert picked(rows, MANIFEST, 10, 7)[0] == places
    assert picked(rows, MANIFEST, 10, 8)[0] != places
    assert picked(rows, MANIFEST, 100, 7)[0] == tuple(range(100))


def test_rows_without_a_required_input_are_left_out() -> None:
    rows = pl.DataFrame({"x": [1.0, None, 3.0], "c": [None, "a", "b"]})
    places, _, notes = picked(rows, MANIFEST, 10, 7)
    assert places == (0, 2)
    assert notes == ["1 rows lack an input that the model requires and were not explained"]


def test_what_is_refused() -> None:
    with pytest.raises(DataRefused, match="the rows have no c; give every input"):
        picked(pl.DataFrame({"x": [1.0]}), MANIFEST, 10, 7)
    with pytest.raises(DataRefused, match="give other rows"):
        picked(pl.DataFrame({"x": [None], "c": ["a"]}), MANIFEST, 10, 7)
