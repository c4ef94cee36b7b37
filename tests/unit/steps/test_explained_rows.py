from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from serving.manifest import Input, Manifest
from steps.errors import DataRefused
from steps.explained_rows import columns_of, picked, sampled
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


# ---- of tables of any length --------------------------------------------------------------------------------

AT = datetime(2026, 11, 23, tzinfo=UTC)


def decoded(count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "x": [None if n % 10 == 9 else float(n) for n in range(count)],
            "c": ["a"] * count,
            "@event_id": [f"e{n // 2}" for n in range(count)],
            "@row": [n % 2 for n in range(count)],
            "@at": [AT + timedelta(seconds=n // 2) for n in range(count)],
        }
    )


@pytest.mark.parametrize("at_once", [40, 1000])
def test_a_sample_depends_neither_on_the_order_nor_on_the_parts(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    rows = decoded(300)
    wanted, notes = sampled(rows.lazy(), MANIFEST, 40, 7)
    monkeypatch.setattr("steps.explained_rows._AT_ONCE", at_once)
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=1)
    assert sampled(shuffled.lazy(), MANIFEST, 40, 7)[0].equals(wanted)
    assert wanted.height == 40
    assert wanted["@at"].is_sorted()
    assert wanted["x"].null_count() == 0
    assert notes == ("30 rows lack an input that the model requires and were not explained",)
    assert not sampled(rows.lazy(), MANIFEST, 40, 8)[0].equals(wanted)
    assert (
        sampled(rows.lazy(), MANIFEST, 20, 7)[0].join(wanted, on=["@event_id", "@row"], how="anti").is_empty()
    )


def test_a_small_table_is_its_own_sample_and_an_unusable_one_is_refused() -> None:
    rows = decoded(9)
    assert sampled(rows.lazy(), MANIFEST, 40, 7)[0].equals(rows)
    with pytest.raises(DataRefused, match="the rows have no c"):
        sampled(rows.lazy().drop("c"), MANIFEST, 40, 7)
    with pytest.raises(DataRefused, match="give other rows"):
        sampled(rows.lazy().with_columns(x=None), MANIFEST, 40, 7)
