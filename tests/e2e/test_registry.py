"""What strangers and hasty people do to registry and webhook."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from deploy.rollout import Phase
from registry.entry import Kind
from registry.webhook import sign
from tests.e2e.stack import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]


def test_alias_moved_by_hand(stack, harbour):
    ledger, model = stack.wiring.desk.ledger, harbour.model
    first, _ = stack.build(harbour.write("v1"))
    second, _ = stack.build(harbour.write("v2", trees=11))
    assert stack.deploy(first).state.phase is Phase.PROMOTED
    until(lambda: stack.aliases(model) == {"champion": "1"}, 60, "the champion alias")
    # the scan that follows must have seen its own alias before a hand moves it
    until(lambda: [e for e in ledger.entries(model) if e.kind is Kind.ALIAS_SET], 60, "the note of the alias")

    stack.mlflow("registered-models/alias", {"name": model, "alias": "champion", "version": second.version})
    until(lambda: stack.aliases(model) == {"champion": "1"}, 60, "the alias is put back")

    def noted():
        kinds = [e.kind for e in ledger.entries(model) if e.details.get("alias") == "champion"]
        return kinds[-2:] == [Kind.ALIAS_MOVED, Kind.ALIAS_RESTORED]

    until(noted, 60, "alarm and repair in the ledger")
    assert stack.wiring.store.endpoint(model).stable.version == "1"
    assert stack.standing(second).approval is None


def test_webhooks_are_verified(stack):
    address = stack.wiring.settings.url("controller") + "/webhooks/mlflow"
    event = {"entity": "model_version_tag", "action": "set", "data": {"name": "none", "version": "1"}}
    body = json.dumps(event).encode()
    delivery, sent = str(uuid.uuid4()), str(int(time.time()))

    def post(signature, at=sent, content=body):
        headers = {
            "x-mlflow-delivery-id": delivery,
            "x-mlflow-timestamp": at,
            "x-mlflow-signature": signature,
            "content-type": "application/json",
        }
        return stack.http.post(address, content=content, headers=headers)

    secret = stack.wiring.settings.secret("webhook")
    signature = sign(delivery, sent, body, secret)
    old = str(int(time.time()) - 400)
    forged = sign(delivery, sent, body, "guessed")
    assert post(forged).status_code == 401
    assert post("").status_code == 401
    assert post(signature, content=body + b" ").status_code == 401
    assert post(sign(delivery, old, body, secret), at=old).status_code == 401
    assert post(signature).status_code == 204
    replayed = post(signature)
    assert replayed.status_code == 401
    assert "seen before" in replayed.json()["error"]
    api = stack.wiring.settings.url("controller") + "/api/endpoints"
    assert stack.http.get(api).status_code == 401


def test_quick_toggles(stack, harbour):
    version, _ = stack.build(harbour.write("v1"))
    for value in ("Approved", "Rejected", "Approved", "Rejected"):
        stack.tag(version, value)
    assert stack.heard(version).status == "Rejected"
    until(lambda: stack.version(version).tags["approval_status"] == "Rejected", 60, "the tag stays")
    approvals = stack.entries(version, Kind.APPROVED)
    assert len(approvals) <= 2
    assert len(stack.entries(version, Kind.REJECTED)) <= 2
    for approval in approvals:
        until(lambda a=approval: all(s.final for s, _ in stack.flow_story(a)), 90, "its flow run ends")
        assert {(s.type, s.name) for s, _ in stack.flow_story(approval)} <= {("FAILED", "Stopped")}
        assert stack.production(approval) is None
    assert stack.wiring.store.endpoint(harbour.model) is None

    for value in ("Approved", "PendingManualApproval", "Approved"):
        stack.tag(version, value)
    kept = stack.heard(version).approval
    assert stack.decided(kept).state.phase is Phase.PROMOTED
    promoted = [r for r in stack.wiring.store.rollouts(harbour.model) if r.state.phase is Phase.PROMOTED]
    assert [r.request.id for r in promoted] == [f"{kept.id}:production"]
    assert stack.wiring.desk.ledger.verify() > 0
