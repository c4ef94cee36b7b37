"""Capture, replay, asynchronous calls, streams, serverless and Open Inference requests on one real platform."""

from __future__ import annotations

import json
import time
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from deploy.rollout import Phase
from tests.e2e.harbour import live
from tests.e2e.stack import kill, seaway, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def client(stack):
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=stack.wiring.settings.url("gateway"),
        region_name="eu-west-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    yield client
    client.close()


def test_capture_replay_and_streams(stack, harbour, client):
    endpoint = harbour.model
    version, _ = stack.build(harbour.write("v1", capture={}))
    rollout = stack.deploy(version)
    assert rollout.state.phase is Phase.PROMOTED, rollout.state.reason
    for record in live(25):
        client.invoke_endpoint(
            EndpointName=endpoint, Body=json.dumps([record]), ContentType="application/json"
        )
    folder = stack.home / "captures" / endpoint / "v1"

    def replayed():
        done = seaway(stack, "replay", "--endpoint", endpoint, "--candidate", "1", "--from", "1h", "--json")
        found = json.loads(done.stdout) if done.stdout.strip().startswith("{") else None
        return found if found and found["comparison"]["pairs"] >= 25 else None

    until(lambda: sum(len(f.read_text().splitlines()) for f in folder.rglob("*.jsonl")) >= 25, 90, "captures")
    report = until(replayed, 120, "a replay")
    assert report["comparison"]["differences"] == 0

    infer = {
        "inputs": [
            {"name": "draught", "datatype": "FP64", "shape": [1], "data": [9.5]},
            {"name": "wind", "datatype": "FP64", "shape": [1], "data": [12.0]},
            {"name": "cargo", "datatype": "BYTES", "shape": [1], "data": ["ore"]},
        ]
    }
    url = f"{stack.wiring.settings.url('gateway')}/v2/models/{endpoint}"
    outputs = {one["name"] for one in stack.http.post(f"{url}/infer", json=infer).json()["outputs"]}
    assert {"predicted_label", "score"} <= outputs
    assert stack.http.get(f"{url}/ready").status_code == 200

    parts = client.invoke_endpoint_with_response_stream(
        EndpointName=endpoint, Body=json.dumps({"instances": live(3)}), ContentType="application/json"
    )
    streamed = b"".join(event["PayloadPart"]["Bytes"] for event in parts["Body"])
    parts["Body"].close()
    assert len(json.loads(streamed)["predictions"]) == 3


def test_asynchronous_calls(stack, harbour, client):
    endpoint, output = harbour.model, "s3://local/answers"
    version, _ = stack.build(
        harbour.write("v1", asynchronous={"output_path": output, "failure_path": output})
    )
    rollout = stack.deploy(version)
    assert rollout.state.phase is Phase.PROMOTED, rollout.state.reason
    body = json.dumps({"instances": live(3)})
    until(lambda: (stack.home / "async" / f"{endpoint}.json").exists(), 60, "the asynchronous settings")
    answer = client.invoke_endpoint_async(EndpointName=endpoint, Body=body, ContentType="application/json")
    assert answer["OutputLocation"].startswith(output)
    file = stack.home / "objects" / answer["OutputLocation"].removeprefix("s3://local/")
    until(file.exists, 60, "the output")
    assert len(json.loads(file.read_text())["predictions"]) == 3
    (stack.home / "objects" / "input.json").write_text('{"instances": "none"}')
    failing = client.invoke_endpoint_async(
        EndpointName=endpoint, InputLocation="s3://local/input.json", ContentType="application/json"
    )
    lost = stack.home / "objects" / failing["FailureLocation"].removeprefix("s3://local/")
    until(lost.exists, 60, "the failure")
    with pytest.raises(ClientError, match="takes asynchronous calls only"):
        client.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType="application/json")


def test_scaling_by_backlog(stack, harbour, client):
    endpoint, output = harbour.model, "s3://local/scaled"
    serving = {
        "asynchronous": {
            "output_path": output,
            "failure_path": output,
            "scaling": {"max_instances": 2, "backlog_per_instance": 2, "scale_in_after": "3s"},
        },
        "strategy": [{"type": "all_at_once"}],
    }
    archives, body = stack.wiring.archives, json.dumps({"instances": live(3)})

    def running(rollout):
        return stack.instances(rollout.request.release.fleet(endpoint, archives))

    def row():
        rows = json.loads(seaway(stack, "endpoints", "--json").stdout)
        return next(one for one in rows if one["endpoint"] == endpoint)

    def answered(said):
        file = stack.home / "objects" / said["OutputLocation"].removeprefix("s3://local/")
        until(file.exists, 60, "the output")
        assert len(json.loads(file.read_text())["predictions"]) == 3

    def call():
        return client.invoke_endpoint_async(EndpointName=endpoint, Body=body, ContentType="application/json")

    version, _ = stack.build(harbour.write("v1", **serving))
    first = stack.deploy(version)
    assert first.state.phase is Phase.PROMOTED, first.state.reason
    until(lambda: not running(first), 60, "scale to zero")
    assert row()["instances"] == 0
    assert "0 (0 to 2 by backlog)" in seaway(stack, "endpoints").stdout.replace("\n", " ")

    answered(call())
    until(lambda: not running(first), 60, "scale to zero again")
    for said in [call() for _ in range(8)]:
        answered(said)
    counts = [e.data["to"] for e in stack.wiring.store.events(endpoint) if e.kind == "scaled"]
    assert {1, 2} & set(counts)
    kill(stack.pid("controller"))
    until(lambda: not running(first), 60, "scale to zero, decided by another controller")

    version, _ = stack.build(harbour.write("v2", trees=9, **serving))
    second = stack.deploy(version)
    assert second.state.phase is Phase.PROMOTED, second.state.reason
    answered(call())
    until(lambda: not running(first) and not running(second), 60, "scale to zero with the new version")
    answered(call())
    assert row()["version"] == version.version


def test_serverless(stack, harbour):
    endpoint = harbour.model
    serverless = {"memory_size_in_mb": 1024, "max_concurrency": 2, "idle": "2s"}
    at_once = [{"type": "all_at_once"}]
    version, _ = stack.build(harbour.write("v1", serverless=serverless, instance_count=1, strategy=at_once))
    rollout = stack.deploy(version)
    assert rollout.state.phase is Phase.PROMOTED, rollout.state.reason
    fleet = rollout.request.release.fleet(endpoint, stack.wiring.archives)
    record = live(1)[0]

    def model_servers():
        pids = stack.instances(fleet).values()
        return [c for pid in pids for c in _children(pid)]

    until(lambda: model_servers() == [], 60, "scale to zero")
    began = time.monotonic()
    assert stack.invoke(endpoint, record).status_code == 200
    cold = time.monotonic() - began
    assert model_servers() != []
    began = time.monotonic()
    assert stack.invoke(endpoint, record).status_code == 200
    assert time.monotonic() - began < cold
    until(lambda: model_servers() == [], 60, "scale to zero again")


def _children(pid):
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def test_explanations(stack, harbour, client):
    endpoint = harbour.model
    version, _ = stack.build(harbour.write("v1", explain={"enable": "score > `2`"}))
    rollout = stack.deploy(version)
    assert rollout.state.phase is Phase.PROMOTED, rollout.state.reason
    body = json.dumps(live(2))
    plain = client.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType="application/json")
    assert json.loads(plain["Body"].read())["explanations"] == {}
    answer = client.invoke_endpoint(
        EndpointName=endpoint, Body=body, ContentType="application/json", EnableExplanations="`true`"
    )
    rows = json.loads(answer["Body"].read())["explanations"]["kernel_shap"]
    assert [len(row) for row in rows] == [3, 3]
