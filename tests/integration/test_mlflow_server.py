"""Seaway's MLflow for real: webhooks, gestures, authentication, the training logger."""

# ruff: noqa: F811  (fixtures are imported by name and then asked for by name)

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet

from configs.project import Approval
from registry.approvals import Desk, register
from registry.deliveries import Deliveries
from registry.errors import Permanent
from registry.evidence import Shelf
from registry.gestures import ANONYMOUS, Gestures
from registry.ledger import Ledger
from registry.mlflow import MlflowRegistry
from registry.port import STATUS, Candidate
from registry.reconcile import Reconciler
from registry.rest import Rest
from registry.server import SERVICE_USER
from registry.tables import open_store
from registry.tracking import (
    DatasetInput,
    Metric,
    RunReport,
    experiment_of,
    log_run,
    run_url,
    version_url,
)
from registry.webhook import DeliveryRefused, ensure_webhook, verify
from tests.mlflow_server import PASSWORD, Server, guarded, mlflow, mlflow_server, wait  # noqa: F401
from tests.postgres import postgres_url  # noqa: F401
from tests.unit.registry.world import DIGEST, KINDS

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECRET = "a shared secret"
PATHS = ("/api/2.0/mlflow/model-versions/set-tag", "/ajax-api/2.0/mlflow/model-versions/set-tag")


@dataclass
class Site:
    """A server and Seaway's side of it."""

    server: Server
    registry: MlflowRegistry
    desk: Desk
    model: str
    triggered: list[str] = field(default_factory=list)

    def set_tag(self, value: str, user: str | None = None, path: str = PATHS[1], **change) -> httpx.Response:
        body = {"name": self.model, "version": "1", "key": STATUS, "value": value, **change}
        auth = (user, f"{user}-{PASSWORD}") if user else None
        return httpx.post(self.server.url + path, json=body, auth=auth, timeout=30)

    def scan(self) -> None:
        def trigger(approval) -> str:
            self.triggered.append(approval.id)
            return "a-flow-run"

        report = Reconciler(self.desk, trigger).scan(datetime.now(UTC))  # noqa: TID251  (gestures of a real server carry the real time)
        assert report.failures == ()

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.registry.versions(self.model)[0].tags)


@contextmanager
def site(server: Server, tmp_path, policy: Approval, author: str = "ci") -> Iterator[Site]:
    credentials = (SERVICE_USER, PASSWORD) if server.settings.auth else (None, None)
    registry = MlflowRegistry(server.url, *credentials)
    engine = open_store(server.settings.store)
    gestures, ledger = Gestures(engine), Ledger(engine)
    desk = Desk(registry, ledger, gestures, Shelf(registry, tmp_path / "kept"))
    document = {"kinds": {kind: {"passed": True} for kind in KINDS}, "digest": DIGEST, "author": author}
    file = tmp_path / "evidence.json"
    file.write_text(json.dumps(document))
    tags = {"digest": DIGEST, "author": author, "evidence": _sha(file.read_bytes())}
    report = RunReport("builds", "build", NOW, NOW, artifacts={"evidence/evidence.json": file})
    run_id = log_run(server.url, report)
    model = f"late-{uuid.uuid4().hex[:8]}"
    register(registry, ledger, Candidate(model, run_id, tags, "# Sheet"), policy, NOW)
    try:
        yield Site(server, registry, desk, model)
    finally:
        registry.close()
        engine.dispose()


@pytest.fixture
def as_admin(monkeypatch):
    """The MLflow client, as Seaway itself."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", SERVICE_USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)


def allow_edit(server: Server, model: str, *users: str) -> None:
    for user in users:
        body = {
            "username": user,
            "resource_type": "registered_model",
            "resource_id": model,
            "permission": "EDIT",
        }
        url = f"{server.url}/api/3.0/mlflow/users/permissions/grant"
        httpx.post(url, json=body, auth=(SERVICE_USER, PASSWORD), timeout=30).raise_for_status()


# -- the server itself ------------------------------------------------------------------------------


def test_the_server_is_one_small_process(mlflow, record_property):
    process = Path("/proc") / str(mlflow.pid)
    rollup = (process / "smaps_rollup").read_text()
    mebibytes = int(rollup.split("Pss:")[1].split()[0]) / 1024
    record_property("figures", f"up in {mlflow.seconds:.1f} s, {mebibytes:.0f} MiB")
    assert mebibytes < 330
    assert (process / "task" / str(mlflow.pid) / "children").read_text().split() == []


# -- gestures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_a_tag_set_without_authentication_is_approved_by_nobody_in_particular(mlflow, tmp_path, path):
    with site(mlflow, tmp_path, Approval()) as here:
        assert here.set_tag(" approved", path=path).status_code == 200
        (gesture,) = here.desk.gestures.list(here.model, "1")
        assert (gesture.actor, gesture.authenticated, gesture.confirmed) == (ANONYMOUS, False, True)
        assert (gesture.value, gesture.peer) == (" approved", "127.0.0.1")
        here.scan()
        here.scan()
        assert here.tags[STATUS] == "Approved"
        assert here.triggered == [here.tags["approval.id"]]
        assert here.tags["deploy.flow_run_id"] == "a-flow-run"
        assert len(here.desk.gestures.list(here.model)) == 1


def test_other_tags_and_refused_requests_leave_no_gesture(mlflow, tmp_path):
    with site(mlflow, tmp_path, Approval()) as here:
        assert here.set_tag("x", key="comment").status_code == 200
        assert here.set_tag("Approved", version="77").status_code == 404
        assert here.desk.gestures.list(here.model) == []


def test_a_double_encoded_body_is_a_gesture_too(mlflow, tmp_path):
    with site(mlflow, tmp_path, Approval()) as here:
        inner = json.dumps({"name": here.model, "version": "1", "key": STATUS, "value": "Rejected"})
        answer = httpx.post(mlflow.url + PATHS[0], json=inner, timeout=30)
        assert answer.status_code == 200
        assert [gesture.value for gesture in here.desk.gestures.list(here.model)] == ["Rejected"]


def test_removing_the_tag_is_a_gesture_too(mlflow, tmp_path):
    with site(mlflow, tmp_path, Approval()) as here:
        here.set_tag("Approved")
        here.scan()
        url = f"{mlflow.url}/ajax-api/2.0/mlflow/model-versions/delete-tag"
        body = {"name": here.model, "version": "1", "key": STATUS}
        assert httpx.request("DELETE", url, json=body, timeout=30).status_code == 200
        here.scan()
        assert here.desk.ledger.entries(here.model)[-1].kind == "withdrawn"
        assert here.tags[STATUS] == "PendingManualApproval"


def test_with_authentication_the_person_is_known_and_the_policy_holds(guarded, tmp_path, as_admin):
    policy = Approval(approvers=("alice", "bob"), persons=2, self_approval=False, allow_unauthenticated=False)
    with site(guarded, tmp_path, policy, author="bob") as here:
        allow_edit(guarded, here.model, "alice", "bob", "ci")
        refused = here.set_tag("Approved", "ci")
        assert refused.status_code == 403
        assert refused.json()["error_code"] == "PERMISSION_DENIED"
        assert refused.json()["message"] == "ci is not an approver of this model: ask alice or bob."
        assert "bob built this version" in here.set_tag("Approved", "bob").json()["message"]
        assert here.set_tag("Approved").status_code == 401
        wrong = httpx.post(guarded.url + PATHS[0], json={}, auth=("alice", "guess"), timeout=30)
        assert wrong.status_code == 401
        assert here.desk.gestures.list(here.model) == []
        assert here.tags[STATUS] == "PendingManualApproval"
        assert here.set_tag("Approved", "alice").status_code == 200
        here.scan()
        assert here.tags["approval_note"].startswith("First approval (alice")
        assert here.triggered == []


def test_a_wrong_password_never_borrows_a_name(guarded, tmp_path, as_admin):
    with site(guarded, tmp_path, Approval(approvers=("alice",))) as here:
        body = {"name": here.model, "version": "1", "key": STATUS, "value": "Approved"}
        answer = httpx.post(guarded.url + PATHS[0], json=body, auth=("alice", "guess"), timeout=30)
        assert answer.status_code == 401
        assert here.desk.gestures.list(here.model) == []


def test_with_authentication_an_approver_approves_and_seaway_mirrors(guarded, tmp_path, as_admin):
    with site(guarded, tmp_path, Approval(approvers=("alice",), self_approval=False)) as here:
        allow_edit(guarded, here.model, "alice")
        assert here.set_tag("Approved", "alice").status_code == 200
        (gesture,) = here.desk.gestures.list(here.model)
        assert (gesture.actor, gesture.authenticated, gesture.confirmed) == ("alice", True, True)
        here.scan()
        assert here.tags["approved_by"] == "alice"
        assert len(here.desk.gestures.list(here.model)) == 1
        forged = {"x-seaway-service": "1"}
        body = {"name": here.model, "version": "1", "key": STATUS, "value": "Rejected"}
        auth = ("ci", f"ci-{PASSWORD}")
        answer = httpx.post(guarded.url + PATHS[0], json=body, auth=auth, headers=forged, timeout=30)
        assert answer.status_code == 403


# -- webhooks ---------------------------------------------------------------------------------------


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A tiny HTTP server that keeps what it is sent."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            got.append((dict(self.headers.items()), self.rfile.read(length)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", got
        server.shutdown()
        thread.join()


def test_a_delivery_of_the_real_server_is_verified_once(mlflow, tmp_path):
    seen = Deliveries(open_store(mlflow.settings.store))
    with receiver() as (url, got), site(mlflow, tmp_path, Approval()) as here:
        hook = ensure_webhook(url, mlflow.url, "an old secret")
        assert ensure_webhook(url, mlflow.url, SECRET) == hook
        wait(lambda: _sent(here, got, SECRET), 20)
        headers, body = got[-1]
        now = datetime.fromtimestamp(int(headers["X-MLflow-Timestamp"]), UTC)

        def check(at=now, secret=SECRET, content=body, **changes):
            return verify({**headers, **changes}, content, secret, at, seen.first)

        with pytest.raises(DeliveryRefused, match="signature"):
            check(content=body.replace(b"Approved", b"Rejected"))
        with pytest.raises(DeliveryRefused, match="signature"):
            check(secret="another")
        with pytest.raises(DeliveryRefused, match="signature"):
            check(**{"X-MLflow-Delivery-Id": "other"})
        with pytest.raises(DeliveryRefused, match="five minutes"):
            check(at=now + timedelta(seconds=301))
        delivery = check()
        assert delivery.event == "model_version_tag.set"
        assert (delivery.data["name"], delivery.data["value"]) == (here.model, "Approved")
        with pytest.raises(DeliveryRefused, match="seen before"):
            check()
    with Rest(mlflow.url) as rest:
        rest.send("DELETE", f"webhooks/{hook}", {})


def _sent(here: Site, got: list[tuple[dict[str, str], bytes]], secret: str) -> bool:
    """Set the tag until a delivery with the new secret is there (MLflow caches webhooks for a second)."""
    here.set_tag("Approved")
    accept = lambda *_: True  # noqa: E731
    for headers, body in list(got):
        try:
            verify(
                headers, body, secret, datetime.fromtimestamp(int(headers["X-MLflow-Timestamp"]), UTC), accept
            )
        except DeliveryRefused:
            continue
        got[:] = [(headers, body)]
        return True
    return False


def test_a_lost_encryption_key_is_explained(tmp_path):
    with mlflow_server(tmp_path / "home") as server:
        ensure_webhook("http://127.0.0.1:9/hook", server.url, SECRET)
    (tmp_path / "home" / "secrets" / "webhook_key").write_text(Fernet.generate_key().decode())
    with (
        mlflow_server(tmp_path / "home") as server,
        pytest.raises(Permanent, match="MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"),
    ):
        ensure_webhook("http://127.0.0.1:9/hook", server.url, SECRET)


# -- PostgreSQL -------------------------------------------------------------------------------------


def test_everything_on_postgres(postgres_url, tmp_path):
    home = tmp_path / "home"
    with (
        mlflow_server(home, mlflow_database_url=postgres_url, store_url=postgres_url) as server,
        site(server, tmp_path, Approval()) as here,
    ):
        assert here.set_tag("Approved").status_code == 200
        here.scan()
        assert here.triggered == [here.tags["approval.id"]]
        assert here.desk.ledger.verify() == 3


# -- the training logger ----------------------------------------------------------------------------


def test_a_report_becomes_one_run(mlflow, tmp_path):
    from mlflow import MlflowClient

    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "roc.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "packed.tgz").write_bytes(b"package")
    report = RunReport(
        experiment="late-arrivals",
        name="build 7",
        started=NOW,
        ended=NOW + timedelta(minutes=2),
        params={f"p{i}": "v" * 20 for i in range(150)},
        metrics=[Metric("loss", 1 / (step + 1), step) for step in range(1500)] + [Metric("roc_auc", 0.81)],
        tags={"git_commit": "abc", "lock_hash": "def"},
        dataset=DatasetInput("flights", "f" * 64, {"delay": "double"}, "s3://bucket/flights", rows=10),
        artifacts={"images": tmp_path / "plots", "package/model.tar.gz": tmp_path / "packed.tgz"},
        key=uuid.uuid4().hex,
    )
    run_id = log_run(mlflow.url, report)
    assert log_run(mlflow.url, report) == run_id
    client = MlflowClient(mlflow.url)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name, len(run.data.params)) == ("FINISHED", "build 7", 150)
    assert (run.info.start_time, run.info.end_time) == (1_795_424_400_000, 1_795_424_520_000)
    assert run.data.metrics["roc_auc"] == 0.81
    assert len(client.get_metric_history(run_id, "loss")) == 1500
    assert run.data.tags["git_commit"] == "abc"
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("flights", "f" * 36)
    assert "delay" in used.dataset.schema
    assert [f.path for f in client.list_artifacts(run_id, "package")] == ["package/model.tar.gz"]
    assert [f.path for f in client.list_artifacts(run_id, "images")] == ["images/roc.png"]
    page = run_url(mlflow.url, experiment_of(mlflow.url, run_id), run_id)
    assert page == f"{mlflow.url}/#/experiments/{run.info.experiment_id}/runs/{run_id}"
    assert version_url(mlflow.url, "late-arrivals", "3") == f"{mlflow.url}/#/models/late-arrivals/versions/3"


def test_a_run_that_cannot_be_logged_says_why(mlflow, tmp_path):
    missing = RunReport("e", "n", NOW, NOW, artifacts={"a": tmp_path / "nothing"})
    with pytest.raises(Permanent, match="artifacts are missing"):
        log_run(mlflow.url, missing)
    invalid = replace(missing, artifacts={}, metrics=[Metric("bad\nname", 1.0)])
    with pytest.raises(Permanent, match="refused"):
        log_run(mlflow.url, invalid)


def _sha(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
