"""The replay flow under a real Prefect server: artifacts, the report, and the evidence in the ledger."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness
from sqlalchemy import create_engine

from configs.project import Approval
from deploy.release import Release
from flows import replay as flow
from registry.approvals import Desk, Person, Subject, decide, register
from registry.entry import Kind
from registry.errors import PolicyRefused
from registry.evidence import Shelf
from registry.gestures import Gestures
from registry.ledger import Ledger
from registry.memory import MemoryRegistry
from registry.port import Candidate
from registry.tables import create_tables
from steps.job import digest_of
from tests.integration.test_replay import answered, build, capture, traffic

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("default::DeprecationWarning", "default::ResourceWarning"),
]
KINDS = ("validation", "evaluation", "gate", "package")
POLICY = Approval(required_evidence=(*KINDS, "replay"))


@pytest.fixture(scope="module")
def server():
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def wiring(tmp_path):
    """An installation without servers: one package, registered twice, the first behind an endpoint."""
    archive, unpacked, digest = build(tmp_path / "built", 0, 0.5)
    capture(tmp_path / "captures" / "arrivals" / "v1", answered(recent(), unpacked))
    engine = create_engine(f"sqlite:///{tmp_path / 'store.db'}")
    create_tables(engine)
    registry, ledger = MemoryRegistry(tmp_path / "artifacts"), Ledger(engine)
    for run in ("r1", "r2"):
        folder = tmp_path / "artifacts" / run
        (folder / "package").mkdir(parents=True)
        (folder / "package" / "model.tar.gz").write_bytes(archive.read_bytes())
        (folder / "evidence").mkdir()
        evidence = folder / "evidence" / "evidence.json"
        kinds = {kind: {"passed": True} for kind in KINDS}
        evidence.write_text(json.dumps({"kinds": kinds, "author": "carol", "digest": digest}))
        tags = {"digest": digest, "evidence": digest_of(evidence), "author": "carol"}
        register(registry, ledger, Candidate("m", run, tags), POLICY, datetime.now(UTC))  # noqa: TID251
    serving = SimpleNamespace(stable=Release("m", "1", digest))
    yield SimpleNamespace(
        registry=registry,
        desk=Desk(registry, ledger, Gestures(engine), Shelf(registry, tmp_path / "evidence")),
        archives=tmp_path / "archives",
        settings=SimpleNamespace(home=tmp_path),
        store=SimpleNamespace(endpoint=lambda _: serving),
    )
    engine.dispose()


def recent():
    """The sample traffic, captured a moment ago."""
    from dataclasses import replace

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251
    return [replace(one, at=now) for one in traffic()]


async def artifact_keys() -> set[str]:
    async with get_client() as client:
        return {one.key for one in await client.read_artifacts()}


@pytest.mark.usefixtures("server")
def test_a_replay_becomes_evidence_that_an_approval_waits_for(wiring, monkeypatch):
    monkeypatch.setattr(flow, "connect", lambda: wiring)
    subject, alice = Subject("m", "2"), Person("alice")
    with pytest.raises(PolicyRefused, match="replay"):
        decide(wiring.desk, subject, "Approved", alice, datetime.now(UTC))  # noqa: TID251
    state = flow.replay("arrivals", "2", since="2h", author="carol", report_id="0123-abcd", return_state=True)
    assert state.is_completed(), state.message
    assert state.message.startswith("0 differences in")
    entry = wiring.desk.ledger.entries("m", "2")[-1]
    assert (entry.kind, entry.actor, entry.details["passed"]) == (Kind.EVIDENCE, "carol", True)
    report = wiring.settings.home / "replays" / "0123-abcd"
    assert wiring.desk.shelf.report(entry.evidence) == (report / "report.json").read_bytes()
    assert (report / "report.html").exists()
    assert asyncio.run(artifact_keys()) >= {"replay", "replay-charts"}
    approved = decide(wiring.desk, subject, "Approved", alice, datetime.now(UTC))  # noqa: TID251
    assert approved.kind is Kind.APPROVED
    assert wiring.registry.versions("m")[0].tags["evidence.replay"].startswith("passed: 0 differences")
    refused = flow.replay("arrivals", "9", report_id="0123-0000", return_state=True)
    assert refused.is_failed()
    assert "seaway models" in refused.message
