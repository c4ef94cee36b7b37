"""Every model registry keeps the port's word."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from registry.errors import NotFound, Unreachable
from registry.memory import MemoryRegistry
from registry.mlflow import MlflowRegistry
from registry.port import STATUS, Candidate, ModelRegistry
from registry.tracking import RunReport, log_run
from tests.mlflow_server import mlflow  # noqa: F401  (a fixture)
from tests.ports import free_port

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CONTENT = b"package bytes"


@pytest.fixture(params=["memory", pytest.param("mlflow", marks=pytest.mark.integration)])
def kind(request) -> str:
    return request.param


@pytest.fixture
def registry(kind, request, tmp_path):
    if kind == "memory":
        yield MemoryRegistry(tmp_path / "artifacts")
        return
    registry = MlflowRegistry(request.getfixturevalue("mlflow").url)
    yield registry
    registry.close()


@pytest.fixture
def run(kind, request, tmp_path):
    """Makes a run that holds a package; returns its id."""

    def make() -> str:
        file = tmp_path / "model.tar.gz"
        file.write_bytes(CONTENT)
        if kind == "mlflow":
            report = RunReport("contract", "run", NOW, NOW, artifacts={"package/model.tar.gz": file})
            return log_run(request.getfixturevalue("mlflow").url, report)
        run_id = uuid.uuid4().hex
        folder = tmp_path / "artifacts" / run_id / "package"
        folder.mkdir(parents=True)
        (folder / "model.tar.gz").write_bytes(CONTENT)
        return run_id

    return make


@pytest.fixture
def model() -> str:
    return f"model-{uuid.uuid4().hex[:8]}"


def candidate(model: str, run_id: str, digest: str = "d1") -> Candidate:
    return Candidate(model, run_id, {"digest": digest, STATUS: "PendingManualApproval"}, "# Sheet\n| a | b |")


def test_a_registered_version_is_shown_as_it_was_given(registry: ModelRegistry, run, model):
    run_id = run()
    made = registry.register(candidate(model, run_id))
    assert (made.model, made.version, made.run_id) == (model, "1", run_id)
    (shown,) = registry.versions(model)
    assert shown == made
    assert shown.tags == {"digest": "d1", STATUS: "PendingManualApproval"}
    assert shown.description == "# Sheet\n| a | b |"
    assert shown in registry.versions()


def test_registering_twice_is_registering_once(registry: ModelRegistry, run, model):
    run_id = run()
    first = registry.register(candidate(model, run_id))
    registry.annotate(model, "1", {"later": "yes"})
    assert registry.register(candidate(model, run_id)).version == first.version
    assert registry.register(candidate(model, run_id, digest="d2")).version == "2"
    assert registry.register(candidate(model, run())).version == "3"
    assert [version.version for version in registry.versions(model)] == ["3", "2", "1"]


def test_tags_and_description_change(registry: ModelRegistry, run, model):
    registry.register(candidate(model, run()))
    registry.annotate(model, "1", {STATUS: "Approved", "digest": None, "absent": None}, "new")
    registry.annotate(model, "1", {"note": "ü" * 2000})
    (shown,) = registry.versions(model)
    assert shown.tags == {STATUS: "Approved", "note": "ü" * 2000}
    assert shown.description == "new"


def test_aliases_move_and_go(registry: ModelRegistry, run, model):
    for digest in ("d1", "d2"):
        registry.register(candidate(model, run(), digest))
    for _ in range(2):
        registry.set_alias(model, "champion", "1")
    registry.set_alias(model, "previous", "1")
    registry.set_alias(model, "champion", "2")
    assert [version.aliases for version in registry.versions(model)] == [("champion",), ("previous",)]
    for _ in range(2):
        registry.set_alias(model, "champion", None)
    assert [version.aliases for version in registry.versions(model)] == [(), ("previous",)]
    assert [v.aliases for v in registry.versions() if v.model == model] == [(), ("previous",)]


def test_artifacts_come_down_under_their_own_name(registry: ModelRegistry, run, model, tmp_path):
    version = registry.register(candidate(model, run()))
    file = registry.download(version, "package/model.tar.gz", tmp_path / "new" / "folder")
    assert file == tmp_path / "new" / "folder" / "model.tar.gz"
    assert file.read_bytes() == CONTENT
    for absent in ("package/other", "../secrets/webhook_key", "package"):
        with pytest.raises(NotFound):
            registry.download(version, absent, tmp_path)


def test_what_is_not_there_is_not_found(registry: ModelRegistry, run, model):
    with pytest.raises(NotFound):
        registry.versions(model)
    registry.register(candidate(model, run()))
    with pytest.raises(NotFound):
        registry.annotate(model, "7", {"a": "b"})
    with pytest.raises(NotFound):
        registry.set_alias(model, "champion", "7")


def test_a_server_that_does_not_answer_is_temporary(tmp_path: Path):
    registry = MlflowRegistry(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable, match="does not answer"):
        registry.versions()
    registry.close()
