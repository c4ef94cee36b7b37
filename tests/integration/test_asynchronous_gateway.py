"""Asynchronous calls through a real Envoy: the service's own way in, and what everybody else may not do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from deploy.answers import ASYNC_MARK
from deploy.counting import UNMET
from deploy.envoy import ConfigFolder, EnvoyAdmin
from deploy.layout import ACTIVATOR
from deploy.listener import MAX_BODY_BYTES
from deploy.port import Share
from tests.fakes.data_plane import Envoy, Upstream, answers, order, wait_until
from tests.fakes.stage import DOWN, V1, fleet, runtime
from tests.integration.test_asynchronous import Service
from tests.processes import until

pytestmark = pytest.mark.integration
MIB = 1024 * 1024
LATE, SYNC, IDLE, FULL = "late", "flights", "down", "full"
LONG = fleet("v1", LATE)


@dataclass
class World:
    envoy: Envoy
    admin: EnvoyAdmin
    service: Service
    upstream: Upstream

    def routes(self, **splits: tuple[Share, ...]) -> None:
        every = {LATE: True, IDLE: True}
        version = self.envoy.folder.write_routes(self.envoy.folder.endpoints() | splits, {}, every)
        wait_until(lambda: self.admin.applied_routes() == version)

    def instances(self, *ports: int) -> None:
        self.envoy.folder.write_instances(DOWN.id, ports)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = ConfigFolder(tmp_path_factory.mktemp("gateway"), model_timeout=5)
    upstream, place = Upstream().start(), tmp_path_factory.mktemp("async")
    for one in (V1, LONG):
        folder.write_instances(one.id, [upstream.port])
    folder.write_instances(DOWN.id, [])
    folder.write_clusters([V1, LONG, DOWN])
    envoy = Envoy(folder)
    service = Service(place, f"http://127.0.0.1:{envoy.internal_port}")
    envoy.asynchronous = service.port
    envoy.start()
    with contextlib.ExitStack() as stack:
        stack.callback(envoy.kill)
        stack.callback(upstream.stop)
        admin = stack.enter_context(envoy.admin())
        wait_until(lambda: answers(admin) and admin.healthy(LONG.id) == admin.healthy(V1.id) == 1)
        for name in (LATE, IDLE, FULL, "nowhere"):
            service.configure(name)
        service.start()
        stack.callback(service.kill)
        world = World(envoy, admin, service, upstream)
        world.routes(
            **{SYNC: (Share(V1.id, "v1", 100),), LATE: (Share(LONG.id, "v1", 100),)},
            **{IDLE: (Share(DOWN.id, "v1", 100),)},
        )
        yield world


@pytest.fixture
def client(world: World) -> Iterator[Any]:
    world.upstream.seen.clear()
    client = runtime(world.envoy.url)
    yield client
    client.close()


def answered(world: World, said: dict[str, Any], *, where: str = "OutputLocation") -> bytes:
    file: Path = world.service.file(said[where])
    until(file.exists)
    return file.read_bytes()


def refusal(call: Any, **arguments: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    found: dict[str, Any] = caught.value.response
    return {**found["Error"], "Status": found["ResponseMetadata"]["HTTPStatusCode"]}


@pytest.mark.parametrize("endpoint", [SYNC, LATE])
@pytest.mark.parametrize("headers", [{}, {ASYNC_MARK: "1"}, {ASYNC_MARK.upper(): "1"}])
def test_nobody_else_gets_in_by_the_services_way(
    world: World, client: Any, endpoint: str, headers: dict[str, str]
) -> None:
    long = bytes(MAX_BODY_BYTES + MIB)
    path = f"{world.envoy.url}/async/endpoints/{endpoint}/invocations"
    for body in (b"x", long):
        assert httpx.post(path, content=body, headers=headers, timeout=30).status_code in {404, 413}
    direct = f"{world.envoy.url}/endpoints/{SYNC}/invocations"
    assert httpx.post(direct, content=long, headers=headers, timeout=30).status_code == 413
    assert world.upstream.seen == []


def test_the_service_sends_what_no_client_may(world: World, client: Any) -> None:
    long = bytes(MAX_BODY_BYTES + MIB)
    (world.service.objects / "long").write_bytes(long)
    said = client.invoke_endpoint_async(EndpointName=LATE, InputLocation="s3://local/long")
    assert answered(world, said) == b"ok"
    head, body = world.upstream.seen[0]
    assert len(body) == len(long)
    assert "amz-sdk" not in head.lower()


def test_calls_that_wait_are_refused_by_an_asynchronous_endpoint(world: World, client: Any) -> None:
    for call in (client.invoke_endpoint, client.invoke_endpoint_with_response_stream):
        error = refusal(call, EndpointName=LATE, Body=b"x")
        assert (error["Code"], error["Status"]) == ("ValidationError", 400)
        assert "takes asynchronous calls only; use InvokeEndpointAsync" in error["Message"]
    targeted = refusal(client.invoke_endpoint, EndpointName=LATE, Body=b"x", TargetVariant="v1")
    assert targeted["Code"] == "ValidationError"
    infer = httpx.post(f"{world.envoy.url}/v2/models/{LATE}/infer", json={})
    assert (infer.status_code, list(infer.json())) == (400, ["error"])
    assert world.upstream.seen == []
    assert answered(world, client.invoke_endpoint_async(EndpointName=LATE, Body=order(body=b"7"))) == b"7"


def test_the_other_endpoints_refuse_asynchronous_calls(world: World, client: Any) -> None:
    error = refusal(client.invoke_endpoint_async, EndpointName=SYNC, Body=b"x")
    assert (error["Code"], error["Status"]) == ("ValidationError", 400)
    assert "has no asynchronous configuration" in error["Message"]
    assert client.invoke_endpoint(EndpointName=SYNC, Body=order(body=b"7"))["Body"].read() == b"7"


def test_requests_wait_while_there_is_no_instance(world: World, client: Any) -> None:
    said = client.invoke_endpoint_async(EndpointName=IDLE, Body=order(body=b"late"))
    until(lambda: world.service.backlog(IDLE)["HasBacklogWithoutCapacity"] == 1)
    assert world.service.backlog(IDLE)["ApproximateBacklogSize"] == 1
    assert not world.service.file(said["FailureLocation"]).exists()
    seen = world.admin.counters(DOWN.id)[DOWN.id]
    assert seen.requests == seen.errors_5xx == seen.other[UNMET] > 0, "each is counted as unmet, once"
    world.instances(world.upstream.port)
    assert answered(world, said) == b"late"
    until(lambda: world.service.backlog(IDLE)["HasBacklogWithoutCapacity"] == 0)


def test_requests_wait_while_their_endpoint_is_away(world: World, client: Any) -> None:
    said = client.invoke_endpoint_async(EndpointName="nowhere", Body=order(body=b"back"))
    until(lambda: world.service.backlog("nowhere")["HasBacklogWithoutCapacity"] == 1)
    world.routes(nowhere=(Share(LONG.id, "v1", 100),))
    assert answered(world, said) == b"back"


def test_a_broken_instance_is_asked_three_times(world: World, client: Any) -> None:
    said = client.invoke_endpoint_async(EndpointName=LATE, Body=order(reset=True))
    assert b"broke off" in answered(world, said, where="FailureLocation")
    assert len(world.upstream.seen) == 3


def test_a_failing_model_is_asked_once(world: World, client: Any) -> None:
    said = client.invoke_endpoint_async(EndpointName=LATE, Body=order(status=503, body=b"overslept"))
    assert answered(world, said, where="FailureLocation") == b"overslept"
    assert len(world.upstream.seen) == 1


@pytest.mark.parametrize("kind", ["ServiceUnavailable", "ThrottlingException", "InternalFailure"])
def test_a_container_that_calls_its_failure_ours_has_failed_and_is_asked_once(
    world: World, client: Any, kind: str
) -> None:
    lie = order(status=503, body=b"mine", headers={"x-amzn-ErrorType": kind, "x-seaway-throttled": "1"})
    said = client.invoke_endpoint_async(EndpointName=LATE, Body=lie)
    assert answered(world, said, where="FailureLocation") == b"mine"
    assert len(world.upstream.seen) == 1


def test_an_activator_that_has_no_place_makes_the_request_wait(world: World, client: Any) -> None:
    folder = world.envoy.folder
    splits = folder.endpoints() | {FULL: (Share(LONG.id, "v1", 100),)}
    version = folder.write_routes(splits, fronts={FULL: {LONG.id: ACTIVATOR}})
    wait_until(lambda: world.admin.applied_routes() == version)
    full = order(status=429, headers={"x-amzn-ErrorType": "ThrottlingException", "x-seaway-throttled": "1"})
    said = client.invoke_endpoint_async(EndpointName=FULL, Body=full)
    until(lambda: len(world.upstream.seen) > 2)
    assert not world.service.file(said["FailureLocation"]).exists()


def test_a_call_that_its_client_repeats_is_one_request(world: World, client: Any) -> None:
    path = f"{world.envoy.url}/endpoints/{LATE}/async-invocations"
    headers = {"amz-sdk-invocation-id": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}
    said = [httpx.post(path, content=order(), headers=headers).json()["InferenceId"] for _ in range(2)]
    assert said[0] == said[1]


def test_without_the_service_clients_are_told_to_try_again(world: World, client: Any) -> None:
    world.service.kill()
    try:
        error = refusal(client.invoke_endpoint_async, EndpointName=LATE, Body=b"x")
        assert (error["Code"], error["Status"]) == ("ServiceUnavailable", 503)
        assert "try again" in error["Message"]
    finally:
        world.service.start()
