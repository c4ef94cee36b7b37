"""Sessions of stateful models through a real Envoy, asked by an unmodified client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.port import Share
from tests.fakes.data_plane import Upstream, order, wait_until
from tests.fakes.stage import ENDPOINT, V1, V2, Stage, runtime, staged

pytestmark = pytest.mark.integration

OPENING = order(headers={"X-Amzn-SageMaker-New-Session-Id": "talk-7; Expires=2027-01-01T00:00:00Z"})
CLOSING = order(headers={"X-Amzn-SageMaker-Closed-Session-Id": "talk-7"})


@pytest.fixture(scope="module")
def third() -> Iterator[Upstream]:
    upstream = Upstream().start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, third: Upstream) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("sessions")) as stage:
        stage.envoy.folder.write_instances(V1.id, [stage.first.port, third.port])
        wait_until(lambda: stage.admin.healthy(V1.id) == 2)
        yield stage


@pytest.fixture(scope="module")
def client(stage: Stage) -> Iterator[Any]:
    made = runtime(stage.envoy.url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _usual(stage: Stage, third: Upstream) -> None:
    stage.split(Share(V1.id, "v1", 100), Share(V2.id, "v2", 0))
    for upstream in (stage.first, stage.second, third):
        upstream.seen.clear()


def opened(client: Any, **more: str) -> str:
    answer = client.invoke_endpoint(EndpointName=ENDPOINT, Body=OPENING, SessionId="NEW_SESSION", **more)
    identifier, expires = answer["NewSessionId"].split("; ")
    assert expires == "Expires=2027-01-01T00:00:00Z"
    return str(identifier)


def sessions(upstream: Upstream) -> list[str]:
    """The ids that a model server was asked with."""
    lines = [line for head, _ in upstream.seen for line in head.split("\r\n")]
    told = [line.partition(": ") for line in lines]
    return [value for name, _, value in told if name.lower() == "x-amzn-sagemaker-session-id"]


def ask(client: Any, identifier: str, count: int = 20) -> None:
    for _ in range(count):
        answer = client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(), SessionId=identifier)
        names = [name for name in answer["ResponseMetadata"]["HTTPHeaders"] if "session" in name]
        assert names == [], "nothing of ours is left in answers"


def test_a_session_stays_with_the_instance_that_opened_it(stage: Stage, third: Upstream, client: Any) -> None:
    for _ in range(6):
        stage.first.seen.clear()
        third.seen.clear()
        identifier = opened(client)
        opener, other = (stage.first, third) if stage.first.seen else (third, stage.first)
        ask(client, identifier)
        assert sessions(opener) == ["NEW_SESSION", *["talk-7"] * 20], "the model sees its own id"
        assert other.seen == []
        assert not any("x-seaway-session" in head for head, _ in opener.seen)


def test_streams_belong_to_sessions_too(stage: Stage, third: Upstream, client: Any) -> None:
    identifier = opened(client)
    opener = stage.first if stage.first.seen else third
    for _ in range(10):
        path = f"/endpoints/{ENDPOINT}/invocations-response-stream"
        sent = {"x-amzn-sagemaker-session-id": identifier}
        assert stage.http.post(path, content=order(), headers=sent).status_code == 200
    assert len(opener.seen) == 11
    with pytest.raises(ClientError, match="must name a session"):
        client.invoke_endpoint_with_response_stream(
            EndpointName=ENDPOINT, Body=order(), SessionId="NEW_SESSION"
        )


def test_a_closed_session_has_the_id_that_its_client_knows(client: Any) -> None:
    identifier = opened(client)
    answer = client.invoke_endpoint(EndpointName=ENDPOINT, Body=CLOSING, SessionId=identifier)
    assert answer["ClosedSessionId"] == identifier


def test_a_rollout_leaves_sessions_where_they_are(stage: Stage, third: Upstream, client: Any) -> None:
    identifier = opened(client)
    stage.split(Share(V1.id, "v1", 0), Share(V2.id, "v2", 100), sticky="header:x-user")
    ask(client, identifier)
    assert stage.second.seen == []
    opened(client)
    assert sessions(stage.second) == ["NEW_SESSION"], "new ones go where all go"


def test_a_session_of_a_version_that_is_gone_is_for_the_model_to_refuse(stage: Stage, client: Any) -> None:
    identifier = opened(client)
    stage.split(Share(V2.id, "v2", 100))
    ask(client, identifier, 1)
    assert sessions(stage.second) == ["talk-7"]


def test_a_dead_instance_leaves_the_answer_to_another(stage: Stage, client: Any) -> None:
    gone = f"talk-7-p1-{opened(client).rpartition('-')[2]}"
    ask(client, gone, 3)


def test_sessions_of_a_target_variant(stage: Stage, third: Upstream, client: Any) -> None:
    identifier = opened(client, TargetVariant="v2")
    assert sessions(stage.second) == ["NEW_SESSION"]
    ask(client, identifier, 5)
    assert sessions(stage.second) == ["NEW_SESSION", *["talk-7"] * 5]
    assert stage.first.seen + third.seen == []


def test_ids_that_no_gateway_wrote_pass_as_they_are(stage: Stage, third: Upstream, client: Any) -> None:
    ask(client, "talk-p-12345678", 2)
    assert sessions(stage.first) + sessions(third) == ["talk-p-12345678"] * 2


def test_failures_of_the_model_are_model_errors(stage: Stage, client: Any) -> None:
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(
            EndpointName=ENDPOINT, Body=order(status=400, body=b"no such session"), SessionId=opened(client)
        )
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert caught.value.response["OriginalStatusCode"] == 400
