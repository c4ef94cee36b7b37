"""Variants, sticky clients, streams and the Open Inference Protocol through a real Envoy."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from deploy.port import Share
from tests.fakes.data_plane import order
from tests.fakes.stage import ENDPOINT, V1, V2, Stage, runtime, staged

pytestmark = pytest.mark.integration
CLIENTS = [f"client-{number}" for number in range(300)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("variants")) as stage:
        yield stage


def shares(first: float) -> tuple[Share, Share]:
    return Share(V1.id, "v1", first), Share(V2.id, "v2", 100 - first)


def variant(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["x-amzn-invoked-production-variant"]


def by_header(stage: Stage) -> dict[str, str]:
    return {client: variant(stage.call(x_user=client)) for client in CLIENTS}


def by_cookie(stage: Stage) -> dict[str, str]:
    return {client: variant(stage.call(cookie=f"a=1; Session={client}; b=2")) for client in CLIENTS}


@pytest.mark.parametrize(
    ("rule", "ask"), [("header:X-User", by_header), ("cookie:session", by_cookie)], ids=["header", "cookie"]
)
def test_clients_stick_and_only_the_necessary_ones_move(stage: Stage, rule: str, ask) -> None:
    stage.split(*shares(100), sticky=rule)
    assert set(ask(stage).values()) == {"v1"}
    stage.split(*shares(70), sticky=rule)
    seventy = ask(stage)
    assert ask(stage) == seventy
    assert 0.62 < sum(one == "v1" for one in seventy.values()) / len(CLIENTS) < 0.78
    stage.split(*shares(40), sticky=rule)
    forty = ask(stage)
    assert all(forty[client] == "v2" for client in CLIENTS if seventy[client] == "v2")
    stage.split(*shares(70), sticky=rule)
    again = ask(stage)
    assert all(again[client] == "v1" for client in CLIENTS if forty[client] == "v1")


def test_a_client_cannot_choose_its_slot_and_strangers_are_divided_by_weight(stage: Stage) -> None:
    stage.split(*shares(50), sticky="header:x-user")
    chosen = {variant(stage.call(x_user="ann", x_seaway_slot=str(slot))) for slot in range(0, 10_000, 250)}
    assert len(chosen) == 1
    assert {variant(stage.call()) for _ in range(40)} == {"v1", "v2"}
    assert all("x-seaway-slot" not in head.lower() for head, _ in (*stage.first.seen, *stage.second.seen))


def test_a_target_variant_overrides_the_client(stage: Stage) -> None:
    stage.split(*shares(100), sticky="header:x-user")
    assert variant(stage.call(x_user="ann", x_amzn_sagemaker_target_variant="v2")) == "v2"


def test_a_failure_of_a_sticky_model_is_a_model_error(stage: Stage) -> None:
    stage.split(*shares(100), sticky="header:x-user")
    answer = stage.call(order(status=400, body=b"no"), x_user="ann")
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (424, "ModelError")


def test_two_thirds_to_one_third(stage: Stage) -> None:
    stage.split(*shares(200 / 3))
    counts = [variant(stage.call()) for _ in range(600)]
    assert 0.58 < counts.count("v1") / 600 < 0.75


def test_open_inference_paths_keep_their_path_and_their_answers(stage: Stage) -> None:
    stage.split(*shares(100))
    good = stage.http.post(f"/v2/models/{ENDPOINT}/infer", content=order(body=b"{}"))
    assert variant(good) == "v1"
    assert "POST /v2/models/flights/infer HTTP/1.1" in stage.first.seen[-1][0]
    bad = stage.http.post(f"/v2/models/{ENDPOINT}/versions/1/infer", content=order(status=400, body=b"why"))
    assert (bad.status_code, bad.text) == (400, "why")
    assert "x-seaway-local" not in bad.headers
    targeted = {"x-amzn-sagemaker-target-variant": "v2"}
    assert variant(stage.http.post(f"/v2/models/{ENDPOINT}/infer", content=order(), headers=targeted)) == "v2"
    assert stage.http.get("/v2/health/live").json() == {"live": True}
    assert stage.http.get("/v2/health/ready").json() == {"ready": True}
    unknown = stage.http.post("/v2/models/nobody/infer", content=b"{}")
    assert (unknown.status_code, "error" in unknown.json()) == (404, True)


def test_streams_are_passed_to_their_own_path(stage: Stage) -> None:
    stage.split(*shares(100))
    answer = stage.http.post(f"/endpoints/{ENDPOINT}/invocations-response-stream", content=order())
    assert variant(answer) == "v1"
    assert "POST /invocations-response-stream HTTP/1.1" in stage.first.seen[-1][0]
    client = runtime(stage.envoy.url)
    with pytest.raises(client.exceptions.ClientError) as caught:
        client.invoke_endpoint_with_response_stream(EndpointName="nobody", Body=b"x")
    assert caught.value.response["Error"]["Code"] == "ValidationError"
