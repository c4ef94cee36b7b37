from __future__ import annotations

import json
import math

import polars as pl
import pytest

from monitoring.bias.analysis import analyse
from monitoring.bias.report import label_of, read
from monitoring.bias.settings import BiasConfig, Facet

ROWS = pl.DataFrame(
    {
        "facet": list("MFFMFMFFMMFF"),
        "y": ["no", "yes", "yes", "yes", "yes", "no", "no", "no", "yes", "no", "no", "no"],
        "said": ["yes", "yes", "yes", "no", "no", "no", "yes", "yes", "no", "yes", "no", "no"],
    }
)
CONFIG = BiasConfig(("yes",), (Facet("facet", ("F",)),), label="y", predicted="said", resamples=50)


def document(mode="clarify", rows: pl.DataFrame = ROWS) -> dict:
    return dict(analyse(rows, CONFIG, None, mode=mode, seed=1).documents["analysis.json"])


def test_the_document_is_clarify_s() -> None:
    found = document()
    assert list(found) == [
        "version",
        "pre_training_bias_metrics",
        "post_training_bias_metrics",
        "model_performance",
    ]
    block = found["pre_training_bias_metrics"]
    assert (block["label"], block["label_value_or_threshold"]) == ("y", "yes")
    (group,) = block["facets"]["facet"]
    assert group["value_or_threshold"] == "F"
    assert group["metrics"][:2] == [
        {
            "name": "CDDL",
            "description": "Conditional Demographic Disparity in Labels (CDDL)",
            "value": None,
            "error": "Group variable is empty or not provided",
        },
        {"name": "CI", "description": "Class Imbalance (CI)", "value": -0.16666666666666666},
    ]
    names = [one["name"] for one in found["post_training_bias_metrics"]["facets"]["facet"][0]["metrics"]]
    assert names == ["AD", "CDDPL", "DAR", "DCA", "DCR", "DI", "DPPL", "DRR", "FT", "GE", "RD", "SD", "TE"]


def test_the_label_of_a_document_is_what_somebody_called_it() -> None:
    assert label_of(document()) == "y"
    assert label_of({"post_training_bias_metrics": {"label": "late"}}) == "late"
    internal = {"pre_training_bias_metrics": {"label": "@label"}}
    assert [label_of(one) for one in (internal, None, [], {}, {"pre_training_bias_metrics": [1]})] == [""] * 5


def test_exact_mode_adds_intervals() -> None:
    block = document("exact")["pre_training_bias_metrics"]["facets"]["facet"][0]
    imbalance = next(one for one in block["metrics"] if one["name"] == "CI")
    assert imbalance["low"] < imbalance["value"] < imbalance["high"]


def test_model_performance() -> None:
    found = document()["model_performance"]
    values = {one["name"]: one["value"] for one in found["model_performance_metrics"]}
    assert values == {
        "Accuracy": 0.4166666666666667,
        "Proportion of Positive Predictions in Labels": 0.5,
        "Proportion of Negative Predictions in Labels": 0.5,
        "True Positive Rate / Recall": 0.4,
        "True Negative Rate / Specificity": 0.42857142857142855,
        "Acceptance Rate / Precision": 0.3333333333333333,
        "Rejection Rate": 0.5,
        "Conditional Acceptance": 0.8333333333333334,
        "Conditional Rejection": 1.1666666666666667,
        "F1 Score": pytest.approx(0.3636363636363636),
    }
    assert found["binary_confusion_matrix"] == pytest.approx([1 / 6, 1 / 3, 1 / 4, 1 / 4])
    assert found["confusion_matrix"] == {"no": {"no": 3, "yes": 4}, "yes": {"no": 3, "yes": 2}}


@pytest.mark.parametrize("mode", ["exact", "clarify"])
def test_it_reads_what_it_writes(mode) -> None:
    found = analyse(ROWS, CONFIG, None, mode=mode, seed=1)
    again = read(json.loads(json.dumps(found.documents["analysis.json"], allow_nan=False)))
    said = {(one.facet, one.facet_value, one.metric, one.stage): (one.value, one.error) for one in again}
    assert said == {
        (one.facet, one.facet_value, one.metric, one.stage): (one.value, one.error)
        for one in found.details.measures
    }


def test_without_predictions_there_is_one_block() -> None:
    assert list(document(rows=ROWS.drop("said"))) == ["version", "pre_training_bias_metrics"]


def test_a_file_of_somebody_else() -> None:
    metrics = [
        {"name": "DI", "description": "Disparate Impact (DI)", "value": "Infinity"},
        {
            "name": "CDDPL",
            "description": "…",
            "value": None,
            "error": "Group variable is empty or not provided",
        },
        {"name": "NEW", "description": "unheard of", "value": 1},
    ]
    facets = {"Sex": [{"value_or_threshold": "0", "metrics": metrics}]}
    given = {"version": "1.0", "post_training_bias_metrics": {"label": "y", "facets": facets}}
    impact, disparity = read(given)
    assert impact.value == math.inf
    assert (disparity.value, disparity.error) == (None, "Group variable is empty or not provided")


def test_a_file_of_something_else() -> None:
    with pytest.raises(ValueError, match="give an analysis.json"):
        read({"version": "1.0", "explanations": {}})
