"""Figures of real executions, sent by boto3 to a CloudWatch on a real port, and what happens when it is away."""

from __future__ import annotations

import json
import sys
from contextlib import closing

import boto3
import pytest

from flows.monitoring.cloudwatch import LARGEST, SENT, publish
from flows.monitoring.executions import Status
from flows.monitoring.windows import on_demand
from monitoring.findings import Figure
from tests.moto_server import moto_server
from tests.ports import free_port
from tests.watched import HOUR, MONITOR, NOON, World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
REGION = "eu-central-1"
OWN = [{"Name": "Endpoint", "Value": "b"}, {"Name": "MonitoringSchedule", "Value": "data-quality"}]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with moto_server(tmp_path_factory.mktemp("moto")) as address:
        yield address


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def metrics(address):
    """A client; every test begins without a metric."""
    import httpx

    httpx.post(f"{address}/moto-api/reset", trust_env=False).raise_for_status()
    with closing(boto3.client("cloudwatch", region_name=REGION, endpoint_url=address)) as client:
        yield client


@pytest.fixture
def installation(tmp_path, watched_package):
    made = []

    def make(address, **changes):
        told = {"cloudwatch": {"region": REGION, "endpoint_url": address}} | changes
        made.append(World(tmp_path, watched_package, json.loads(json.dumps(told))))
        return made[-1]

    yield make
    for world in made:
        world.engine.dispose()


def listed(metrics, part="data-metrics"):
    pages = metrics.get_paginator("list_metrics").paginate(Namespace=f"aws/sagemaker/Endpoints/{part}")
    return [one for page in pages for one in page["Metrics"]]


def statistics(metrics, name, dimensions=OWN, part="data-metrics"):
    """Of one metric; `get_metric_statistics` of moto adds those with further dimensions."""
    metric = {
        "Namespace": f"aws/sagemaker/Endpoints/{part}",
        "MetricName": name,
        "Dimensions": list(dimensions),
    }
    kinds = ("Sum", "Minimum", "Maximum", "SampleCount")
    queries = [
        {"Id": kind.lower(), "MetricStat": {"Metric": metric, "Period": 3600, "Stat": kind}} for kind in kinds
    ]
    found = metrics.get_metric_data(
        MetricDataQueries=queries, StartTime=NOON - 2 * HOUR, EndTime=NOON + 2 * HOUR
    )
    told = {one["Id"]: one["Values"] for one in found["MetricDataResults"]}
    return {kind: value for kind in kinds for value in told[kind.lower()]}


def test_an_execution_s_figures_arrive_as_model_monitor_sends_them(installation, metrics, address):
    world = installation(address)
    world.capture(NOON - HOUR, shift=1.0)
    world.watch()
    (execution,) = world.run().scheduled().executions
    assert execution.status is Status.VIOLATED
    assert not [note for note in execution.notes if "CloudWatch" in note]
    names = {one["MetricName"] for one in listed(metrics)}
    assert names >= {"feature_data_x", "feature_non_null_x", "feature_baseline_drift_x"}
    measured = [one.figure for one in world.run().logbook.history.measured(execution)]
    points = {one.name: one for one in measured if not one.dimensions}
    drift = points["feature_baseline_drift_x"]
    assert statistics(metrics, "feature_baseline_drift_x")["Sum"] == pytest.approx(drift.value)
    assert statistics(metrics, "feature_non_null_x")["Sum"] == 1.0
    values, told = points["feature_data_x"], statistics(metrics, "feature_data_x")
    assert told["SampleCount"] == 700
    assert (told["Minimum"], told["Maximum"]) == pytest.approx((values.low, values.high))
    assert told["Sum"] == pytest.approx(values.value * 700)


def test_every_kind_has_its_namespace_and_late_labels_send_only_what_is_new(installation, metrics, address):
    world = installation(address, **{**MONITOR, "alarms": []})
    pairs = world.capture(NOON - HOUR)
    world.watch()
    world.run().scheduled()
    for part in ("data-metrics", "model-metrics", "explainability-metrics"):
        assert listed(metrics, part)
    schedule = [{"Name": "Endpoint", "Value": "b"}, {"Name": "MonitoringSchedule", "Value": "model-quality"}]
    estimated = [*schedule, {"Name": "Estimated", "Value": "true"}]
    assert statistics(metrics, "accuracy", estimated, "model-metrics")["SampleCount"] == 1
    world.label(pairs[:400])
    world.now += HOUR / 4
    again = next(one for one in world.run().scheduled().again if one.kind == "ModelQuality")
    measured = statistics(metrics, "accuracy", schedule, "model-metrics")
    assert statistics(metrics, "accuracy", estimated, "model-metrics")["SampleCount"] == 1
    assert again.revision == 2
    world.label(pairs[400:])
    world.now += HOUR / 4
    world.run().scheduled()
    assert statistics(metrics, "accuracy", schedule, "model-metrics") == measured
    assert {one["MetricName"] for one in listed(metrics, "bias-metrics")} >= {"bias_metric_DPL"}


def test_more_figures_than_one_request_takes(installation, metrics, address, tmp_path):
    world = installation(address)
    world.capture(NOON - HOUR)
    (execution,) = world.run().on_demand(on_demand(NOON - HOUR, NOON), ("DataQuality",)).executions
    settings = world.run().watched.settings.cloudwatch
    many = [Figure(f"feature_non_null_{number}", 1.0) for number in range(2300)]
    before = len(listed(metrics))
    assert publish(settings, execution, [*many, Figure("huge", float("inf"))], tmp_path, NOON) == ()
    assert len(listed(metrics)) - before == 2301
    of = [OWN[0], {"Name": "MonitoringSchedule", "Value": "now-data-quality"}]
    assert statistics(metrics, "huge", of)["Maximum"] == LARGEST
    assert len((tmp_path / SENT).read_text().split()) == 2301
    assert publish(settings, execution, many, tmp_path, NOON) == ()
    assert statistics(metrics, "feature_non_null_7", of)["SampleCount"] == 1


def test_a_cloudwatch_that_is_away_fails_no_execution_and_is_written_down(installation):
    world = installation(f"http://127.0.0.1:{free_port()}")
    world.capture(NOON - HOUR, shift=1.0)
    world.watch()
    told = []
    (execution,) = world.run(tell=told.append).scheduled().executions
    assert execution.status is Status.VIOLATED
    (note,) = [note for note in execution.notes if note.startswith("CloudWatch: 0 of ")]
    assert "EndpointConnectionError" in note
    assert world.run().logbook.history.execution(*execution.key).notes == execution.notes
    assert any(note in line for line in told)
    summary = world.home / "reports/b/data-quality/2026/03/01/12/summary.json"
    assert note in json.loads(summary.read_text())["notes"]


def test_what_cloudwatch_missed_is_sent_when_it_is_back(installation, tmp_path):
    port = free_port()
    world = installation(f"http://127.0.0.1:{port}")
    world.capture(NOON - HOUR, shift=1.0)
    world.watch()
    (execution,) = world.run().scheduled().executions
    told = []
    world.run(tell=told.append).scheduled()
    assert [line for line in told if "EndpointConnectionError" in line]
    with moto_server(tmp_path, port) as address:
        with closing(boto3.client("cloudwatch", region_name=REGION, endpoint_url=address)) as metrics:
            world.run().scheduled()
            sent = statistics(metrics, "feature_data_x")
            assert sent["SampleCount"] == execution.rows
            world.run().scheduled()
            assert statistics(metrics, "feature_data_x") == sent


def test_without_boto3_the_note_says_what_to_install(installation, monkeypatch):
    world = installation("")
    world.capture(NOON - HOUR)
    monkeypatch.setitem(sys.modules, "boto3", None)
    (execution,) = world.run().on_demand(on_demand(NOON - HOUR, NOON), ("DataQuality",)).executions
    assert execution.status.judged
    assert [note for note in execution.notes if "pip install 'seaway[s3]'" in note]


def test_windows_of_long_ago_are_not_sent(installation, address, metrics):
    world = installation(address)
    world.capture(NOON - 400 * HOUR)
    window = on_demand(NOON - 400 * HOUR, NOON - 399 * HOUR)
    (execution,) = world.run().on_demand(window, ("DataQuality",)).executions
    assert execution.status.judged
    assert [note for note in execution.notes if "more than two weeks ago" in note]
    assert listed(metrics) == []
