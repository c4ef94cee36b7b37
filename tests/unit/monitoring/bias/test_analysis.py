from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from monitoring.bias.analysis import INFINITE, analyse
from monitoring.bias.settings import BiasConfig, Facet

N = 300


def rows(seed: int = 2) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "sex": rng.choice(["F", "M"], N),
            "age": rng.uniform(18, 90, N).round(1),
            "region": rng.choice(["n", "s"], N),
            "x": rng.normal(size=N),
            "@label": rng.choice(["0", "1"], N),
            "@predicted_label": rng.choice(["0", "1"], N),
        }
    )


CONFIG = BiasConfig.of(
    {
        "label_values_or_threshold": (1,),
        "facets": (
            {"name": "sex", "values": (), "threshold": None},
            {"name": "age", "values": (), "threshold": 40.0},
        ),
        "group": "region",
        "methods": (),
        "schedule": None,
    },
    features=("x",),
    resamples=100,
)


def test_settings_of_the_project_file() -> None:
    assert CONFIG.favourable == (1,)
    assert CONFIG.facets == (Facet("sex"), Facet("age", threshold=40.0))
    assert (CONFIG.label, CONFIG.predicted, CONFIG.group) == ("@label", "@predicted_label", "region")


def test_figures_have_sagemaker_s_dimensions() -> None:
    above = f"(40.0, {rows()['age'].max()}]"
    found = analyse(rows(), CONFIG, None, seed=1)
    (figure,) = [
        one
        for one in found.figures
        if one.name == "bias_metric_DPL" and dict(one.dimensions)["FacetValue"] == "F"
    ]
    assert figure.dimensions == (
        ("BiasStage", "Pre-training"),
        ("Label", "label"),
        ("LabelValue", "1"),
        ("Facet", "sex"),
        ("FacetValue", "F"),
    )
    assert figure.low < figure.value < figure.high
    assert figure.n == N
    assert {one.facet_value for one in found.details.measures if one.facet == "age"} == {above}


def test_a_label_with_a_name_goes_by_it_in_everything_that_is_written() -> None:
    found = analyse(rows(), replace(CONFIG, label_name="delayed"), None, seed=1)
    document = found.documents["analysis.json"]
    blocks = ("pre_training_bias_metrics", "post_training_bias_metrics", "model_performance")
    assert {document[block]["label"] for block in blocks} == {"delayed"}
    assert {dict(one.dimensions)["Label"] for one in found.figures} == {"delayed"}
    assert "@" not in json.dumps(document)
    nameless = analyse(rows(), CONFIG, None, seed=1)
    assert [one.value for one in found.figures] == [one.value for one in nameless.figures]


@pytest.mark.parametrize(
    ("frame", "note"),
    [
        (rows().drop("@label"), "there is no column 'delayed'; the columns are sex, age, region, x"),
        (rows().with_columns(pl.lit([1]).alias("@label")), "delayed holds List("),
        (
            rows().with_columns(pl.lit([1]).alias("@predicted_label")),
            "Predictions were left out: predicted_label holds List(",
        ),
    ],
)
def test_notes_call_columns_of_live_rows_by_names_that_people_know(frame: pl.DataFrame, note: str) -> None:
    notes = " ".join(
        analyse(frame, replace(CONFIG, label_name="delayed"), None, mode="clarify", seed=1).notes
    )
    assert note in notes
    assert "@" not in notes


def test_the_same_rows_and_seed_give_the_same_bytes() -> None:
    one, other = (analyse(rows(), CONFIG, None, seed=1).documents for _ in range(2))
    assert json.dumps(one) == json.dumps(other)
    assert json.dumps(analyse(rows(), CONFIG, None, seed=2).documents) != json.dumps(one)


def test_infinite_figures_are_published_as_a_large_number() -> None:
    none_of_m = pl.when(pl.col("sex") == "M").then(pl.lit("0")).otherwise(pl.lit("1"))
    found = analyse(rows().with_columns(none_of_m.alias("@predicted_label")), CONFIG, None, seed=1)
    (figure,) = [
        one for one in found.figures if one.name == "bias_metric_DI" and ("FacetValue", "F") in one.dimensions
    ]
    assert (figure.value, figure.low) == (INFINITE, None)
    assert '"Infinity"' in json.dumps(found.documents["analysis.json"], allow_nan=False)


BAD = {
    "null labels": {"@label": pl.lit(None, dtype=pl.String)},
    "untyped labels": {"@label": pl.lit(None)},
    "one class": {"@label": pl.lit("1")},
    "unknown labels": {"@label": pl.lit("maybe")},
    "one prediction": {"@predicted_label": pl.lit("0")},
    "null predictions": {"@predicted_label": pl.lit(None, dtype=pl.String)},
    "nested predictions": {"@predicted_label": pl.lit([1.0])},
    "null facet": {"sex": pl.lit(None, dtype=pl.String)},
    "one facet value": {"sex": pl.lit("F")},
    "NaN facet": {"age": pl.lit(float("nan"))},
    "infinite facet": {"age": pl.lit(float("inf"))},
    "facet that is text": {"age": pl.lit("old")},
    "nested facet": {"sex": pl.lit([1])},
    "null group": {"region": pl.lit(None, dtype=pl.String)},
    "nested group": {"region": pl.lit([1])},
    "null feature": {"x": pl.lit(None, dtype=pl.Float64)},
    "infinite feature": {"x": pl.lit(float("inf"))},
    "nested feature": {"x": pl.lit([1])},
}


@pytest.mark.parametrize("mode", ["exact", "clarify"])
@pytest.mark.parametrize("name", BAD)
def test_one_bad_column_kills_no_report(name: str, mode) -> None:
    frame = rows().with_columns(**BAD[name])
    found = analyse(frame, CONFIG, None, mode=mode, seed=1)
    json.dumps(dict(found.documents), allow_nan=False)
    other = "age" if name.endswith("facet value") or "sex" in BAD[name] else "sex"
    measures = [one for one in found.details.measures if one.facet == other]
    values = [one.value for one in measures if one.value is not None]
    assert bool(values) is (name not in {"null labels", "untyped labels"})
    assert all(one.error for one in measures if one.value is None)
    assert not any(math.isnan(value) for value in values)


@pytest.mark.parametrize("frame", [rows().clear(), rows().drop("@label"), pl.DataFrame()])
def test_nothing_to_measure_is_a_note(frame: pl.DataFrame) -> None:
    found = analyse(frame, CONFIG, None, seed=1)
    assert found.rows == 0
    assert found.notes
    assert not found.figures


def test_rows_left_out_are_counted() -> None:
    frame = rows().with_row_index()
    frame = frame.with_columns(
        pl.when(pl.col("index") >= 7).then(pl.col("@label")).alias("@label"),
        pl.when(pl.col("index") < 290).then(pl.col("sex")).alias("sex"),
        pl.when(pl.col("index") != 100).then(pl.col("@predicted_label")).alias("@predicted_label"),
    )
    found = analyse(frame, CONFIG, None, seed=1)
    assert found.rows == N - 7
    assert "7 of 300 rows have no label and were left out." in found.notes
    assert "10 rows without sex were left out of its report." in found.notes
    assert "1 rows have no prediction and count for pre-training metrics only." in found.notes
    of_sex = {one.metric: one.rows for one in found.details.measures if one.facet == "sex"}
    assert (of_sex["DPL"], of_sex["AD"]) == (283, 282)


def test_predictions_of_another_type_are_refused_in_clarify_mode_alone() -> None:
    frame = rows().with_columns(pl.col("@predicted_label").cast(pl.Float64))
    errors = {one.error for one in analyse(frame, CONFIG, None, mode="clarify", seed=1).details.measures}
    assert "Predicted Label Column series datatype is not the same as Label Column series" in errors
    exact = analyse(frame, CONFIG, None, seed=1).details.measures
    assert not [one for one in exact if one.error]


def test_only_the_metrics_that_are_asked_for() -> None:
    config = BiasConfig((1,), (Facet("sex"),), methods=("DPL", "FUN"), resamples=0)
    found = analyse(rows(), config, None, seed=1)
    assert {one.metric for one in found.details.measures} == {"DPL"}
    assert any(note.startswith("There is no metric FUN; known are CDDL") for note in found.notes)


def test_without_a_group_there_is_no_conditional_disparity() -> None:
    config = BiasConfig((1,), (Facet("sex"),), resamples=0)
    errors = {one.metric: one.error for one in analyse(rows(), config, None, seed=1).details.measures}
    assert errors["CDDL"] == errors["CDDPL"] == "Group variable is empty or not provided"
