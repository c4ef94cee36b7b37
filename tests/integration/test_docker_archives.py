"""Pipelines, many models and user code in real containers, behind the gateway: what `seaway register` takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.image import Builder, runtime_of
from deploy.port import Fleet, Share
from serving import contract
from serving.pipeline.responder import TIMINGS
from steps.archive import Gathered, gather
from steps.pipeline import pack_pipeline
from tests.docker_engine import DockerPlace
from tests.fakes.data_plane import wait_until
from tests.multiplier import multiplier

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.timeout(240)]

HALVE = """
import json
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    rows = [{"x": row["x"] / 2} for row in json.loads(body)["instances"]]
    return json.dumps({"instances": rows}), "application/json"
"""
SHOUT = """
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept): return body.upper(), "text/plain"
"""
ROW = {"instances": [{"x": 3.0}]}


def script(folder: Path, code: str) -> Path:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(code)
    return folder


@pytest.fixture(scope="module")
def full_image(docker_client: Any) -> str:
    return Builder(docker_client).stock("full").tag


@pytest.fixture
def running(docker_place: DockerPlace, full_image: str, tmp_path: Path) -> Iterator[Any]:
    """Starts what was gathered from a folder or an archive; gives what asks it."""
    started: list[Fleet] = []

    def start(endpoint: str, source: Path) -> Any:
        (tmp_path / endpoint).mkdir()
        found: Gathered = gather(source, tmp_path / endpoint)
        assert runtime_of(found.folder) == "full"
        fleet = Fleet(endpoint, "v1", found.digest, found.archive, 1, image=full_image)
        started.append(replace(fleet, cpus=2.0))
        wait_until(lambda: serves(docker_place, started[-1]), seconds=90, step=0.2)
        docker_place.target.route(endpoint, (Share(fleet.id, "v1", 100),))

        def ask(**request: Any) -> httpx.Response:
            return docker_place.http.post(f"/endpoints/{endpoint}/invocations", **request)

        wait_until(lambda: ask(content=b"").status_code != 400)  # the route is there
        return ask

    yield start
    for fleet in started:
        docker_place.target.route(fleet.endpoint, ())
        wait_until(lambda fleet=fleet: gone(docker_place, fleet), seconds=60, step=0.1)


def serves(place: DockerPlace, fleet: Fleet) -> bool:
    place.target.start(fleet)
    return place.target.ready(fleet).complete


def gone(place: DockerPlace, fleet: Fleet) -> bool:
    place.target.stop(fleet)
    return place.target.ready(fleet).wanted == 0


def test_a_pipeline(running: Any, tmp_path: Path) -> None:
    model, _ = multiplier(tmp_path / "double", 2.0)
    halve = script(tmp_path / "halve", HALVE)
    (halve / "code" / "requirements.txt").write_text("orjson\n")  # which the image has: it has no pip
    made = pack_pipeline(
        [halve, model],
        ("halve", "double"),
        tmp_path / "pipeline.tar.gz",
        model="same",
        sample=b'{"instances": [{"x": 3.0}]}',
    )
    ask = running("boxed-pipeline", made.archive)
    answer = ask(json=ROW)
    assert answer.json() == {"predictions": [{"score": 3.0}]}
    assert [one.split(";")[0] for one in answer.headers[TIMINGS].split(", ")] == ["halve", "double"]


def test_many_models(running: Any, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for factor in (2, 3):
        archive, _ = multiplier(tmp_path / f"times-{factor}", float(factor))
        shutil.copy(archive, many / f"times-{factor}.tar.gz")
    ask = running("boxed-models", many)
    for factor in (2, 3):
        answer = ask(json=ROW, headers={contract.TARGET_MODEL: f"times-{factor}.tar.gz"})
        assert answer.json() == {"predictions": [{"score": 3.0 * factor}]}
    unknown = ask(json=ROW, headers={contract.TARGET_MODEL: "times-4.tar.gz"})
    assert unknown.json()["OriginalStatusCode"] == 404


def test_code(running: Any, tmp_path: Path) -> None:
    ask = running("boxed-code", script(tmp_path / "shout", SHOUT))
    answer = ask(content=b"hello", headers={"content-type": "text/plain"})
    assert (answer.text, answer.headers["content-type"]) == ("HELLO", "text/plain")
