"""Monitoring on a real platform: promoted, watched, shifted traffic captured, looked at, and exported."""

from __future__ import annotations

import json

import pytest

from deploy.rollout import Phase
from tests.e2e.harbour import live
from tests.e2e.stack import lines, seaway, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(480)]
REQUESTS = 150


def told(stack, *words):
    done = seaway(stack, "monitor", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_planted_shift_is_violated_on_demand_and_exported(stack, harbour):
    endpoint = harbour.model
    file = harbour.write("v1", capture={})
    project = json.loads(file.read_text())
    project["monitor"] = {"schedule": {"every": "1m"}, "model_quality": {}}
    file.write_text(json.dumps(project))
    number, _ = stack.build(file)
    assert stack.deploy(number).state.phase is Phase.PROMOTED
    (row,) = until(
        lambda: [one for one in told(stack, "status") if one["endpoint"] == endpoint], 60, "the watch"
    )
    assert row["status"] == "Scheduled"

    url = stack.wiring.invocations(endpoint)
    for record in live(REQUESTS):
        shifted = {**record, "draught": (record["draught"] or 0.0) + 50.0}
        assert stack.http.post(url, json={"instances": [shifted]}).status_code == 200
    until(lambda: lines(stack.home / "captures" / endpoint) >= REQUESTS, 120, "captures")

    found = told(stack, "run", endpoint, "--from", "30m")
    quality = {one["monitoring_type"]: one for one in found}
    drifted = [
        one["feature_name"]
        for one in quality["DataQuality"]["violations"]
        if one["constraint_check_type"] == "baseline_drift_check"
    ]
    assert "draught" in drifted
    assert "wind" not in drifted
    assert quality["DataQuality"]["rows"] == REQUESTS
    assert quality["ModelQuality"]["status"] == "Completed"
    failing = seaway(stack, "monitor", "run", endpoint, "--from", "30m", "--fail-on-violation")
    assert failing.returncode == 1

    def scheduled():
        return [
            one
            for one in told(stack, "list", endpoint, "--schedule", "data-quality")
            if one["status"] == "CompletedWithViolations"
        ]

    until(scheduled, 240, lambda: f"an execution by schedule: {told(stack, 'list', endpoint)}")
    settings = stack.wiring.settings
    text = stack.http.get(f"{settings.url('controller')}/metrics").text
    label = f'endpoint="{endpoint}"'
    assert any(
        label in line and 'metric_name="feature_baseline_drift_draught"' in line for line in text.splitlines()
    )
    stopped = told(stack, "stop", endpoint)
    assert stopped["status"] == "Stopped"
    assert seaway(stack, "monitor", "stop", endpoint).returncode == 1
