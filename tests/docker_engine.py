"""A real Docker engine for tests, and a target on it with two Envoys in front.

Without an engine these tests skip; with SEAWAY_REQUIRE_DOCKER=1 they fail instead.
"""

from __future__ import annotations

import io
import os
import socket
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from deploy.envoy import ConfigFolder
from deploy.gateways import Gateways
from deploy.port import Fleet
from tests.fakes.data_plane import Envoy, running_envoy
from tests.fakes.place import BehindEnvoys
from tests.multiplier import multiplier

if TYPE_CHECKING:
    from deploy.containers import Look
    from deploy.engine import Engine
    from deploy.image import Stock
    from deploy.targets.docker import DockerTarget


@dataclass
class DockerPlace(BehindEnvoys):
    """What a contract test needs, and more for the tests of containers."""

    home: Path
    engine: Engine
    envoys: tuple[Envoy, ...]
    admin: Gateways
    http: httpx.Client
    packages: dict[str, tuple[Path, str]]
    stock: Stock
    """The images of the sources as they are."""

    def __post_init__(self) -> None:
        self.target = self.again()

    def again(self, **options: Any) -> DockerTarget:
        from deploy.targets.docker import DockerTarget

        return DockerTarget(
            self.home, self.engine, self.admin, self.envoys[0].folder, stock=self.stock, **options
        )

    def looks(self, fleet: Fleet) -> list[Look]:
        return [look for _, look in sorted(self.engine.looks(fleet.id).items())]

    def log(self, fleet: Fleet, slot: int = 1) -> str:
        file = self.home / "logs" / "models" / f"{fleet.id}.{slot}.log"
        return file.read_text() if file.exists() else ""


@pytest.fixture(scope="session")
def docker_client() -> Iterator[Any]:
    import docker

    if not _listening(address := os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")):
        required = os.environ.get("SEAWAY_REQUIRE_DOCKER") == "1"
        (pytest.fail if required else pytest.skip)(
            f"no Docker engine answers at {address}; start one with `.ci/docker-engine start FOLDER`"
        )
    with closing(docker.from_env(timeout=120)) as client:
        yield client


def _listening(address: str) -> bool:
    """Docker's client would leave its socket open when nobody does."""
    if not address.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(address.removeprefix("unix://"))
        except OSError:
            return False
        return True


@pytest.fixture(scope="session")
def stock_image(docker_client: Any) -> str:
    """The image for compiled models, of the sources as they are."""
    from deploy.image import Builder

    return Builder(docker_client).stock("onnx").tag


@pytest.fixture(scope="session")
def stock(stock_image: str) -> Stock:
    """Names of images; the one for compiled models is there."""
    from deploy.image import Stock

    found = Stock()
    assert found.sidecar() == stock_image
    return found


@pytest.fixture(scope="module")
def docker_place(stock: Stock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerPlace]:
    from deploy.containers import home_id
    from deploy.engine import Engine

    home = tmp_path_factory.mktemp("home")
    packages = {name: multiplier(home / name, factor) for name, factor in (("v1", 2.0), ("v2", 3.0))}
    packages["broken"] = multiplier(home / "broken", 1.0, broken=True)
    with (
        closing(Engine(home_id(home))) as engine,
        running_envoy(ConfigFolder(home / "envoy")) as first,
        running_envoy(first.folder, beside=first) as second,
        closing(Gateways({"first": first.admin(), "second": second.admin()})) as admin,
        httpx.Client(base_url=first.url, timeout=30) as http,
    ):
        place = DockerPlace(home, engine, (first, second), admin, http, packages, stock)
        try:
            yield place
        finally:
            place.engine.halt(10)


def built(client: Any, name: str, recipe: str, **files: str) -> str:
    """Build an image from a Dockerfile and small files; returns its name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, text in {"Dockerfile": recipe, **files}.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text.encode()), 0o755
            tar.addfile(member, io.BytesIO(text.encode()))
    stream.seek(0)
    tag = f"seaway-test/{name}:1"
    client.images.build(fileobj=stream, custom_context=True, tag=tag, rm=True)
    return tag
