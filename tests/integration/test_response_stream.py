"""`InvokeEndpointWithResponseStream` of boto3 against the model server itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.exceptions import EventStreamError

from tests.ports import free_port
from tests.processes import until

pytestmark = pytest.mark.integration
SCRIPT = """
import time
from pathlib import Path


def model_fn(folder):
    return Path(folder)


def input_fn(body, content_type):
    return body


def predict_fn(data, model):
    return data


def output_fn(prediction, accept):
    def parts():
        yield b"first of " + str(accept).encode()
        gate = Path(prediction if isinstance(prediction, str) else prediction.decode())
        while not gate.exists():
            time.sleep(0.01)
        if gate.read_text() == "fail":
            raise RuntimeError("the model lost its way")
        yield b"last"

    return parts()
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("streaming")
    (folder / "code").mkdir()
    (folder / "code" / "inference.py").write_text(SCRIPT)
    port = free_port()
    command = (sys.executable, "-m", "serving", "--package", folder, "--port", str(port))
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            until(lambda: _answers(address))
            yield address
        finally:
            server.terminate()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/ping", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def stream(url: str):
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    # The model server has no endpoints of its own: the gateway takes that part off the path.
    client.meta.events.register("before-send.*", _without_endpoint)

    opened = []

    def call(gate: Path):
        answer = client.invoke_endpoint_with_response_stream(
            EndpointName="any", Body=str(gate), ContentType="text/plain", Accept="text/x-special"
        )
        opened.append(answer["Body"])
        return answer

    yield call
    for stream in opened:
        stream.close()
    client.close()


def _without_endpoint(request, **_):
    request.url = request.url.replace("/endpoints/any/", "/")


def test_parts_arrive_as_they_are_made(stream, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    answer = stream(gate)
    events = iter(answer["Body"])
    assert next(events)["PayloadPart"]["Bytes"] == b"first of text/x-special"
    gate.write_text("go")
    assert [event["PayloadPart"]["Bytes"] for event in events] == [b"last"]


def test_a_failure_in_the_middle_is_the_last_event(stream, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    events = iter(stream(gate)["Body"])
    next(events)
    gate.write_text("fail")
    with pytest.raises(EventStreamError, match="ModelStreamError"):
        list(events)
