"""Images that the engine does not have: pulled with progress, with the user's login, or refused in clear words."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from deploy.containers import home_id
from deploy.engine import Engine, ImageMissing, RegistryUnreachable
from deploy.port import Readiness, Share
from tests.docker_engine import DockerPlace, built
from tests.fakes.data_plane import wait_until
from tests.fakes.registry import Registry, registry

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.timeout(240)]

_NUMBERS = count(1)


@pytest.fixture
def tag(docker_client: Any, stock_image: str) -> str:
    """An image that nobody has needed yet."""
    return built(docker_client, f"pulled-{next(_NUMBERS)}", f"FROM {stock_image}\nENV OWN=1\n")


@pytest.fixture
def anywhere(docker_client: Any, tag: str) -> Iterator[Registry]:
    with registry(docker_client, tag) as server:
        yield server


def test_a_fleet_waits_for_its_image_and_tells_how_far_it_is(
    docker_place: DockerPlace, docker_client: Any, anywhere: Registry
) -> None:
    fleet = replace(docker_place.fleet("pulled", "v1"), image=f"{anywhere.address}/own/model:1")
    seen: list[Readiness] = []

    def complete() -> bool:
        docker_place.target.start(fleet)
        seen.append(docker_place.target.ready(fleet))
        return seen[-1].complete

    wait_until(complete, seconds=120, step=0.02)
    assert seen[0].wanted == 1
    assert f"pulling {fleet.image}" in seen[0].message
    assert {readiness.crashes for readiness in seen} == {0}
    docker_place.target.route("pulled", (Share(fleet.id, "v1", 100),))
    assert docker_place.send("pulled", 3) == 0
    docker_place.target.route("pulled", ())

    def gone() -> bool:
        docker_place.target.stop(fleet)
        return docker_place.target.ready(fleet).wanted == 0

    wait_until(gone, step=0.1)
    docker_client.images.remove(fleet.image, force=True)


def test_an_image_that_no_registry_has_is_refused(docker_place: DockerPlace, anywhere: Registry) -> None:
    fleet = replace(docker_place.fleet("nowhere", "v1"), image=f"{anywhere.address}/own/nothing:1")

    def refused() -> bool:
        try:
            docker_place.target.start(fleet)
        except ImageMissing as error:
            return "no registry gives the image" in str(error)
        return False

    wait_until(refused, step=0.05)
    docker_place.target.stop(fleet)
    wait_until(lambda: docker_place.target.stop(fleet) or not docker_place.target.ready(fleet).wanted)


def test_a_registry_that_does_not_answer_is_named_and_asked_again(docker_place: DockerPlace) -> None:
    fleet = replace(docker_place.fleet("silent", "v1"), image="127.0.0.1:1/own/model:1")

    def told() -> bool:
        docker_place.target.start(fleet)
        return "cannot be reached" in docker_place.target.ready(fleet).message

    wait_until(told, step=0.05)
    wait_until(lambda: docker_place.target.stop(fleet) or not docker_place.target.ready(fleet).wanted)
    news: list[str] = []
    with pytest.raises(RegistryUnreachable, match="it is tried again"):
        docker_place.engine.pull(fleet.image, news.append)
    assert news == [f"pulling {fleet.image}"]


def test_the_users_own_login_opens_the_registry(
    docker_client: Any, tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry(docker_client, tag, login="ann:secret") as server:
        image = f"{server.address}/own/model:1"
        with (
            closing(Engine(home_id(tmp_path))) as stranger,
            pytest.raises(ImageMissing, match="docker login"),
        ):
            stranger.pull(image, lambda _: None)
        auths = {server.address: {"auth": base64.b64encode(b"ann:secret").decode()}}
        (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        news: list[str] = []
        with closing(Engine(home_id(tmp_path))) as ann:
            ann.pull(image, news.append)
            assert ann.labels(image) is not None
            assert ann.labels("seaway-test/nowhere:1") is None
        assert any("layers" in one and "MB" in one for one in news)
        docker_client.images.remove(image, force=True)
