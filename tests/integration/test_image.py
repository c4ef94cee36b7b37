"""Serving images: size, content, privileges, and the command that makes them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from deploy.containers import LEAST, Limits, arguments
from deploy.errors import PackageDamaged
from deploy.image import Builder, runtime_of, stock_tag
from deploy.port import Fleet
from deploy.rootfs import ImageRefused, versions
from seaway.cli import application
from tests.fakes.data_plane import wait_until
from tests.multiplier import multiplier

pytestmark = [pytest.mark.integration, pytest.mark.docker]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return multiplier(tmp_path_factory.mktemp("packages") / "multiply", 2.0)


@contextmanager
def running(client: Any, image: str, folder: Path, digest: str) -> Iterator[Any]:
    """A container with the least privileges, as the target makes it, but the package in the image."""
    fleet = Fleet("images", "v1", digest, Path("m.tar.gz"), 1)
    asked = arguments(fleet, 1, image=image, package=folder, limits=Limits(), home="test-images")
    asked["volumes"] = {}
    assert asked["read_only"]
    assert not fleet.profile, f"empty means {LEAST}"
    container = client.containers.create(**asked)
    try:
        container.start()
        container.reload()
        yield container
    finally:
        container.remove(force=True, v=True)


def answer(container: Any) -> Any:
    port = container.attrs["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"]
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/ping", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    wait_until(answers)
    return httpx.post(f"{url}/invocations", json={"instances": [{"x": 3.0}]}).raise_for_status().json()


@pytest.mark.parametrize(("runtime", "megabytes"), [("onnx", 200), ("full", 360)])
def test_a_stock_image_is_slim_and_loads_its_libraries(
    docker_client: Any, runtime: str, megabytes: int
) -> None:
    built = Builder(docker_client).stock(runtime)
    print(f"{built.tag}: {built.bytes / 1e6:.0f} MB in {built.seconds:.1f} s")
    assert built.bytes <= megabytes * 1_000_000
    assert Builder(docker_client).stock(runtime).seconds == 0, "it is made once"
    modules = ["aiohttp", "granian", "numpy", "onnxruntime", "orjson", "sqlite3", "ssl", "serving.serve"]
    if runtime == "full":
        modules += ["skops.io", "sklearn.tree", "sklearn.ensemble", "sklearn.linear_model", "scipy.stats"]
        modules += ["cryptography.hazmat.primitives.ciphers.aead"]
    program = (
        "import importlib, sys, time; began = time.perf_counter()\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "import os\n"
        "specs = [getattr(module, '__spec__', None) for module in list(sys.modules.values())]\n"
        "missing = [s.name for s in specs if s and s.has_location and s.cached and not os.path.exists(s.cached)]\n"
        "print(f'{time.perf_counter() - began:.2f}', os.getuid(), missing)"
    )
    said = docker_client.containers.run(
        built.tag, ["python3", "-c", program], remove=True, read_only=True, network_mode="none", stderr=True
    )
    assert "elemetry" not in said.decode()
    seconds, uid, missing = said.decode().strip().split(" ", 2)
    print(f"imports of {runtime}: {seconds} s")
    assert (uid, missing) == ("10001", "[]"), "every module has its byte code"


EXTRAS = {
    "s3": "import boto3; boto3.client('s3', region_name='eu-west-1')",
    "arrow": "import pyarrow.parquet, pyarrow.ipc, pyarrow.compute, pyarrow.csv",
    "encryption": "from cryptography.hazmat.primitives.ciphers.aead import AESGCM; AESGCM(bytes(32))",
}


@pytest.mark.slow
@pytest.mark.parametrize(("extra", "megabytes"), [("s3", 220), ("arrow", 360), ("encryption", 220)])
def test_an_image_has_what_it_is_asked_for_beside(docker_client: Any, extra: str, megabytes: int) -> None:
    built = Builder(docker_client).stock("onnx", [extra])
    print(f"{built.tag}: {built.bytes / 1e6:.0f} MB in {built.seconds:.1f} s")
    assert built.bytes <= megabytes * 1_000_000
    assert built.tag == stock_tag("onnx", [extra])
    program = f"{EXTRAS[extra]}\nimport serving.serve; print('fine')"
    said = docker_client.containers.run(
        built.tag, ["python3", "-c", program], remove=True, read_only=True, network_mode="none"
    )
    assert said.decode() == "fine\n"


def test_extras_that_a_runtime_has_change_nothing_and_unknown_ones_are_refused() -> None:
    assert stock_tag("full", ["encryption"]) == stock_tag("full")
    assert stock_tag("onnx", ["s3", "arrow"]) == stock_tag("onnx", ["arrow", "s3"])
    with pytest.raises(ImageRefused, match="arrow, encryption, s3"):
        stock_tag("onnx", ["gold"])


@pytest.mark.slow
def test_with_arrow_an_image_answers_parquet(docker_client: Any, package: tuple[Path, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    built = Builder(docker_client).package(package[0], tag="seaway-test/parquet:1", extras=["arrow"])
    rows = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.table({"x": [1.0, 4.0]}), rows)
    with running(docker_client, built.tag, package[0].parent, package[1]) as container:
        assert answer(container) == {"predictions": [{"score": 6.0}]}
        port = container.attrs["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"]
        headers = {"content-type": "application/x-parquet", "accept": "application/json"}
        url = f"http://127.0.0.1:{port}/invocations"
        given = httpx.post(url, content=rows.getvalue().to_pybytes(), headers=headers).raise_for_status()
        assert given.json() == {"predictions": [{"score": 2.0}, {"score": 8.0}]}


def test_an_image_serves_its_own_package(docker_client: Any, package: tuple[Path, str]) -> None:
    archive, digest = package
    built = Builder(docker_client).package(archive)
    assert built.tag == f"seaway/multiply:{digest[:12]}"
    labels = docker_client.api.inspect_image(built.tag)["Config"]["Labels"]
    assert labels["seaway.package"] == digest
    assert labels["seaway.runtime"] == "onnx"
    with running(docker_client, built.tag, archive.parent, digest) as container:
        assert answer(container) == {"predictions": [{"score": 6.0}]}
        container.kill("SIGTERM")
        assert container.wait(timeout=20)["StatusCode"] == 0
        assert "all requests are answered" in container.logs().decode()


def test_the_command_makes_an_image_of_an_archive(
    docker_client: Any, package: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    arguments = ["image", "build", str(package[0]), "--tag", "seaway-test/by-command:1", "--json"]
    said = CliRunner().invoke(application(), arguments, catch_exceptions=False)
    assert said.exit_code == 0, said.output
    built = json.loads(said.stdout)
    assert (built["tag"], built["runtime"]) == ("seaway-test/by-command:1", "onnx")
    assert docker_client.images.get(built["tag"]).id == built["id"]


def test_an_archive_that_is_none_and_a_library_that_is_missing_are_refused(
    docker_client: Any, tmp_path: Path
) -> None:
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(b"nothing")
    with pytest.raises(PackageDamaged):
        Builder(docker_client).package(archive)
    with pytest.raises(ImageRefused, match="numpy==1.0"):
        versions("onnx", ["numpy==1.0"])
    said = CliRunner().invoke(application(), ["image", "build", str(tmp_path / "none.tar.gz")])
    assert said.exit_code == 1


def test_without_an_engine_the_command_says_so(
    package: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    said = CliRunner().invoke(application(), ["image", "build", str(package[0])])
    assert said.exit_code == 1
    assert "Docker" in said.stderr


def test_only_a_compiled_model_fits_the_small_image(package: tuple[Path, str], tmp_path: Path) -> None:
    from serving.package import unpack

    assert runtime_of(unpack(package[0], tmp_path / "model", package[1])) == "onnx"
    (tmp_path / "script" / "code").mkdir(parents=True)
    assert runtime_of(tmp_path / "script") == "full"


def test_a_builder_closes_its_connection() -> None:
    with closing(Builder()):
        pass
