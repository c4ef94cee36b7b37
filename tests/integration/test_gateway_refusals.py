"""What a real Envoy refuses before a model sees it, and what it says about itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from deploy.port import Share
from serving import about
from tests.fakes.data_plane import order
from tests.fakes.stage import ENDPOINT, V1, Stage, runtime, staged

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("refusals")) as stage:
        stage.split(Share(V1.id, "v1", 100))
        yield stage


@pytest.fixture(scope="module")
def client(stage: Stage) -> Any:
    return runtime(stage.envoy.url)


@pytest.fixture(autouse=True)
def _usual(stage: Stage) -> None:
    stage.first.seen.clear()


TOO_MUCH = [
    ({"InferenceId": "x" * 65}, "inference-id must be 1 to 64 printable ASCII characters"),
    ({"CustomAttributes": "x" * 1025}, "custom-attributes must be at most 1024 ASCII characters"),
    ({"ContentType": "x" * 1025}, "content-type must be at most 1024 ASCII characters"),
    ({"SessionId": "bad session!"}, "session-id must be NEW_SESSION"),
    ({"SessionId": "-a"}, "session-id must be NEW_SESSION"),
    ({"SessionId": "x" * 257}, "session-id must be NEW_SESSION"),
    ({"TargetContainerHostname": "two"}, "no endpoint has containers that are asked directly"),
    ({"InferenceComponentName": "one"}, "no endpoint has inference components"),
]
OF_ONE_ANSWER = [
    ({"Accept": "x" * 1025}, "accept must be at most 1024 ASCII characters"),
    ({"EnableExplanations": "x" * 65}, "enable-explanations must be 1 to 64 printable"),
    ({"TargetModel": "x" * 1025}, "target-model must be 1 to 1024 printable"),
    ({"TargetModel": "a.tar.gz"}, "Endpoint flights has one model; leave TargetModel out."),
]


def _refused(caught: pytest.ExceptionInfo[ClientError], words: str) -> None:
    error = caught.value.response
    assert error["Error"]["Code"] == "ValidationError"
    assert words in error["Error"]["Message"]
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert uuid.UUID(error["ResponseMetadata"]["RequestId"])


@pytest.mark.parametrize(("asked", "words"), [*TOO_MUCH, *OF_ONE_ANSWER])
def test_what_the_api_does_not_allow(stage: Stage, client: Any, asked: dict[str, str], words: str) -> None:
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(), **asked)
    _refused(caught, words)
    assert not stage.first.seen


@pytest.mark.parametrize(("asked", "words"), TOO_MUCH)
def test_what_a_stream_does_not_allow(stage: Stage, client: Any, asked: dict[str, str], words: str) -> None:
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint_with_response_stream(EndpointName=ENDPOINT, Body=order(), **asked)
    _refused(caught, words)
    assert not stage.first.seen


def test_the_most_that_is_allowed_passes_whole(stage: Stage, client: Any) -> None:
    most = {
        "InferenceId": "x" * 64,
        "CustomAttributes": "a b\t" * 256,
        "ContentType": "x" * 1024,
        "Accept": "y" * 1024,
        "SessionId": "s" * 256,
        "EnableExplanations": "`true`",
        "PrefixAwareId": "p" * 64,
    }
    client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(), **most)
    head = stage.first.seen[0][0].lower()
    assert f"x-amzn-sagemaker-custom-attributes: {('a b' + chr(9)) * 256}".strip() in head
    client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(), SessionId="NEW_SESSION")
    assert len(stage.first.seen) == 2


@pytest.mark.parametrize(
    "name",
    [
        b"content-type",
        b"accept",
        b"x-amzn-sagemaker-custom-attributes",
        b"x-amzn-sagemaker-inference-id",
        b"x-amzn-sagemaker-target-model",
    ],
)
@pytest.mark.parametrize("value", ["naïve".encode(), "naïve".encode("latin-1"), b"\xff"])
def test_what_is_not_ascii(stage: Stage, name: bytes, value: bytes) -> None:
    path = f"/endpoints/{ENDPOINT}/invocations"
    answer = stage.http.post(path, content=order(), headers=[(name, value)])
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "ValidationError")
    assert "ASCII" in answer.json()["message"]
    assert not stage.first.seen


def test_an_empty_id(stage: Stage) -> None:
    assert stage.call(x_amzn_sagemaker_inference_id="").status_code == 400
    assert not stage.first.seen


def test_many_models_are_asked_by_name(stage: Stage, client: Any) -> None:
    folder = stage.envoy.folder
    splits = folder.endpoints() | {"many": (Share(V1.id, "v1", 100),)}
    version = folder.write_routes(splits, many_models={"many": True})
    stage.settled(version)
    client.invoke_endpoint(EndpointName="many", Body=order(), TargetModel="team/a.tar.gz")
    assert "x-amzn-sagemaker-target-model: team/a.tar.gz" in stage.first.seen[0][0].lower()
    assert folder.write_routes(folder.endpoints()) == version
    with pytest.raises(ClientError, match="has one model"):
        client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(), TargetModel="team/a.tar.gz")
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName="nobody", Body=order(), TargetModel="team/a.tar.gz")
    _refused(caught, "Endpoint nobody of account 000000000000 not found.")


def test_the_longest_name_of_an_endpoint(stage: Stage, client: Any) -> None:
    name = "e" + "-e" * 31
    stage.split(Share(V1.id, "v1", 100), name=name)
    client.invoke_endpoint(EndpointName=name, Body=order())
    assert stage.http.get(f"/v2/models/{name}/versions/1/ready").status_code == 200


# ---- the Open Inference Protocol ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_gateway_describes_itself_as_its_servers_do(stage: Stage, path: str) -> None:
    answer = stage.http.get(path)
    assert answer.json() == about.server()
    assert answer.json()["extensions"] == ["binary_tensor_data"]
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/health/live", "/v2/health/ready/"])
def test_only_get_is_answered(stage: Stage, path: str) -> None:
    refused: httpx.Response = stage.http.post(path, content=b"{}")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert refused.json() == {"error": "this path takes GET only"}
    assert stage.http.get(path).status_code == 200
