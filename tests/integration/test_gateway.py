"""What clients and models see of a real Envoy that runs our configuration."""

from __future__ import annotations

import json
import random
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.counting import increase
from deploy.envoy import ConfigFolder, EnvoyAdmin
from deploy.errors import GatewayUnreachable
from deploy.port import Share
from tests.fakes.data_plane import Upstream, order, running_envoy, wait_until
from tests.fakes.stage import DOWN, ENDPOINT, RETRIES, TIMEOUT, V1, V2, Stage, fleet, runtime, staged
from tests.ports import free_port

pytestmark = pytest.mark.integration
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("gateway")) as stage:
        yield stage


@pytest.fixture(autouse=True)
def _usual(stage: Stage) -> None:
    stage.first.seen.clear()
    stage.second.seen.clear()
    stage.split(Share(V1.id, "v1", 100), Share(V2.id, "v2", 0))


@pytest.fixture(scope="module")
def client(stage: Stage) -> Any:
    return runtime(stage.envoy.url)


# ---- the way through ---------------------------------------------------------------------------------------


def test_boto3_gets_the_answer_the_variant_and_a_request_id(stage: Stage, client: Any) -> None:
    answer = client.invoke_endpoint(
        EndpointName=ENDPOINT,
        Body=order(body=b"\x00\xffraw", headers={"content-type": "text/csv"}),
        ContentType="application/json",
        CustomAttributes="trace=1",
    )
    assert answer["Body"].read() == b"\x00\xffraw"
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("text/csv", "v1")
    assert uuid.UUID(answer["ResponseMetadata"]["RequestId"])
    head = stage.first.seen[0][0].lower()
    assert head.startswith("post /invocations http/1.1")
    assert "x-amzn-sagemaker-custom-attributes: trace=1" in head
    assert f"x-amzn-requestid: {answer['ResponseMetadata']['RequestId']}" in head


def test_secrets_of_the_client_do_not_reach_the_model(stage: Stage, client: Any) -> None:
    client.invoke_endpoint(EndpointName=ENDPOINT, Body=order())
    stage.call(cookie="a=b", x_amz_security_token="token")
    for head, _ in stage.first.seen:
        for name in ("authorization:", "cookie:", "x-amz-", "amz-sdk"):
            assert name not in head.lower()


def test_the_client_cannot_steer_the_gateway(stage: Stage) -> None:
    answer = stage.call(
        order(sleep=0.1),
        x_request_id="mine",
        x_amzn_requestid="mine",
        x_envoy_upstream_rq_timeout_ms="1",
        x_envoy_retry_on="5xx",
        x_seaway_local="1",
    )
    assert answer.status_code == 200
    assert uuid.UUID(answer.headers["x-amzn-requestid"])
    assert "mine" not in stage.first.seen[0][0]


def test_no_noise_in_the_answer(stage: Stage) -> None:
    headers = stage.call().headers
    assert "server" not in headers
    assert not [name for name in headers if name.startswith("x-envoy")]


# ---- routing ----------------------------------------------------------------------------------------------


def test_weights_are_shares_of_the_traffic(stage: Stage) -> None:
    stage.split(Share(V1.id, "v1", 70), Share(V2.id, "v2", 30))
    seen = Counter(stage.call().headers["x-amzn-invoked-production-variant"] for _ in range(1000))
    assert set(seen) == {"v1", "v2"}
    assert 240 < seen["v2"] < 360  # four standard deviations


def test_a_variant_asked_for_by_name_answers_at_weight_zero(stage: Stage, client: Any) -> None:
    for _ in range(20):
        answer = client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(), TargetVariant="v2")
        assert answer["InvokedProductionVariant"] == "v2"
    assert not stage.first.seen


def test_an_unknown_variant_is_a_validation_error(stage: Stage, client: Any) -> None:
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(), TargetVariant='no"such')
    assert caught.value.response["Error"] == {
        "Code": "ValidationError",
        "Message": 'Variant no"such of endpoint flights not found.',
    }


@pytest.mark.parametrize("name", ["unknown", "Flights", "flights2", "fligh", 'bad/na"me', "é\n"])
def test_an_unknown_endpoint_is_a_validation_error_with_its_name(
    stage: Stage, client: Any, name: str
) -> None:
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName=name, Body=order())
    error = caught.value.response
    assert error["Error"]["Code"] == "ValidationError"
    assert error["Error"]["Message"] == f"Endpoint {name} of account 000000000000 not found."
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert uuid.UUID(error["ResponseMetadata"]["RequestId"])


def test_a_percent_encoded_name_is_the_same_name(stage: Stage) -> None:
    answer = stage.call(name="%66lights")
    assert (answer.status_code, answer.content) == (200, b"ok")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/endpoints/flights/invocations", 405),
        ("PUT", "/endpoints/flights/invocations", 405),
        ("POST", "/endpoints/flights/invocations/more", 404),
        ("POST", "/endpoints/flights", 404),
        ("POST", "/invocations", 404),
        ("GET", "/", 404),
    ],
)
def test_wrong_methods_and_paths(stage: Stage, method: str, path: str, status: int) -> None:
    answer = stage.http.request(method, path, content=b"{}")
    assert answer.status_code == status
    assert answer.json()["message"]
    assert answer.headers["x-amzn-errortype"] == "UnknownOperationException"
    assert answer.headers["x-amzn-requestid"]
    assert not stage.first.seen


# ---- failures of a model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 304, 400, 404, 413, 424, 429, 500, 502, 503, 504, 599])
def test_a_failing_model_is_a_model_error_and_runs_once(stage: Stage, client: Any, status: int) -> None:
    body = b"" if status == 304 else b'{"error": "field \\"x\\"\nis missing"}'
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(
            EndpointName=ENDPOINT, Body=order(status=status, body=body, headers={"x-seaway-local": "1"})
        )
    error = caught.value.response
    kind = "server" if status >= 500 else "client"
    assert error["Error"]["Code"] == "ModelError"
    assert error["OriginalStatusCode"] == status
    assert error["OriginalMessage"] == body.decode()
    assert error["Message"] == (
        f'Received {kind} error ({status}) from primary with message "{body.decode()}". '
        "See /aws/sagemaker/Endpoints/flights in account 000000000000 for more information."
    )
    assert error["LogStreamArn"].endswith("/flights:log-stream:v1")
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert error["ResponseMetadata"]["HTTPHeaders"]["x-amzn-invoked-production-variant"] == "v1"
    assert uuid.UUID(error["ResponseMetadata"]["RequestId"])
    assert len(stage.first.seen) == 1


def test_the_error_code_names_who_failed(stage: Stage) -> None:
    assert stage.call(order(status=422)).json()["ErrorCode"] == "CLIENT_ERROR_FROM_MODEL"
    assert stage.call(order(status=500)).json()["ErrorCode"] == "SERVER_ERROR_FROM_MODEL"


def _odd_bodies() -> Iterator[bytes]:
    yield bytes(range(256))
    yield "naïve — 模型 🙂".encode()
    yield b"\xed\xa0\x80 \xf4\x90\x80\x80 \xc0\xaf \xe0\x80\x80 \xf0\x9f\x99"
    yield b'"' * 1000 + b"\\" * 1000 + b"\x00" * 100
    yield b"%" * 50 + b"%d %s %REQ(cookie)%"
    dice = random.Random(7)
    for size in (1, 3, 17, 1023, 1024, 1025, 5000, 32_767, 32_768, 32_769, 200_000):
        yield dice.randbytes(size)
        yield ("é🙂" * size)[:size].encode()


def test_any_body_of_a_failing_model_becomes_valid_json(stage: Stage) -> None:
    for body in _odd_bodies():
        answer = stage.call(order(status=400, body=body))
        assert answer.status_code == 424
        content = json.loads(answer.content)  # raises on control characters and on broken UTF-8
        assert content["OriginalMessage"] == _replaced(_whole(body, 32 * 1024))
        assert content["OriginalStatusCode"] == 400


def _whole(body: bytes, limit: int) -> bytes:
    """Not cut before a continuation byte, for at most three bytes."""
    last = limit
    while last < len(body) and last > limit - 3 and 0x80 <= body[last] <= 0xBF:
        last -= 1
    return body[:last]


def _replaced(body: bytes) -> str:
    """One replacement character for each byte that belongs to no character."""
    text = body.decode(errors="surrogateescape")
    return "".join("\ufffd" if 0xDC80 <= ord(char) <= 0xDCFF else char for char in text)


def test_a_chunked_error_body_is_kept(stage: Stage) -> None:
    assert stage.call(order(status=500, body=b"piece by piece", chunked=True)).json()["OriginalMessage"] == (
        "piece by piece"
    )


def test_an_endless_error_body_keeps_the_status(stage: Stage) -> None:
    answer = stage.call(order(status=404, body=b"x" * 1000, times=50_000))
    assert answer.status_code == 424
    assert answer.headers["x-amzn-errortype"] == "ModelError"
    assert answer.headers["x-amzn-requestid"]
    assert "x-seaway-local" not in answer.headers
    content = answer.json()
    assert (content["OriginalStatusCode"], content["ErrorCode"]) == (404, "CLIENT_ERROR_FROM_MODEL")
    assert content["Message"].startswith("Received client error (404) from primary with a message too long")


def test_a_slow_model_is_a_model_error_and_runs_once(stage: Stage, client: Any) -> None:
    began = time.monotonic()
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(sleep=TIMEOUT * 10))
    assert time.monotonic() - began < TIMEOUT * 5
    error = caught.value.response
    assert (error["Error"]["Code"], error["OriginalStatusCode"]) == ("ModelError", 504)
    assert error["Message"] == (
        'Received server error (504) from primary with message "the model did not answer in time". '
        "See /aws/sagemaker/Endpoints/flights in account 000000000000 for more information."
    )
    assert len(stage.first.seen) == 1


def test_a_broken_connection_is_a_model_error_and_is_not_repeated(stage: Stage, client: Any) -> None:
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(reset=True))
    error = caught.value.response
    assert (error["Error"]["Code"], error["OriginalStatusCode"]) == ("ModelError", 503)
    assert error["ResponseMetadata"]["HTTPHeaders"]["x-amzn-invoked-production-variant"] == "v1"
    assert len(stage.first.seen) == 1


def test_nobody_healthy_is_a_model_error(stage: Stage, client: Any) -> None:
    stage.split(Share(DOWN.id, "v1", 100), name="down")
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName="down", Body=order())
    error = caught.value.response
    assert (error["Error"]["Code"], error["OriginalStatusCode"]) == ("ModelError", 503)
    assert error["ResponseMetadata"]["RetryAttempts"] == 0


def test_a_variant_that_is_gone_is_asked_again(stage: Stage, client: Any) -> None:
    stage.split(Share("ghost.v1.0", "v1", 100), name="ghost")
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName="ghost", Body=order())
    error = caught.value.response
    assert error["Error"]["Code"] == "ServiceUnavailable"
    assert error["ResponseMetadata"]["RetryAttempts"] == RETRIES


@pytest.mark.parametrize("size", [25 * 1024 * 1024 + 1, 60_000_000])
def test_too_long_a_body_is_413(stage: Stage, client: Any, size: int) -> None:
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName=ENDPOINT, Body=b"0" * size)
    error = caught.value.response
    assert error["Error"]["Code"] == "413"
    assert "26214400" in error["Error"]["Message"]
    assert error["ResponseMetadata"]["RetryAttempts"] == 0
    assert not stage.first.seen


def test_the_longest_body_passes_whole(stage: Stage, client: Any) -> None:
    client.invoke_endpoint(EndpointName=ENDPOINT, Body=b"0" * (25 * 1024 * 1024))
    assert len(stage.first.seen[0][1]) == 25 * 1024 * 1024


def test_a_failing_stage_is_named_in_the_place_of_the_container(stage: Stage, client: Any) -> None:
    named = {"x-seaway-stage": "clean-1"}
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(status=400, body=b"no", headers=named))
    assert caught.value.response["Message"].startswith(
        'Received client error (400) from clean-1 with message "no"'
    )
    long = stage.call(order(status=500, body=b"x" * 1000, times=50_000, headers=named))
    assert long.json()["Message"].startswith(
        "Received server error (500) from clean-1 with a message too long"
    )
    odd = stage.call(order(status=500, headers={"x-seaway-stage": 'a"b'}))
    assert odd.json()["Message"].startswith("Received server error (500) from primary with")
    infer = f"/v2/models/{ENDPOINT}/infer"
    plain = stage.http.post(infer, content=order(status=500, headers=named))
    answers = [stage.call(order(headers=named)), long, odd, plain]
    assert not [one for one in answers if "x-seaway-stage" in one.headers]


# ---- counters and health ----------------------------------------------------------------------------------


def test_counters_hold_the_status_the_model_gave(stage: Stage) -> None:
    before = stage.admin.counters("flights.")[V1.id]
    for wish in ({"status": 200}, {"status": 404}, {"status": 503}, {"sleep": 3 * TIMEOUT}, {"reset": True}):
        stage.call(order(**wish))
    wait_until(lambda: stage.admin.counters("flights.")[V1.id].requests == before.requests + 5)
    after = stage.admin.counters("flights.")[V1.id]
    assert after.errors_4xx - before.errors_4xx == 1
    assert after.errors_5xx - before.errors_5xx == 3
    assert after.other["upstream_rq_timeout"] - before.other.get("upstream_rq_timeout", 0) == 1
    assert after.active == 0


def test_latency_is_counted_in_buckets_of_milliseconds(stage: Stage) -> None:
    before = dict(stage.admin.counters("flights.")[V1.id].latency)
    for _ in range(5):
        stage.call(order(sleep=0.06))

    def grown() -> dict[float, int]:
        after = dict(stage.admin.counters("flights.")[V1.id].latency)
        return {bound: count - before.get(bound, 0) for bound, count in after.items()}

    wait_until(lambda: grown()[float("inf")] == 5)
    assert (grown()[50.0], grown()[200.0]) == (0, 5)
    assert list(grown()) == sorted(grown())


def test_counters_of_an_endpoint_leave_out_others(stage: Stage) -> None:
    assert set(stage.admin.counters("flights.")) == {V1.id, V2.id}
    assert set(stage.admin.counters("flight.")) == set()
    assert set(stage.admin.counters("down.")) == {DOWN.id}


def test_health_is_what_the_gateway_sees(stage: Stage) -> None:
    assert stage.admin.healthy(V1.id) == 1
    assert stage.admin.healthy(DOWN.id) == 0
    assert stage.admin.healthy("ghost.v1.0") == 0


def test_a_new_fleet_is_seen_at_once(stage: Stage) -> None:
    late = fleet("v9", "late")
    model = Upstream()
    folder = stage.envoy.folder
    folder.write_instances(late.id, [model.port])
    folder.write_clusters([V1, V2, DOWN, late])
    wait_until(lambda: stage.admin.hosts(late.id) != {})
    model.start()
    wait_until(lambda: stage.admin.healthy(late.id) == 1, seconds=5)  # Envoy's own pace would be a minute
    folder.write_clusters([V1, V2, DOWN])
    wait_until(lambda: stage.admin.hosts(late.id) == {})
    model.stop()


def test_a_dead_instance_costs_nothing_while_another_lives(stage: Stage) -> None:
    pair = fleet("v1", "pair")
    models = [Upstream().start(), Upstream().start()]
    folder = stage.envoy.folder
    folder.write_instances(pair.id, [model.port for model in models])
    folder.write_clusters([V1, V2, DOWN, pair])
    wait_until(lambda: stage.admin.healthy(pair.id) == 2)
    stage.split(Share(pair.id, "v1", 100), name="pair")
    for _ in range(20):
        assert stage.call(name="pair").status_code == 200
    models[0].stop()
    statuses = Counter(stage.call(name="pair").status_code for _ in range(300))
    assert statuses == {200: 300}
    models[1].stop()


def test_an_unreachable_admin_interface_is_a_temporary_error() -> None:
    with EnvoyAdmin(f"http://127.0.0.1:{free_port()}") as admin:
        for call in (admin.counters, lambda: admin.healthy("x"), admin.applied_routes):
            with pytest.raises(GatewayUnreachable, match="does not answer"):
                call()


# ---- too many at once -------------------------------------------------------------------------------------


def test_too_many_at_once_are_throttled_and_no_failures_of_the_model(tmp_path: Path) -> None:
    busy = fleet("v1", "busy")
    folder = ConfigFolder(tmp_path, max_requests=2)
    model = Upstream().start()
    folder.write_instances(busy.id, [model.port])
    folder.write_clusters([busy])
    folder.write_routes({"busy": (Share(busy.id, "v1", 100),)})
    with running_envoy(folder) as envoy, envoy.admin() as admin, ThreadPoolExecutor(4) as pool:
        wait_until(lambda: admin.healthy(busy.id) == 1)
        client = runtime(envoy.url)
        model.hang = True
        held = [pool.submit(client.invoke_endpoint, EndpointName="busy", Body=order()) for _ in range(4)]
        wait_until(lambda: admin.counters("busy.")[busy.id].other["upstream_rq_pending_total"] == 4)
        wait_until(lambda: len(model.seen) == 2)
        with pytest.raises(ClientError) as caught:
            client.invoke_endpoint(EndpointName="busy", Body=order())
        model.hang = False
        assert [done.result()["Body"].read() for done in held] == [b"ok"] * 4
        wait_until(lambda: admin.counters("busy.")[busy.id].requests == 4 + 1 + RETRIES)
        sample = increase({}, {"envoy": admin.counters("busy.")[busy.id]}, NOW)
    model.stop()
    error = caught.value.response
    assert error["Error"] == {
        "Code": "ThrottlingException",
        "Message": "Too many requests wait for this variant; try again.",
    }
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert error["ResponseMetadata"]["RetryAttempts"] == RETRIES
    assert error["ResponseMetadata"]["HTTPHeaders"]["x-amzn-invoked-production-variant"] == "v1"
    assert uuid.UUID(error["ResponseMetadata"]["RequestId"])
    assert len(model.seen) == 4
    assert (sample.requests, sample.errors_4xx, sample.errors_5xx) == (4, 0, 0)
    assert sample.other["refused"] == 1 + RETRIES


# ---- shadows ----------------------------------------------------------------------------------------------


def _latencies(stage: Stage, count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        answer = stage.call()
        taken.append(time.perf_counter() - began)
        assert answer.status_code == 200
        assert answer.headers["x-amzn-invoked-production-variant"] == "v1"
    return taken


def test_a_shadow_gets_its_share_and_no_targeted_request(stage: Stage) -> None:
    stage.split(Share(V1.id, "v1", 100), Share(V2.id, "v2", 0, mirror=50))
    _latencies(stage, 400)
    wait_until(lambda: len(stage.second.seen) > 140)
    assert len(stage.second.seen) < 260
    assert stage.second.seen[0][1] == order()
    count = len(stage.second.seen)
    for _ in range(20):
        stage.call(x_amzn_sagemaker_target_variant="v1")
    _latencies(stage, 1)
    assert len(stage.second.seen) <= count + 1


def test_a_hanging_or_failing_shadow_harms_nobody(stage: Stage) -> None:
    plain = statistics.median(_latencies(stage, 200))
    stage.split(Share(V1.id, "v1", 100), Share(V2.id, "v2", 0, mirror=100))
    stage.second.hang = True
    hanging = _latencies(stage, 200)
    stage.second.hang = False
    wait_until(lambda: stage.admin.counters("flights.")[V2.id].active == 0)
    stage.split(Share(V1.id, "v1", 100), Share(DOWN.id, "v2", 0, mirror=100))
    failing = _latencies(stage, 200)
    for taken in (hanging, failing):
        assert statistics.median(taken) < plain + TIMEOUT / 20
        assert statistics.quantiles(taken, n=20)[-1] < TIMEOUT / 2  # a busy machine may stall once


# ---- load -------------------------------------------------------------------------------------------------


def test_concurrent_clients_are_served(stage: Stage) -> None:
    stage.split(Share(V1.id, "v1", 50), Share(V2.id, "v2", 50))
    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(pool.map(lambda _: stage.call().status_code, range(800)))
    assert statuses == {200: 800}
