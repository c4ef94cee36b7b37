"""`seaway image build MODEL VERSION`: the image of a version that a real registry holds."""

# ruff: noqa: F811  (fixtures are imported by name and then asked for by name)

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from configs.load import dump
from configs.settings import Settings
from registry.mlflow import MlflowRegistry
from registry.port import Candidate
from registry.tracking import RunReport, log_run
from seaway.cli import application
from tests.mlflow_server import Server, mlflow  # noqa: F401
from tests.multiplier import multiplier

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.timeout(300)]
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture
def model(mlflow: Server, project: Any, tmp_path: Path) -> tuple[str, str]:
    """A registered version whose project captures to S3: its name, and its package's digest."""
    name = f"late-{uuid.uuid4().hex[:8]}"
    archive, digest = multiplier(tmp_path / "model", 2.0)
    content = tmp_path / "project.json"
    captured = {"destination": "s3://bucket/captures"}
    content.write_text(json.dumps(dump(project(model=name, production__capture=captured))))
    artifacts = {"package/model.tar.gz": archive, "evidence/project.json": content}
    run = log_run(mlflow.url, RunReport("builds", "build", NOW, NOW, artifacts=artifacts))
    registry = MlflowRegistry(mlflow.url)
    try:
        assert registry.register(Candidate(name, run, {"digest": digest})).version == "1"
    finally:
        registry.close()
    return name, digest


@pytest.fixture
def seaway(mlflow: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    home = tmp_path / "home"
    Settings(home=home, ports={"mlflow": int(mlflow.url.rpartition(":")[2])}).save()
    monkeypatch.setenv("SEAWAY_HOME", str(home))
    monkeypatch.setenv("DOCKER_HOST", os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(application(), ["image", "build", *arguments], catch_exceptions=False)

    return run


def test_a_version_becomes_an_image_with_what_its_project_captures(
    docker_client: Any, model: tuple[str, str], seaway: Any
) -> None:
    name, digest = model
    said = seaway(name, "1", "--json")
    assert said.exit_code == 0, said.output
    built = json.loads(said.stdout)
    print(f"{built['tag']}: {built['bytes'] / 1e6:.0f} MB in {built['seconds']:.1f} s")
    assert built["tag"] == f"seaway/{name}:1"
    labels = docker_client.api.inspect_image(built["id"])["Config"]["Labels"]
    assert labels["seaway.package"] == digest
    program = (
        "import boto3, os\n"
        "print(boto3.client('s3', region_name='us-east-1').meta.region_name, os.listdir('/opt/ml/model'))"
    )
    seen = docker_client.containers.run(
        built["tag"], ["python3", "-c", program], remove=True, read_only=True, network_mode="none"
    )
    assert seen.decode().startswith("us-east-1")
    assert "seaway.json" in seen.decode()


def test_an_unknown_version_and_an_unknown_model_are_refused(
    docker_client: Any, model: tuple[str, str], seaway: Any
) -> None:
    for arguments, words in ((("nobody", "1"), "no version 1 of nobody"), ((model[0], "7"), "no version 7")):
        said = seaway(*arguments)
        assert said.exit_code == 1
        assert words in said.stderr


def test_a_changed_package_is_refused(
    mlflow: Server, docker_client: Any, model: tuple[str, str], seaway: Any
) -> None:
    registry = MlflowRegistry(mlflow.url)
    try:
        registry.annotate(model[0], "1", {"digest": "0" * 64})
    finally:
        registry.close()
    said = seaway(model[0], "1")
    assert said.exit_code == 1
    assert "was changed" in said.stderr
