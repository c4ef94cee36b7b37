"""The main job: build, approve, deploy, promote, and a bad version that is rolled back by itself."""

from __future__ import annotations

import pytest

from deploy.rollout import Phase
from registry.entry import Kind
from tests.e2e.harbour import live
from tests.e2e.load import Load
from tests.e2e.stack import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

TAGS = {
    *("digest", "data_digest", "git_commit", "lock_hash", "author", "evidence"),
    *("project", "project_digest", "project_file"),
}


def test_main_job(stack, harbour, record_property):
    first, message = stack.build(harbour.write("v1", features=["draught"]))
    assert "waits for approval" in message
    assert {tag for tag in TAGS if first.tags.get(tag)} == TAGS
    assert (first.tags["gate"], first.tags["approval_status"]) == ("passed", "PendingManualApproval")
    assert stack.wiring.desk.shelf.evidence(first)
    (registered,) = stack.entries(first, Kind.REGISTERED)
    assert (registered.actor, registered.digest) == ("ann", first.tags["digest"])

    rollout = stack.deploy(first)
    assert rollout.state.phase is Phase.PROMOTED, rollout.state.reason
    until(lambda: stack.aliases(harbour.model) == {"champion": "1"}, 60, "the champion alias")

    with Load(stack.wiring.invocations(harbour.model), live()) as load:
        second, _ = stack.build(harbour.write("v2"))
        promoted = stack.deploy(second)
        assert promoted.state.phase is Phase.PROMOTED, promoted.state.reason
        wanted = {"champion": "2", "previous": "1"}
        until(lambda: stack.aliases(harbour.model) == wanted, 60, "the aliases follow")
        assert load.failed() == []
        assert {one.variant for one in load.sent} == {"v1", "v2"}
        stable = stack.wiring.store.endpoint(harbour.model).stable

        third, _ = stack.build(harbour.write("v3", complete=True))
        rolled_back = stack.deploy(third)
        verdict = rolled_back.state.since.timestamp()
        until(lambda: load.good_after(verdict + 2.0), 60, "answers after the verdict")

    assert rolled_back.state.phase is Phase.ROLLED_BACK
    assert "does harm" in rolled_back.state.reason
    assert not rolled_back.abort
    assert stack.wiring.store.endpoint(harbour.model).stable == stable
    assert stack.aliases(harbour.model) == wanted
    assert {one.variant for one in load.failed()} == {"v3"}
    seen = max(one.end for one in load.sent if one.variant == "v3")
    record_property("seconds_from_verdict_to_last_answer", round(seen - verdict, 3))
    assert abs(stack.events(rolled_back)["rolled_back"].at.timestamp() - verdict) < 0.001
    assert seen - verdict <= 2.0
    assert stack.wiring.desk.ledger.verify() > 0


def test_nothing_changed(stack, harbour):
    file = harbour.write("v1")
    first, _ = stack.build(file)
    again, message = stack.build(file)
    assert "nothing was trained" in message
    assert again == first
    assert len(stack.wiring.registry.versions(harbour.model)) == 1
    assert len(stack.entries(first, Kind.REGISTERED)) == 1
