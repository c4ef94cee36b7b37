"""Fleets of real containers: privileges, limits, ends of every kind, logs, and images that users bring."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import httpx
import pytest

from deploy.containers import Limits, home_id
from deploy.errors import PlanRefused
from deploy.port import Fleet, Share
from tests.docker_engine import DockerPlace, built
from tests.fakes.data_plane import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.docker]

_NUMBERS = count(1)


@pytest.fixture
def endpoint() -> str:
    return f"boxes-{next(_NUMBERS)}"


def settle(place: DockerPlace, *fleets: Fleet, seconds: float = 60) -> None:
    def complete() -> bool:
        for fleet in fleets:
            place.target.start(fleet)
        return all(place.target.ready(fleet).complete for fleet in fleets)

    wait_until(complete, seconds=seconds, step=0.1)


def end(place: DockerPlace, endpoint: str, *fleets: Fleet) -> None:
    place.target.route(endpoint, ())
    for fleet in fleets:
        wait_until(stopped(place, fleet), seconds=60, step=0.1)


def stopped(place: DockerPlace, fleet: Fleet) -> Callable[[], bool]:
    def gone() -> bool:
        place.target.stop(fleet)
        return place.target.ready(fleet).wanted == 0

    return gone


def whole(fleet: Fleet) -> tuple[Share, ...]:
    return (Share(fleet.id, fleet.variant, 100),)


@contextmanager
def load(place: DockerPlace, endpoint: str, clients: int = 2) -> Iterator[list[str]]:
    """Clients that call without a pause; yields the growing list of statuses."""
    over, statuses = threading.Event(), list[str]()

    def call() -> None:
        with httpx.Client(base_url=place.envoys[0].url, timeout=30) as http:
            while not over.is_set():
                try:
                    answer = http.post(f"/endpoints/{endpoint}/invocations", json={"instances": [{"x": 3.0}]})
                    statuses.append(str(answer.status_code))
                except httpx.HTTPError as error:
                    statuses.append(type(error).__name__)

    threads = [threading.Thread(target=call) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


def failures(statuses: list[str]) -> list[str]:
    return [status for status in statuses if status != "200"]


def test_an_instance_has_no_privileges_and_every_limit(
    docker_place: DockerPlace, docker_client: Any, endpoint: str
) -> None:
    fleet = replace(docker_place.fleet(endpoint, "v1"), memory=256 << 20, cpus=0.5)
    settle(docker_place, fleet)
    (look,) = docker_place.looks(fleet)
    inspected = docker_client.api.inspect_container(look.name)
    host = inspected["HostConfig"]
    assert inspected["Config"]["User"] == "10001:10001"
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (256 << 20, 256 << 20, 500_000_000)
    assert host["PidsLimit"] == 256
    assert host["RestartPolicy"]["Name"] in {"", "no"}
    assert {binding["HostIp"] for binding in host["PortBindings"]["8080/tcp"]} == {"127.0.0.1"}
    status = run(
        docker_client,
        look.name,
        "import os\n"
        "print(open('/proc/1/status').read())\n"
        "for place in ('/etc/x', '/opt/ml/model/x', '/opt/seaway/x'):\n"
        "    try: open(place, 'w'); print('written', place)\n"
        "    except OSError as error: print(error.strerror)\n"
        "open('/tmp/x', 'w').write('fine')\n",
    )
    lines = {line.partition(":")[0]: line.partition(":")[2].split() for line in status.splitlines()}
    assert lines["CapEff"] == lines["CapPrm"] == lines["CapBnd"] == ["0000000000000000"]
    assert (lines["NoNewPrivs"], lines["Seccomp"], lines["Uid"]) == (["1"], ["2"], ["10001"] * 4)
    assert status.count("Read-only file system") == 3
    end(docker_place, endpoint, fleet)


def run(client: Any, container: str, program: str) -> str:
    """What a program prints that runs inside a container."""
    asked = client.api.exec_create(container, ["python3", "-c", program])
    return str(client.api.exec_start(asked["Id"]).decode())


def test_a_killed_container_costs_a_moment_of_its_share_and_comes_back(
    docker_place: DockerPlace, endpoint: str
) -> None:
    fleet = docker_place.fleet(endpoint, "v1", 2)
    settle(docker_place, fleet)
    docker_place.target.route(endpoint, whole(fleet))
    with load(docker_place, endpoint) as statuses:
        wait_until(lambda: len(statuses) > 50)
        docker_place.engine.signal(docker_place.looks(fleet)[0].name, "SIGKILL")
        wait_until(lambda: docker_place.target.ready(fleet).crashes == 1)
        settle(docker_place, fleet)
    # What had been sent to it: what it was answering, and what its kernel took for it until it was gone.
    assert len(failures(statuses)) <= 4, failures(statuses)
    assert set(statuses) <= {"200", "424"}
    readiness = docker_place.target.ready(fleet)
    assert (readiness.ready, readiness.crashes, readiness.message) == (2, 1, "")
    # Both runs are in one log.
    wait_until(
        lambda: docker_place.target.ready(fleet) and docker_place.log(fleet).count("serving model") == 2
    )
    end(docker_place, endpoint, fleet)


def test_whole_fleets_come_and_go_under_load_without_a_failure(
    docker_place: DockerPlace, endpoint: str
) -> None:
    old, new = docker_place.fleet(endpoint, "v1", 2), docker_place.fleet(endpoint, "v2", 1)
    settle(docker_place, old)
    docker_place.target.route(endpoint, whole(old))
    with load(docker_place, endpoint) as statuses:
        settle(docker_place, replace(old, instance_count=1))
        settle(docker_place, new)
        for weight in (10, 50, 100):
            split = (Share(old.id, "v1", 100 - weight), Share(new.id, "v2", weight))
            docker_place.target.route(endpoint, split)
        docker_place.target.route(endpoint, whole(new))
        wait_until(stopped(docker_place, old), seconds=60, step=0.1)
        assert not docker_place.looks(old)
    assert failures(statuses) == []
    assert len(statuses) > 100
    assert "all requests are answered" in docker_place.log(old), "its last words are kept"
    end(docker_place, endpoint, new)


def test_a_model_that_does_not_load_says_why_and_is_tried_again(
    docker_place: DockerPlace, endpoint: str
) -> None:
    fleet = docker_place.fleet(endpoint, "broken")
    docker_place.target.start(fleet)
    wait_until(lambda: docker_place.target.ready(fleet).crashes >= 2, seconds=60, step=0.1)
    message = docker_place.target.ready(fleet).message
    assert "exit code 1" in message
    assert "cannot serve" in message
    end(docker_place, endpoint, fleet)


def test_want_of_memory_is_told_as_such(docker_place: DockerPlace, endpoint: str) -> None:
    fleet = replace(docker_place.fleet(endpoint, "v1"), memory=24 << 20)
    docker_place.target.start(fleet)
    wait_until(lambda: docker_place.target.ready(fleet).crashes >= 1, seconds=60, step=0.1)
    assert "needs more than its 24 MiB of memory" in docker_place.target.ready(fleet).message
    end(docker_place, endpoint, fleet)


def test_an_image_without_the_command_says_so(
    docker_place: DockerPlace, docker_client: Any, endpoint: str
) -> None:
    empty = built(docker_client, "nothing", "FROM scratch\nLABEL seaway.test=1\nCMD ['x']\n")
    fleet = replace(docker_place.fleet(endpoint, "v1"), image=empty)
    docker_place.target.start(fleet)
    wait_until(lambda: docker_place.target.ready(fleet).crashes >= 2, seconds=60, step=0.1)
    assert "no program `serve`" in docker_place.target.ready(fleet).message
    end(docker_place, endpoint, fleet)


def test_an_unknown_profile_is_refused(docker_place: DockerPlace, endpoint: str) -> None:
    with pytest.raises(PlanRefused, match="root-compat"):
        docker_place.target.start(replace(docker_place.fleet(endpoint, "v1"), profile="privileged"))


def test_one_that_never_answers_is_given_up_and_says_so(docker_place: DockerPlace, endpoint: str) -> None:
    """A start may take 480 s; this clock goes a thousand times as fast while it waits."""
    silent = replace(docker_place.fleet(endpoint, "v1"), environment=(("SAGEMAKER_BIND_TO_PORT", "9999"),))
    settled = docker_place.again()
    settled.start(silent)
    wait_until(lambda: docker_place.looks(silent)[0].up)
    hasty = docker_place.again(clock=lambda: docker_place.looks(silent)[0].started + 481)
    assert "without answering /ping" in hasty.ready(silent).message or hasty.ready(silent).crashes
    wait_until(lambda: hasty.ready(silent).crashes >= 1)
    assert "did not answer /ping with 200 within 480 s" in settled.ready(silent).message
    end(docker_place, endpoint, silent)


def test_another_environment_replaces_the_container(
    docker_place: DockerPlace, docker_client: Any, endpoint: str
) -> None:
    fleet = docker_place.fleet(endpoint, "v1")
    settle(docker_place, fleet)
    changed = replace(fleet, environment=(("COLOUR", "blue"),))

    def replaced() -> bool:
        docker_place.target.start(changed)
        docker_place.target.ready(changed)
        found = [docker_client.api.inspect_container(look.name) for look in docker_place.looks(fleet)]
        return any("COLOUR=blue" in one["Config"]["Env"] for one in found)

    wait_until(replaced, step=0.1)
    settle(docker_place, changed)
    end(docker_place, endpoint, changed)


def test_captures_are_written_outside(docker_place: DockerPlace, endpoint: str) -> None:
    captures = docker_place.home / "captures"
    wish = f'{{"destination": "{captures}", "sampling": 100}}'
    environment = (("SEAWAY_CAPTURE", wish), ("SEAWAY_ENDPOINT", endpoint), ("SEAWAY_VARIANT", "v1"))
    fleet = replace(docker_place.fleet(endpoint, "v1"), environment=environment)
    settle(docker_place, fleet)
    docker_place.target.route(endpoint, whole(fleet))
    assert docker_place.send(endpoint, 5) == 0
    end(docker_place, endpoint, fleet)
    lines = [line for file in captures.rglob("*.jsonl") for line in file.read_text().splitlines()]
    assert len(lines) == 5


def test_going_down_ends_everything_and_coming_up_brings_it_back(
    docker_place: DockerPlace, endpoint: str
) -> None:
    fleet = docker_place.fleet(endpoint, "v1")
    settle(docker_place, fleet)
    docker_place.target.route(endpoint, whole(fleet))
    docker_place.engine.halt(20)
    assert docker_place.engine.looks() == {}
    settle(docker_place, fleet)
    wait_until(lambda: docker_place.ask(endpoint).status_code == 200)
    assert docker_place.target.ready(fleet).crashes == 0
    assert list(docker_place.engine.looks()) == [f"seaway-{home_id(docker_place.home)}-{fleet.id}.1"]
    end(docker_place, endpoint, fleet)


def test_starts_take_longer_with_less_of_a_processor() -> None:
    assert Limits(cpus=0.25).startup_seconds == 4 * Limits(cpus=2).startup_seconds == 4 * 480


def test_what_is_stopped_stays_stopped_however_long_it_ran(docker_place: DockerPlace, endpoint: str) -> None:
    """An instance that ran for a minute is started again at once when it ends, but not when it is to end."""
    fleet = docker_place.fleet(endpoint, "v1", 2)
    settle(docker_place, fleet)
    later = docker_place.again(clock=lambda: time.time() + 120)

    def gone() -> bool:
        later.stop(fleet)
        readiness = later.ready(fleet)
        assert readiness.crashes == 0
        return readiness.wanted == 0

    wait_until(gone, step=0.01)
    assert not docker_place.looks(fleet)
