"""Capture in front of images of which nothing is known: sidecars, their order, their ends, and where files go."""

from __future__ import annotations

import base64
import json
import sysconfig
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import httpx
import pytest

from deploy.containers import SIDECAR
from deploy.port import Fleet, Share
from deploy.targets.docker import DockerTarget
from serving.capture import read_captures
from tests.docker_engine import DockerPlace, built
from tests.fakes.data_plane import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.timeout(300)]

ALWAYS = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
_NUMBERS = count(1)
OPAQUE = """#!/usr/local/bin/python3
import http.server, signal, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def answer(self, body):
        self.send_response(200)
        self.send_header("content-type", "text/csv")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): self.answer(b"")
    def do_POST(self):
        self.answer(b"seen " + self.rfile.read(int(self.headers["content-length"])))

print("somebody's own server", flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def opaque(docker_client: Any, stock_image: str) -> str:
    """An image of its own kind: it keeps the contract, and knows nothing of capture."""
    recipe = f"FROM {stock_image}\nLABEL seaway.runtime=\nCOPY serve /usr/local/bin/serve\n"
    return built(docker_client, "opaque", recipe, serve=OPAQUE)


@pytest.fixture
def fleet(docker_place: DockerPlace, opaque: str) -> Fleet:
    endpoint = f"opaque-{next(_NUMBERS)}"
    return replace(capturing(docker_place.fleet(endpoint, "v1"), docker_place), image=opaque)


def capturing(fleet: Fleet, place: DockerPlace, **settings: Any) -> Fleet:
    wish = {"destination": str(place.home / "captures"), "sampling": 100, **settings}
    told = (("SEAWAY_CAPTURE", json.dumps(wish)), ("SEAWAY_ENDPOINT", fleet.endpoint))
    return replace(fleet, environment=(*told, ("SEAWAY_VARIANT", fleet.variant)))


def captured(place: DockerPlace, fleet: Fleet, **more: Any) -> list[dict[str, Any]]:
    return list(read_captures(place.home / "captures" / fleet.endpoint, *ALWAYS, **more))


def settle(target: DockerTarget, fleet: Fleet, seconds: float = 60) -> None:
    def complete() -> bool:
        target.start(fleet)
        return target.ready(fleet).complete

    wait_until(complete, seconds=seconds, step=0.1)


def serve(place: DockerPlace, fleet: Fleet) -> None:
    settle(place.target, fleet)
    place.target.route(fleet.endpoint, (Share(fleet.id, fleet.variant, 100),))


def stopped(place: DockerPlace, fleet: Fleet) -> Callable[[], bool]:
    def gone() -> bool:
        place.target.stop(fleet)
        return place.target.ready(fleet).wanted == 0

    return gone


def end(place: DockerPlace, fleet: Fleet) -> None:
    place.target.route(fleet.endpoint, ())
    wait_until(stopped(place, fleet), seconds=60, step=0.1)
    assert not place.looks(fleet), "nothing is left"


def ask(place: DockerPlace, fleet: Fleet, body: str) -> httpx.Response:
    path, kind = f"/endpoints/{fleet.endpoint}/invocations", {"content-type": "text/csv"}
    return place.http.post(path, content=body, headers=kind)


def answers(place: DockerPlace, fleet: Fleet) -> bool:
    """Whether it answers; looks after it as the controller would."""
    place.target.start(fleet)
    return place.target.ready(fleet).complete and ask(place, fleet, "1\n").text == "seen 1\n"


def names(place: DockerPlace, fleet: Fleet) -> list[str]:
    return [look.name for look in place.looks(fleet)]


def test_an_opaque_image_is_captured_in_sagemakers_layout(
    docker_place: DockerPlace, docker_client: Any, fleet: Fleet
) -> None:
    fleet = replace(fleet, instance_count=2)
    serve(docker_place, fleet)
    given = [ask(docker_place, fleet, f"{number}\n") for number in range(20)]
    assert [answer.text for answer in given] == [f"seen {number}\n" for number in range(20)]
    container, sidecar = names(docker_place, fleet)[:2]
    assert sidecar == container + SIDECAR
    told = docker_client.api.inspect_container(container)
    assert not [one for one in told["Config"]["Env"] if one.startswith("SEAWAY_CAPTURE")]
    assert [mount["Destination"] for mount in told["Mounts"] if mount["RW"] and mount["Type"] == "bind"] == []
    assert not told["NetworkSettings"]["Ports"], "only the sidecar can be reached"
    assert "somebody's own server" in docker_place.log(fleet)
    end(docker_place, fleet)
    found = {one["eventMetadata"]["eventId"]: one for one in captured(docker_place, fleet)}
    assert set(found) == {answer.headers["x-amzn-requestid"] for answer in given}
    data = found[given[3].headers["x-amzn-requestid"]]["captureData"]
    assert data["endpointInput"] == {
        "observedContentType": "text/csv",
        "mode": "INPUT",
        "data": "3\n",
        "encoding": "CSV",
    }
    assert data["endpointOutput"]["data"] == "seen 3\n"
    (year, *_) = (docker_place.home / "captures" / fleet.endpoint / "v1").iterdir()
    assert year.name.isdecimal()


def test_either_end_counts_as_one_crash_and_both_come_back(docker_place: DockerPlace, fleet: Fleet) -> None:
    serve(docker_place, fleet)
    for crashes, ending in enumerate(("", SIDECAR), start=1):
        name = next(one for one in names(docker_place, fleet) if one.endswith(SIDECAR) == bool(ending))
        docker_place.engine.signal(name, "SIGKILL")
        wait_until(lambda crashes=crashes: docker_place.target.ready(fleet).crashes == crashes)
        wait_until(lambda: answers(docker_place, fleet), seconds=60, step=0.1)
        assert docker_place.target.ready(fleet).crashes == crashes
    end(docker_place, fleet)


def test_behind_a_sidecar_a_dead_container_costs_what_it_had_been_sent(
    docker_place: DockerPlace, fleet: Fleet
) -> None:
    two = replace(fleet, instance_count=2)
    serve(docker_place, two)
    over, failed, count_of = threading.Event(), list[str](), list[int]()

    def call() -> None:
        while not over.is_set():
            answer = ask(docker_place, two, "1\n")
            count_of.append(answer.status_code)
            failed.extend([answer.text] if answer.status_code != 200 else [])

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(count_of) > 100)
        docker_place.engine.signal(names(docker_place, two)[0], "SIGKILL")
        wait_until(lambda: docker_place.target.ready(two).crashes == 1)
        settle(docker_place.target, two)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(failed) <= 4, failed
    assert not [text for text in failed if "does not accept connections" in text], "these go elsewhere"
    end(docker_place, two)


def test_under_load_instances_go_without_a_failure_and_without_a_lost_capture(
    docker_place: DockerPlace, fleet: Fleet
) -> None:
    two = replace(fleet, instance_count=2)
    serve(docker_place, two)
    over, events, failed = threading.Event(), list[str](), list[int]()

    def call() -> None:
        while not over.is_set():
            answer = ask(docker_place, fleet, "1\n")
            events.append(answer.headers["x-amzn-requestid"])
            failed.extend([answer.status_code] if answer.status_code != 200 else [])

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(events) > 100)

        def alone() -> bool:
            docker_place.target.start(fleet)
            return docker_place.target.ready(fleet).complete and len(docker_place.looks(fleet)) == 2

        wait_until(alone, seconds=60, step=0.1)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert docker_place.target.ready(fleet).crashes == 0
    end(docker_place, fleet)
    found = [one["eventMetadata"]["eventId"] for one in captured(docker_place, fleet)]
    assert len(found) == len(set(found))
    assert set(found) == set(events)


def test_going_down_ends_sidecars_first(docker_place: DockerPlace, fleet: Fleet) -> None:
    serve(docker_place, fleet)
    assert ask(docker_place, fleet, "1\n").status_code == 200
    docker_place.engine.halt(20)
    assert docker_place.engine.looks() == {}
    assert len(captured(docker_place, fleet)) == 1
    settle(docker_place.target, fleet)
    assert docker_place.target.ready(fleet).crashes == 0
    end(docker_place, fleet)


@pytest.mark.slow
def test_a_key_reaches_only_the_sidecar_and_its_image_is_made_when_it_is_needed(
    docker_place: DockerPlace, docker_client: Any, fleet: Fleet
) -> None:
    key = base64.b64encode(bytes(32)).decode()
    target = docker_place.again(environ={"CAPTURE_KEY": key})
    sealed = replace(capturing(fleet, docker_place, key_variable="CAPTURE_KEY"), image=fleet.image)
    heard = set[str]()

    def complete() -> bool:
        target.start(sealed)
        readiness = target.ready(sealed)
        heard.add(readiness.message)
        return readiness.complete

    wait_until(complete, seconds=200, step=0.1)
    assert any("seaway-serving:onnx-encryption-" in one for one in heard)
    target.route(sealed.endpoint, (Share(sealed.id, sealed.variant, 100),))
    assert ask(docker_place, sealed, "1\n").status_code == 200
    (container,) = [one for one in names(docker_place, sealed) if not one.endswith(SIDECAR)]
    assert key not in json.dumps(docker_client.api.inspect_container(container))
    end(docker_place, sealed)
    (file,) = (docker_place.home / "captures" / sealed.endpoint).rglob("*.jsonl*")
    assert b"seen" not in file.read_bytes()


@pytest.fixture
def bucket(docker_client: Any, stock_image: str) -> Iterator[tuple[Any, str]]:
    """A client for an object store in a container, and the address at which other containers reach it."""
    import boto3
    from botocore.exceptions import BotoCoreError

    libraries = {sysconfig.get_path("purelib"): {"bind": "/libraries", "mode": "ro"}}
    store = docker_client.containers.run(
        stock_image,
        ["python3", "-m", "moto.server", "-H", "0.0.0.0", "-p", "5000"],
        environment={"PYTHONPATH": "/libraries"},
        volumes=libraries,
        ports={"5000/tcp": ("127.0.0.1", None)},
        detach=True,
    )
    try:
        store.reload()
        found = store.attrs["NetworkSettings"]
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{found['Ports']['5000/tcp'][0]['HostPort']}",
            region_name="us-east-1",
            aws_access_key_id="k",
            aws_secret_access_key="s",
        )

        def made() -> bool:
            try:
                client.create_bucket(Bucket="shop")
            except BotoCoreError:
                return False
            return True

        wait_until(made, seconds=90, step=0.2)
        yield client, f"http://{found['Networks']['bridge']['IPAddress']}:5000"
        client.close()
    finally:
        store.remove(force=True, v=True)


@pytest.mark.slow
@pytest.mark.parametrize("ours", [True, False], ids=["own image", "sidecar"])
def test_captures_reach_s3_from_containers(
    docker_place: DockerPlace, fleet: Fleet, bucket: tuple[Any, str], ours: bool
) -> None:
    client, address = bucket
    login = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
    target = docker_place.again(
        environ={**login, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": address}
    )
    away = capturing(fleet, docker_place, destination="s3://shop/captures", rotate_seconds=0.5)
    away = replace(away, image="" if ours else fleet.image)
    settle(target, away, seconds=200)
    target.route(away.endpoint, (Share(away.id, away.variant, 100),))
    path = f"/endpoints/{away.endpoint}/invocations"
    assert docker_place.http.post(path, json={"instances": [{"x": 3.0}]}).status_code == 200
    prefix = f"captures/{away.endpoint}/v1/"

    def kept() -> list[str]:
        found = client.list_objects_v2(Bucket="shop", Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", ())]

    wait_until(kept, step=0.2)
    record = json.loads(client.get_object(Bucket="shop", Key=kept()[0])["Body"].read())
    assert json.loads(record["captureData"]["endpointInput"]["data"]) == {"instances": [{"x": 3.0}]}
    end(docker_place, away)
