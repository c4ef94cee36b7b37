"""Figures as CloudWatch takes them, in as few requests as its limits allow."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from configs.monitor import CloudWatch
from flows.monitoring import cloudwatch
from flows.monitoring.cloudwatch import AT_ONCE, BYTES, LARGEST, OLDEST, data, digest, parcels, refusal
from flows.monitoring.executions import Execution, Status
from flows.monitoring.windows import Window
from monitoring.findings import Figure

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXECUTION = Execution(
    "prod",
    "data-quality",
    "DataQuality",
    Window(NOON, NOON - timedelta(hours=1), NOON),
    Status.COMPLETED,
    NOON,
    NOON,
)
OWN = [{"Name": "Endpoint", "Value": "prod"}, {"Name": "MonitoringSchedule", "Value": "data-quality"}]


def test_figures_have_model_monitor_s_names_and_dimensions():
    drift, values = data(
        EXECUTION, [Figure("feature_baseline_drift_x", 0.25), Figure("feature_data_x", 2.0, 1.0, 4.0, 3)]
    )
    assert drift == {
        "MetricName": "feature_baseline_drift_x",
        "Dimensions": OWN,
        "Timestamp": NOON,
        "Value": 0.25,
    }
    assert values["StatisticValues"] == {"SampleCount": 3.0, "Sum": 6.0, "Minimum": 1.0, "Maximum": 4.0}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("DataQuality", "aws/sagemaker/Endpoints/data-metrics"),
        ("ModelQuality", "aws/sagemaker/Endpoints/model-metrics"),
        ("ModelBias", "aws/sagemaker/Endpoints/bias-metrics"),
        ("ModelExplainability", "aws/sagemaker/Endpoints/explainability-metrics"),
    ],
)
def test_every_kind_has_its_namespace(kind, name):
    assert cloudwatch.namespace(CloudWatch(region="eu-central-1"), kind) == name


@pytest.mark.parametrize(
    ("value", "told"),
    [(math.inf, LARGEST), (-math.inf, -LARGEST), (1e300, LARGEST), (1e-300, 0.0), (-0.5, -0.5)],
)
def test_numbers_stay_within_what_cloudwatch_takes(value, told):
    (found,) = data(EXECUTION, [Figure("f1", value)])
    assert found["Value"] == told


def test_what_could_not_be_computed_or_named_is_left_out():
    assert data(EXECUTION, [Figure("a", None), Figure("b", math.nan), Figure("c" * 256, 1.0)]) == []


def test_an_estimate_is_another_metric_than_what_is_measured():
    found = data(EXECUTION, [Figure("accuracy", 0.5), Figure("accuracy", 0.6, estimated=True)])
    assert len({digest(one) for one in found}) == 2
    assert found[1]["Dimensions"] == [*OWN, {"Name": "Estimated", "Value": "true"}]


def test_dimensions_are_ascii_and_never_empty():
    (found,) = data(EXECUTION, [Figure("ü", 1.0, dimensions=(("Facet", "ß"), ("FacetValue", " ")))])
    assert found["MetricName"] == "\\xfc"
    assert [one["Value"] for one in found["Dimensions"][2:]] == ["\\xdf", "(empty)"]


def test_requests_are_few_and_within_the_limits(monkeypatch):
    assert (AT_ONCE, BYTES) <= (1000, 1_000_000)
    monkeypatch.setattr(cloudwatch, "AT_ONCE", 50)
    found = data(EXECUTION, [Figure(f"f{number}", 1.0) for number in range(101)])
    made = list(parcels(found, frozenset()))
    assert [len(one.data) for one in made] == [50, 50, 1]
    assert [datum for one in made for datum in one.data] == found
    monkeypatch.setattr(cloudwatch, "BYTES", 5000)
    wide = (("d", "v" * 1000),)
    heavy = list(
        parcels(data(EXECUTION, [Figure(f"f{n}", 1.0, dimensions=wide) for n in range(8)]), frozenset())
    )
    assert [len(one.data) for one in heavy] == [4, 4]


def test_what_was_sent_is_not_sent_again_whatever_its_value_is_now():
    (first,) = parcels(data(EXECUTION, [Figure("f1", 0.5), Figure("recall", 0.5)]), frozenset())
    later = data(EXECUTION, [Figure("f1", 0.7), Figure("auc", 0.7), Figure("auc", 0.8)])
    (again,) = parcels(later, frozenset(first.digests))
    assert [one["MetricName"] for one in again.data] == ["auc"]
    other = replace(EXECUTION, window=replace(EXECUTION.window, end=NOON + timedelta(hours=1)))
    assert list(parcels(data(other, [Figure("f1", 0.5)]), frozenset(first.digests)))


def test_windows_that_cloudwatch_would_not_take():
    assert refusal(EXECUTION, NOON + OLDEST) == ""
    assert "two weeks" in refusal(EXECUTION, NOON + OLDEST + timedelta(seconds=1))
    assert "from now" in refusal(EXECUTION, NOON - timedelta(hours=3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"region": "moon"},
        {"region": "eu-west-1", "endpoint_url": "ftp://x"},
        {"region": "eu-west-1", "namespace": "a:b"},
        {"region": "eu-west-1", "secret": "x"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(ValidationError):
        CloudWatch.model_validate(wrong)
