"""Archives that no build made, the whole way: registered, tried, approved, tested on staging, rolled out, asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import numpy as np
import pandas as pd
import pytest
from botocore.exceptions import ClientError
from sklearn.linear_model import LogisticRegression

from deploy.rollout import Phase
from flows.wiring import utc_now
from steps.pack import pack
from steps.pipeline import pack_pipeline
from tests.e2e.load import Load
from tests.e2e.stack import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]

CLEAN = """
import json
class Bad(Exception):
    status_code = 400
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    try:
        rows = [{"a": float(row["minutes"]) / 60} for row in json.loads(body)["instances"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Bad(f"minutes must be a number: {error!r}")
    return json.dumps({"instances": rows}), "application/json"
"""
ANSWER = """
import json
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    return json.dumps({"late": [row["score"] > 0.5 for row in json.loads(body)["predictions"]]}), "application/json"
"""
SQUARE = """
def model_fn(model_dir): return None
def input_fn(body, content_type): return [float(line) for line in body.split()]
def predict_fn(numbers, model): return [number * number for number in numbers]
def output_fn(numbers, accept): return "".join(f"{number:g};" for number in numbers), "text/x-squares"
"""


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


@pytest.fixture
def place(stack, tmp_path, request):
    """A folder with a project file that has nothing but hosting; its endpoints go when the test is over."""
    model = request.node.originalname.removeprefix("test_").replace("_", "-")[:40].strip("-")
    project = {
        "name": model,
        "model": model,
        "staging": {
            "endpoint": f"{model}-staging",
            "tests": {"latency": {"p99": "2s", "requests": 20}},
        },
        "production": {
            "endpoint": model,
            "instance_count": 1,
            "rollout": {
                "strategy": [{"type": "canary", "weights": ["50%"], "bake": "1s"}],
                "termination_wait": "1s",
                "maximum_execution_timeout": "3m",
            },
            "judge": {"min_requests": 5, "latency_margin": 20.0, "latency_floor": "500ms"},
        },
    }
    (tmp_path / "project.yaml").write_text(json.dumps(project))
    yield tmp_path, model
    for endpoint in (model, f"{model}-staging"):
        stack.wiring.store.abort(endpoint, "the test is over")
        until(lambda name=endpoint: stack.wiring.store.active(name) is None, 60, f"{endpoint} is free")
        if stack.wiring.store.endpoint(endpoint):
            stack.wiring.store.remove(endpoint, "the test is over", utc_now())


def logistic(folder, name, sign=1):
    frame = pd.DataFrame({"a": np.linspace(-2, 2, 100)})
    fitted = LogisticRegression().fit(frame, (sign * frame.a > 0).astype(int))
    folder.mkdir()
    return pack(
        fitted, frame, name=name, task="binary", features=("a",), trained_on=frame, folder=folder
    ).archive


def script(folder, code):
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(code)
    return folder


def seaway(stack, folder, *words):
    """Run a command in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "seaway.cli", *words],
        env={**os.environ, "SEAWAY_HOME": str(stack.home), "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout, done.stderr
    return done


def register(stack, folder, archive, *options):
    """Run `seaway register`; its exit code and what it says."""
    words = ("register", str(archive), "--project", str(folder / "project.yaml"), "--json")
    done = seaway(stack, folder, *words, *options)
    return done.returncode, json.loads(done.stdout)["message"]


def promoted(stack, model, archive):
    """The newest version after its approval and its rollout."""
    version = stack.wiring.registry.versions(model)[0]
    assert version.tags["approval_status"] == "PendingManualApproval"
    rollout = stack.deploy(version)
    assert rollout.state.phase is Phase.PROMOTED, rollout.state.reason
    assert rollout.request.release.digest == version.tags["digest"]
    return version


def test_registered_pipeline(stack, place, client):
    folder, model = place
    sources = [
        script(folder / "clean", CLEAN),
        logistic(folder / "m", "m"),
        script(folder / "answer", ANSWER),
    ]
    (folder / "ask.json").write_text('{"instances": [{"minutes": 30}, {"minutes": -90}]}')
    made = pack_pipeline(
        sources,
        ("clean", "predict", "answer"),
        folder / "pipeline.tar.gz",
        model=model,
        sample=(folder / "ask.json").read_bytes(),
    )
    (folder / "wrong.json").write_text('{"late": [true, true]}')
    code, said = register(stack, folder, made.archive, "--sample", "ask.json", "--expect", "wrong.json")
    assert code == 1
    assert "sample ask.json, the expected answer: the answer.late[1]: false, expected true" in said

    code, said = register(stack, folder, made.archive)
    assert (code, said) == (0, f"{model} version 1 waits for approval")
    again, same = register(stack, folder, made.archive)
    assert (again, same) == (0, said)
    version = promoted(stack, model, made.archive)
    assert version.tags["digest"] == made.digest
    assert "a pipeline of 3 stages" in version.description
    assert "| predict | package |" in version.description

    body = json.dumps({"instances": [{"minutes": 5}]})
    answer = client.invoke_endpoint(EndpointName=model, Body=body, ContentType="application/json")
    assert json.loads(answer["Body"].read()) == {"late": [True]}
    timings = answer["ResponseMetadata"]["HTTPHeaders"]["x-seaway-stage-timings"]
    assert [one.split(";")[0] for one in timings.split(", ")] == ["clean", "predict", "answer"]
    with pytest.raises(ClientError) as refused:
        client.invoke_endpoint(EndpointName=model, Body="{}", ContentType="application/json")
    assert refused.value.response["OriginalStatusCode"] == 400
    assert 'stage \\"clean\\" (1 of 3)' in refused.value.response["OriginalMessage"]

    other = script(folder / "other", ANSWER.replace('"late"', '"tardy"'))
    made = pack_pipeline(
        [*sources[:2], other],
        ("clean", "predict", "answer"),
        folder / "second.tar.gz",
        model=model,
        sample=(folder / "ask.json").read_bytes(),
    )
    code, said = register(stack, folder, made.archive)
    assert (code, said) == (0, f"{model} version 2 waits for approval")
    with Load(stack.wiring.invocations(model), [{"minutes": 30}, {"minutes": -9}], rate=40.0) as load:
        promoted(stack, model, made.archive)
        until(lambda: stack.aliases(model) == {"champion": "2", "previous": "1"}, 60, "the aliases follow")
    assert load.failed() == []
    assert {one.variant for one in load.sent} == {"v1", "v2"}

    (folder / "in").mkdir()
    (folder / "in" / "a.json").write_bytes((folder / "ask.json").read_bytes())
    words = ("transform", model, "2", "--input", "in", "--output", "out", "--wait", "--json")
    kinds = ("--content-type", "application/json", "--accept", "application/json")
    done = seaway(stack, folder, *words, *kinds)
    assert done.returncode == 0, done.stdout
    assert json.loads((folder / "out" / "a.json.out").read_text()) == {"tardy": [True, False]}


def test_registered_models(stack, place, client):
    folder, model = place
    many = folder / "models"
    (many / "team").mkdir(parents=True)
    for name, sign in (("up", 1), ("down", -1)):
        shutil.copy(logistic(folder / name, name, sign), many / "team" / f"{name}.tar.gz")
    project = json.loads((folder / "project.yaml").read_text())
    budget = {"SEAWAY_MULTI_MODEL_MEMORY_IN_MB": "300"}
    (folder / "project.yaml").write_text(json.dumps({**project, "environment": budget}))
    code, said = register(stack, folder, many)
    assert code == 0, said
    version = promoted(stack, model, many)
    assert "2 models behind one server" in version.description
    release = stack.wiring.store.endpoint(model).stable
    assert dict(release.environment) == budget

    body = json.dumps({"instances": [{"a": 1.5}]})
    asked = {"EndpointName": model, "Body": body, "ContentType": "application/json"}
    labels = [
        json.loads(client.invoke_endpoint(**asked, TargetModel=f"team/{name}.tar.gz")["Body"].read())
        for name in ("up", "down")
    ]
    assert [one["predictions"][0]["predicted_label"] for one in labels] == [1, 0]
    with pytest.raises(ClientError) as refused:
        client.invoke_endpoint(**asked, TargetModel="team/none.tar.gz")
    assert refused.value.response["OriginalStatusCode"] == 404


def test_registered_code(stack, place, client):
    folder, model = place
    source = script(folder / "square", SQUARE)
    code, said = register(stack, folder, source)
    assert code == 1
    assert "no sample request" in said
    (folder / "three.txt").write_text("3 4")
    (folder / "nine").write_text("9;16;")
    listed = [{"name": "squares", "request": "three.txt", "answer": "nine", "accept": "text/x-squares"}]
    (folder / "samples.yaml").write_text(json.dumps(listed))
    code, said = register(stack, folder, source, "--samples", "samples.yaml")
    assert code == 0, said
    promoted(stack, model, source)
    answer = client.invoke_endpoint(EndpointName=model, Body="5", ContentType="text/plain")
    assert (answer["ContentType"], answer["Body"].read()) == ("text/x-squares", b"25;")
