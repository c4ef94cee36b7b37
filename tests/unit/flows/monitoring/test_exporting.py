"""Figures for Prometheus and CloudWatch, and the files of an execution."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from flows.monitoring import reports
from flows.monitoring.executions import Alert, AlertStatus, Datapoint, Execution, Status
from flows.monitoring.exporting import INFINITE, cloudwatch_lines, exposition
from flows.monitoring.windows import Window
from monitoring.findings import Figure, Finding, Violation

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXECUTION = Execution(
    "prod",
    "data-quality",
    "DataQuality",
    Window(NOON, NOON - timedelta(hours=1), NOON),
    Status.VIOLATED,
    NOON,
    NOON,
    rows=9,
    version="3",
    violations=(Violation("baseline_drift_check", 'a "quoted" ü', (("feature_name", "age"),)),),
    revision=1,
)
FIGURES = [
    Figure("feature_data_age", 40.0, 18.0, 90.0, 9),
    Figure("feature_baseline_drift_age", 0.25, n=9),
    Figure("bias_metric_DI", math.inf, dimensions=(("Facet", "sex"), ("FacetValue", "F"))),
    Figure("broken", None),
    Figure("odd", math.nan),
]


def test_lines_are_sagemaker_s():
    lines = [json.loads(line) for line in cloudwatch_lines(EXECUTION, FIGURES).splitlines()]
    assert [line["MetricName"] for line in lines] == [figure.name for figure in FIGURES[:3]]
    own = [{"Name": "Endpoint", "Value": "prod"}, {"Name": "MonitoringSchedule", "Value": "data-quality"}]
    assert lines[0] == {
        "MetricName": "feature_data_age",
        "Timestamp": "2026-03-01T12:00:00Z",
        "Dimensions": own,
        "StatisticValues": {"SampleCount": 9, "Sum": 360.0, "Minimum": 18.0, "Maximum": 90.0},
    }
    assert lines[1]["Value"] == 0.25
    assert lines[2]["Value"] == INFINITE
    assert lines[2]["Dimensions"] == [
        *own,
        {"Name": "Facet", "Value": "sex"},
        {"Name": "FacetValue", "Value": "F"},
    ]
    assert all(("Value" in line) != ("StatisticValues" in line) for line in lines)


def scraped(*args):
    families = text_string_to_metric_families(exposition(*args).decode())
    return {
        (sample.name.removeprefix("seaway_monitoring_"), *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_prometheus_reads_everything_back():
    points = [
        Datapoint("prod", "data-quality", "DataQuality", EXECUTION.window, one, "v3") for one in FIGURES
    ]
    alert = Alert("prod", "drift", AlertStatus.IN_ALERT, NOON)
    later = replace(EXECUTION, status=Status.FAILED)
    found = scraped([(EXECUTION, points)], [later], [alert], NOON + timedelta(minutes=3))
    of = (("endpoint", "prod"), ("monitoring_schedule", "data-quality"))
    figure = (
        ("dimensions", ""),
        ("endpoint", "prod"),
        ("estimated", "false"),
        ("metric_name", "feature_data_age"),
        ("monitoring_schedule", "data-quality"),
        ("variant", "v3"),
    )
    assert found["figure", *figure] == 40.0
    assert found["figure_low", *figure] == 18.0
    assert found["figure_rows", *figure] == 9
    assert found["violations", *of] == 1
    assert found["execution_age_seconds", *of] == 180
    assert found["execution_status", *of, ("status", "Failed")] == 1
    assert found["alert", ("alarm", "drift"), ("endpoint", "prod"), ("monitoring_type", "DataQuality")] == 1
    assert scraped([], [], [], NOON) == {}


def test_files_of_an_execution(tmp_path):
    documents = {"statistics.json": {"version": 0.0, "nan": math.nan, "far": [math.inf, -math.inf]}}
    finding = Finding("DataQuality", 9, EXECUTION.violations, tuple(FIGURES), documents)
    out = reports.folder(tmp_path, EXECUTION)
    assert out == tmp_path / "reports/prod/data-quality/2026/03/01/12"
    reports.write(out, EXECUTION, finding)
    read = {file.name: json.loads(file.read_text()) for file in out.glob("*.json")}
    assert read["statistics.json"] == {"version": 0.0, "nan": "NaN", "far": ["Infinity", "-Infinity"]}
    assert read["constraint_violations.json"]["violations"] == [
        {
            "feature_name": "age",
            "constraint_check_type": "baseline_drift_check",
            "description": 'a "quoted" ü',
        }
    ]
    assert read["summary.json"]["exit_message"] == (
        "CompletedWithViolations: Job completed successfully with 1 violations."
    )
    reports.write(out, replace(EXECUTION, status=Status.FAILED, reason="x"), None)
    assert [file.name for file in out.glob("*.json")] == ["summary.json"]
    assert (out / "cloudwatch.jsonl").read_text() == ""
