"""Hours that are merged say what all rows say."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quality import tally

KINDS = st.sampled_from(["a", "b", "c", "new", None])
ROW = st.tuples(st.floats(0, 1), st.sampled_from(["0", "1", None]), st.sampled_from(["0", "1", "?", None]))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def frame(rows, columns=("@score", "@predicted_label", "@label")) -> pl.DataFrame:
    kinds = {name: pl.Float64 if name == "@score" else pl.String for name in columns}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def again(given: tally.Tally) -> tally.Tally:
    return tally.read(json.loads(json.dumps(given.record(), allow_nan=False)))


@given(st.lists(ROW, max_size=30), st.lists(ROW, max_size=30))
def test_merged_binary_hours(one, other) -> None:
    parts = [again(tally.tally(frame(rows), "binary", ("0", "1"))) for rows in (one, other)]
    merged, whole = tally.merge(*parts), tally.tally(frame(one + other), "binary", ("0", "1"))
    assert merged.table.tolist() == whole.table.tolist()
    assert merged.rows == whole.rows
    ours, theirs = tally.measure(merged, rng()), tally.measure(whole, rng())
    for name, metric in theirs.scalars.items():
        if name != "auc":
            assert ours.scalars[name].value == metric.value, name
        elif metric.value is not None:
            assert abs(ours.scalars["auc"].value - metric.value) <= merged.ranked.bound + 1e-12


@given(st.lists(st.tuples(KINDS, KINDS), max_size=30), st.lists(st.tuples(KINDS, KINDS), max_size=30))
def test_merged_multiclass_hours(one, other) -> None:
    columns = ("@predicted_label", "@label")
    made = [
        tally.tally(frame(rows, columns), "multiclass", ("a", "b", "c")) for rows in (one, other, one + other)
    ]
    merged = again(tally.merge(again(made[0]), again(made[1])))
    assert merged.table.tolist() == made[2].table.tolist()
    ours, theirs = (tally.measure(each, rng()) for each in (merged, made[2]))
    assert ours == theirs
    known = [(said, true) for said, true in one + other if said and true]
    if known:
        right = [said == true and said != "new" for said, true in known]
        assert ours.scalars["accuracy"].value == pytest.approx(np.mean(right))


def test_unknown_classes_count_as_wrong() -> None:
    rows = frame([("a", "a"), ("new", "new"), ("b", "other")], ("@predicted_label", "@label"))
    found = tally.measure(tally.tally(rows, "multiclass", ("a", "b")), rng())
    assert found.scalars["accuracy"].value == pytest.approx(1 / 3)
    assert found.shapes["confusion_matrix"][tally.NEW_CLASS] == {
        "a": 0,
        "b": 1,
        tally.NEW_CLASS: 0,
        tally.NO_CLASS: 1,
    }


def test_merged_regression_hours() -> None:
    draw = rng()
    hours = [
        pl.DataFrame({"@predicted_label": draw.normal(hour, 1, 50), "@label": draw.normal(hour, 1, 50)})
        for hour in range(4)
    ]
    made = [again(tally.tally(hour, "regression", None)) for hour in hours]
    merged = tally.merge(tally.merge(made[0], made[1]), tally.merge(made[2], made[3]))
    whole = tally.tally(pl.concat(hours), "regression", None)
    for name, metric in tally.measure(whole, rng()).scalars.items():
        assert tally.measure(merged, rng()).scalars[name].value == pytest.approx(metric.value, rel=1e-12)


def test_different_models_are_not_merged() -> None:
    with pytest.raises(ValueError, match="cannot be merged"):
        tally.merge(tally.Tally("binary", ("0", "1")), tally.Tally("binary", ("no", "yes")))


def test_labels_in_any_spelling_are_one() -> None:
    for column in ([1, 0, 1], [1.0, 0.0, 1.0], [True, False, True], ["1.0", "false", "1"]):
        rows = pl.DataFrame({"@predicted_label": ["1", "0", "0"], "@label": column})
        assert tally.tally(rows, "binary", (0, 1)).table.tolist() == [[1, 0], [1, 1]]
