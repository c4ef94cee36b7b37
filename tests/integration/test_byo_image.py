"""Images that users bring: nginx, gunicorn and Flask under the /opt/ml contract, served as they are."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.port import Fleet, Share
from tests.docker_engine import DockerPlace
from tests.fakes.data_plane import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
BASE = "seaway-test/base:byo"
PACKAGES = ("python3", "nginx-light", "python3-flask", "gunicorn")


@pytest.fixture(scope="module")
def byo_image(docker_client: Any) -> str:
    """Built from its Dockerfile on a base image of this machine's own distribution."""
    if not docker_client.images.list(name=BASE):
        if os.environ.get("SEAWAY_REQUIRE_DOCKER") != "1":
            pytest.skip(f"make the base image first: .ci/base-image {BASE} {' '.join(PACKAGES)}")
        subprocess.run([ROOT / ".ci" / "base-image", BASE, *PACKAGES], check=True)
    docker_client.images.build(path=str(ROOT / "tests" / "byo"), tag="seaway-test/byo:1", rm=True)
    return "seaway-test/byo:1"


def csv(place: DockerPlace, endpoint: str, body: str, kind: str = "text/csv") -> httpx.Response:
    path = f"/endpoints/{endpoint}/invocations"
    return place.http.post(path, content=body, headers={"content-type": kind})


def serve(place: DockerPlace, fleet: Fleet) -> None:
    def complete() -> bool:
        place.target.start(fleet)
        return place.target.ready(fleet).complete

    wait_until(complete, seconds=120, step=0.1)
    place.target.route(fleet.endpoint, (Share(fleet.id, fleet.variant, 100),))


def end(place: DockerPlace, fleet: Fleet) -> None:
    place.target.route(fleet.endpoint, ())

    def gone() -> bool:
        place.target.stop(fleet)
        return place.target.ready(fleet).wanted == 0

    wait_until(gone, seconds=60, step=0.1)


@pytest.mark.parametrize("profile", ["least", "root-compat"])
def test_an_opaque_image_serves_as_it_is(
    docker_place: DockerPlace, docker_client: Any, byo_image: str, profile: str
) -> None:
    fleet = replace(docker_place.fleet(f"own-{profile}", "v1", 2), image=byo_image, profile=profile)
    serve(docker_place, fleet)
    answer = csv(docker_place, fleet.endpoint, "1\n2.5\n")
    assert (answer.status_code, answer.text) == (200, "2.0\n5.0\n")
    assert csv(docker_place, fleet.endpoint, "{}", "application/json").status_code == 424
    (first, _) = docker_place.looks(fleet)
    inspected = docker_client.api.inspect_container(first.name)["HostConfig"]
    assert inspected["ReadonlyRootfs"]
    assert inspected["CapDrop"] == ["ALL"]
    assert len(inspected["CapAdd"] or ()) == (4 if profile == "root-compat" else 0)
    wait_until(lambda: "POST /invocations" in docker_place.log(fleet, 1) + docker_place.log(fleet, 2))
    end(docker_place, fleet)


def test_an_image_that_insists_on_root_says_so_and_gets_it_by_its_profile(
    docker_place: DockerPlace, byo_image: str
) -> None:
    asked = {"image": byo_image, "environment": (("MUST_BE_ROOT", "1"),)}
    fleet = replace(docker_place.fleet("root", "v1"), **asked)
    docker_place.target.start(fleet)
    wait_until(lambda: docker_place.target.ready(fleet).crashes >= 1, seconds=60, step=0.1)
    wait_until(lambda: "this image runs as root only" in docker_place.target.ready(fleet).message)
    end(docker_place, fleet)
    rooted = replace(fleet, profile="root-compat")
    serve(docker_place, rooted)
    assert csv(docker_place, "root", "4\n").text == "8.0\n"
    end(docker_place, rooted)
