"""The second person: production waits for an approval of its own."""

from __future__ import annotations

import pytest

from deploy.rollout import Phase
from registry.approvals import Person, Subject, decide
from registry.entry import Kind
from tests.e2e.stack import now, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]


def suspended(stack, version):
    """Approve for staging and wait until the flow asks for production."""
    approval = stack.approve(version)
    run = stack.run_of(version)
    until(
        lambda: stack.wiring.trigger.state(run).type == "PAUSED",
        90,
        lambda: f"the gate; {stack.flow_story(approval)}",
    )
    assert stack.production(approval) is None
    return approval, run


def test_second_gate(stack, harbour):
    desk = stack.wiring.desk
    versions = [
        stack.build(harbour.write(f"v{i}", description=f"Attempt {i}", approval=True))[0] for i in (1, 2, 3)
    ]
    assert [one.version for one in versions] == ["1", "2", "3"]
    subject = [Subject(one.model, one.version, "production") for one in versions]

    approval, run = suspended(stack, versions[0])
    decide(desk, subject[0], "Approved", Person("carol"), now())
    assert stack.decided(approval).state.phase is Phase.PROMOTED
    assert stack.ended(run).name == "Promoted"
    assert stack.standing(versions[0], "production").approval.actor == "carol"

    approval, run = suspended(stack, versions[1])
    decide(desk, subject[1], "Rejected", Person("carol"), now(), "not on a Friday")
    state = stack.ended(run)
    assert (state.type, state.name) == ("FAILED", "Stopped")
    assert "production was refused by carol: not on a Friday" in state.message
    assert stack.production(approval) is None

    approval, run = suspended(stack, versions[2])
    answer = {"decision": "Approved", "approver": "bob", "comment": ""}
    stack.wiring.trigger.resume(run, answer)
    until(lambda: stack.production(approval), 60, lambda: f"production; {stack.flow_story(approval)}")
    given = [one for one in stack.entries(versions[2], Kind.APPROVED) if one.stage == "production"]
    assert [(one.actor, one.source) for one in given] == [("bob", "flow-form")]
    stack.wiring.store.abort(harbour.model, "seen enough")
    assert stack.decided(approval).state.phase is Phase.ROLLED_BACK
    assert stack.wiring.store.endpoint(harbour.model).stable.version == "1"
