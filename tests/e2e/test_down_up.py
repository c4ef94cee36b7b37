"""What was wanted while the platform was away, or when it went away, is done when it is back."""

from __future__ import annotations

import pytest

from deploy.rollout import Phase
from registry.entry import Kind
from tests.e2e.harbour import live
from tests.e2e.stack import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

RECORD = live(1)[0]


def test_down_and_up(stack, harbour):
    first, _ = stack.build(harbour.write("v1"))
    second, _ = stack.build(harbour.write("v2", trees=12, bake="15s"))

    for program in ("worker", "controller", "prefect", "envoy-1", "envoy-2"):
        stack.supervisor.stop(program)
    stack.tag(first, "Approved")
    assert stack.entries(first, Kind.APPROVED) == []
    stack.up()
    approval = stack.approval(first)
    assert stack.decided(approval).state.phase is Phase.PROMOTED
    assert approval.source == "registry-ui"
    until(lambda: stack.aliases(harbour.model) == {"champion": "1"}, 60, "the champion alias")

    approval = stack.approve(second)
    until(
        lambda: (found := stack.production(approval)) and found.state.phase is Phase.BAKING,
        90,
        lambda: f"baking; {stack.flow_story(approval)}",
    )
    # without judged traffic the step cannot pass, so that the rollout is under way when the lights go out
    stack.platform.down(timeout=0.5)
    assert not stack.supervisor.running()
    assert stack.production(approval).state.phase is Phase.BAKING
    stack.up()
    assert {one.version for one in stack.wiring.registry.versions(harbour.model)} == {"1", "2"}
    assert stack.standing(second).approval == approval
    until(lambda: stack.invoke(harbour.model, RECORD).status_code == 200, 60, "the endpoint serves again")

    def ended():
        assert stack.invoke(harbour.model, RECORD).status_code == 200
        rollout = stack.production(approval)
        return rollout if rollout.state.phase.final else None

    rollout = until(ended, 90, lambda: f"the end of {stack.production(approval)}")
    assert rollout.state.phase is Phase.PROMOTED, rollout.state.reason
    until(
        lambda: stack.aliases(harbour.model) == {"champion": "2", "previous": "1"}, 30, "the aliases follow"
    )
    assert len(stack.entries(second, Kind.APPROVED)) == 1
    assert stack.wiring.desk.ledger.verify() > 0


def test_down_while_on_staging(stack, harbour):
    """The flow run is cancelled before it has asked for production; the approval still stands."""
    version, _ = stack.build(harbour.write("v1"))
    approval = stack.approve(version)
    until(lambda: stack.wiring.store.rollout(f"{approval.id}:staging"), 60, "staging")
    stack.platform.down(timeout=0)
    asked = stack.production(approval)
    stack.up()
    assert asked is None or not asked.state.phase.final
    assert stack.decided(approval).state.phase is Phase.PROMOTED
