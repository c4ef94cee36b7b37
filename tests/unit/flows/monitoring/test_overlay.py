"""The project's thresholds over suggested constraints."""

import json

import pytest

from configs.monitor import DataQuality, ModelQuality
from flows.monitoring import overlay
from monitoring.drift import constraints as drift
from monitoring.quality import constraints as quality

SUGGESTED = {
    "version": 0.0,
    "features": [
        {
            "name": "age",
            "inferred_type": "Integral",
            "completeness": 1.0,
            "num_constraints": {"is_non_negative": True},
        },
        {
            "name": "sex",
            "inferred_type": "String",
            "completeness": 0.9,
            "string_constraints": {"domains": ["F", "M"]},
        },
        {"name": "id", "inferred_type": "String"},
    ],
    "monitoring_config": {"emit_metrics": "Disabled"},
}
METRICS = {
    "version": 0.0,
    "binary_classification_constraints": {
        "f1": {
            "threshold": 0.8,
            "comparison_operator": "LessThanThreshold",
            "additional_properties": {"low": 0.7, "high": 0.9},
        },
    },
}


def data(**section):
    wanted = DataQuality.model_validate_json(json.dumps(section))
    return drift.read(overlay.data_quality(SUGGESTED, wanted))


def test_defaults_are_sagemaker_s():
    found = data()
    assert found.settings.comparison_method == "Robust"
    assert found.settings.comparison_threshold == found.settings.categorical_threshold == 0.1
    assert found.settings.datatype_check_threshold == 1.0
    assert not found.settings.emit_metrics


def test_what_the_project_leaves_open_stays_as_the_file_has_it():
    brought = {
        "datatype_check_threshold": 0.9,
        "domain_content_threshold": 0.8,
        "distribution_constraints": {
            "perform_comparison": "Disabled",
            "comparison_threshold": 0.3,
            "comparison_method": "Simple",
            "categorical_comparison_threshold": None,
            "categorical_drift_method": "ChiSquared",
        },
    }
    file = {**SUGGESTED, "monitoring_config": brought}
    kept = overlay.data_quality(file, DataQuality())["monitoring_config"]
    parts = brought["distribution_constraints"]
    assert (kept["datatype_check_threshold"], kept["domain_content_threshold"]) == (0.9, 0.8)
    assert kept["distribution_constraints"] == {name: one for name, one in parts.items() if one is not None}
    wanted = DataQuality(comparison_threshold=0.2, domain_content_threshold=0.5)
    changed = overlay.data_quality(file, wanted)["monitoring_config"]
    assert (changed["datatype_check_threshold"], changed["domain_content_threshold"]) == (0.9, 0.5)
    assert changed["distribution_constraints"] == {
        **kept["distribution_constraints"],
        "comparison_threshold": 0.2,
    }


def test_columns_have_rules_of_their_own():
    found = data(
        comparison_threshold=0.2,
        features={
            "age": {"comparison_threshold": 0.5, "is_non_negative": False, "comparison_method": "Simple"},
            "sex": {"completeness": "50%", "domains": ["F", "M", "X"], "perform_comparison": False},
        },
        exclude=["id"],
    )
    assert [one.name for one in found.features] == ["age", "sex"]
    age, sex = found.features
    assert (age.is_non_negative, sex.completeness, sex.domains) == (False, 0.5, ("F", "M", "X"))
    assert found.settings_of("age").comparison_threshold == 0.5
    assert found.settings_of("age").comparison_method == "Simple"
    assert found.settings_of("sex").comparison_threshold == 0.2
    assert not found.settings_of("sex").perform_comparison
    assert found.settings_of("age").perform_comparison


def test_what_is_laid_over_twice_changes_once():
    wanted = DataQuality.model_validate_json('{"features": {"age": {"comparison_threshold": 0.5}}}')
    once = overlay.data_quality(SUGGESTED, wanted)
    assert overlay.data_quality(once, wanted) == once
    assert "monitoringConfigOverrides" not in SUGGESTED["features"][0]


@pytest.mark.parametrize(
    ("limits", "metric", "operator"),
    [
        ({"f1": {"threshold": 0.6}}, "f1", "LessThanThreshold"),
        ({"recall": {"threshold": 0.6}}, "recall", "LessThanThreshold"),
        ({"false_positive_rate": {"threshold": 0.6}}, "false_positive_rate", "GreaterThanThreshold"),
        (
            {"f1": {"threshold": 0.6, "comparison_operator": "GreaterThanThreshold"}},
            "f1",
            "GreaterThanThreshold",
        ),
    ],
)
def test_limits_of_metrics(limits, metric, operator):
    wanted = ModelQuality.model_validate_json(json.dumps({"constraints": limits}))
    found = quality.read(overlay.model_quality(METRICS, wanted)).metrics
    assert (found[metric].threshold, found[metric].operator, found[metric].low) == (0.6, operator, None)
    if metric != "f1":
        assert found["f1"].threshold == 0.8
        assert found["f1"].low == 0.7
