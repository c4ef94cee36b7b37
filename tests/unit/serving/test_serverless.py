from __future__ import annotations

import json

import pytest

from serving.environment import EnvironmentInvalid
from serving.serverless import VARIABLE
from serving.serverless.config import Serverless, read
from serving.serverless.metrics import Gauges, Metrics

LEAST = {"memory_size_in_mb": 1024, "max_concurrency": 5}


def settings(**more: object) -> Serverless:
    return read({VARIABLE: json.dumps({**LEAST, **more})})


def test_defaults_are_sagemakers() -> None:
    found = settings(provisioned_concurrency=None)
    assert (found.provisioned_concurrency, found.start_seconds, found.invocation_seconds) == (0, 180, 60)
    assert (found.max_request_mb, found.max_response_mb) == (4, 4)


def test_the_containers_time_limit_holds_when_no_other_is_given() -> None:
    environ = {VARIABLE: json.dumps(LEAST), "SAGEMAKER_MODEL_SERVER_TIMEOUT": "7"}
    assert read(environ).invocation_seconds == 7
    assert settings(invocation_seconds=3).invocation_seconds == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "is no JSON object"),
        (json.dumps({"max_concurrency": 1}), "memory_size_in_mb in SEAWAY_SERVERLESS is None"),
        (json.dumps({**LEAST, "max_concurrency": 201}), "from 1 to 200"),
        (json.dumps({**LEAST, "max_concurrency": True}), "from 1 to 200"),
        (json.dumps({**LEAST, "provisioned_concurrency": 6}), "from 0 to 5"),
        (json.dumps({**LEAST, "idle_seconds": -1}), "a positive number"),
        (json.dumps({**LEAST, "memory": 1}), "the unknown entry memory"),
    ],
)
def test_unusable_settings_are_named(text: str, problem: str) -> None:
    with pytest.raises(EnvironmentInvalid, match=problem):
        read({VARIABLE: text})


def test_metrics_as_text() -> None:
    metrics = Metrics()
    metrics.answered(200, 0.5, 0.1)
    metrics.answered(500, 0.2, 0.1)
    metrics.answered(413, 0.1, None)
    text = metrics.text(Gauges(3, 4, 2, 3, 12.5), {"endpoint": 'a"b'})
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    mark = '{endpoint="a\\"b"}'
    assert lines[f"Invocations_total{mark}"] == "3"
    assert lines[f"Invocation4XXErrors_total{mark}"] == "1"
    assert lines[f"InvocationModelErrors_total{mark}"] == "1"
    assert lines[f"OverheadLatency_microseconds_sum{mark}"] == "500000"
    assert lines[f"OverheadLatency_microseconds_max{mark}"] == "400000"
    assert lines[f"ModelLatency_microseconds_count{mark}"] == "2"
    assert lines[f"MemoryUtilization{mark}"] == "12.5"
    assert lines[f"ServerlessConcurrentExecutionsUtilization{mark}"] == "0.75"
    assert lines[f"ServerlessProvisionedConcurrencyUtilization{mark}"] == "1"
