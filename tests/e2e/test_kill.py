"""kill -9 at every phase of a rollout, one victim after the other, under load.

Each victim gets one rollout and is killed in each of its phases that the rollout still reaches.
"""

from __future__ import annotations

import json
import time

import pytest

from deploy.rollout import Phase
from flows.wiring import utc_now
from registry.entry import Kind
from tests.e2e.harbour import Harbour, live
from tests.e2e.load import Load
from tests.e2e.stack import kill, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

MOMENT = 0.03
"""Seconds around a kill in which a request counts as in flight: our clock is not the kernel's."""
PHASES = ((Phase.STARTING, 0), (Phase.BAKING, 0), (Phase.BAKING, 1))


@pytest.fixture(scope="module")
def ships(stack, tmp_path_factory):
    """Two versions that differ only in their number of trees; the first one serves."""
    harbour = Harbour(tmp_path_factory.mktemp("kill") / "killed", "killed").create()
    versions = [stack.build(harbour.write(f"v{trees}", trees=trees, deadline="60s"))[0] for trees in (6, 9)]
    assert stack.deploy(versions[0]).state.phase is Phase.PROMOTED
    yield versions
    for endpoint in (harbour.model, harbour.staging):
        stack.wiring.store.remove(endpoint, "the test is over", utc_now())


def other(stack, ships):
    """The version that does not serve."""
    serving = stack.wiring.store.endpoint("killed").stable.version
    return next(one for one in ships if one.version != serving)


class Scene:
    """One rollout and its victims."""

    def __init__(self, stack, approval):
        self.stack = stack
        self.approval = approval
        self.store = stack.wiring.store
        self.archives = stack.wiring.archives

    def phase(self):
        rollout = self.stack.production(self.approval)
        return (rollout.state.phase, rollout.state.step) if rollout else None

    def ended(self):
        rollout = self.stack.production(self.approval)
        return rollout is not None and rollout.state.phase.final

    def victim(self, name):
        """Process id of a victim; 0 while there is none."""
        if name == "flow":
            return self.stack.flow_process()
        if name not in {"stable", "canary"}:
            return self.stack.pid(name)
        release = self.store.endpoint("killed").stable
        if name == "canary":
            release = self.stack.production(self.approval).request.release
        elif not self.stack.whole(release.fleet("killed", self.archives)):
            return 0  # the other instance is what its clients have while this one is gone
        return min(self.stack.instances(release.fleet("killed", self.archives)).values(), default=0)

    def strike(self, name, phase):
        """Wait for a phase and kill; None when the rollout has passed it by."""
        until(lambda: self.phase() == phase or self.ended(), 60, lambda: f"{phase}, now {self.phase()}")
        pid = until(
            lambda: self.victim(name) if self.phase() == phase else -1, 30, f"a process of {name} in {phase}"
        )
        return kill(pid) if pid > 0 else None


@pytest.mark.parametrize("victim", ["controller", "flow", "prefect", "mlflow", "stable", "canary", "envoy-1"])
def test_kill(stack, ships, victim, record_property):
    stack.platform.up()  # the former victim may still be on its way back
    version = other(stack, ships)
    before = stack.wiring.store.endpoint("killed").stable
    approvals = len(stack.entries(version, Kind.APPROVED))
    with Load(stack.wiring.invocations("killed"), live()) as load:
        approval = stack.approve(version)
        scene = Scene(stack, approval)
        strikes = []
        for phase in PHASES:
            moment = scene.strike(victim, phase)
            if moment:
                back = until(lambda m=moment[1]: load.good_after(m), 60, "the endpoint answers again")
                strikes.append((moment, round(back.end - moment[0], 3), phase))
        rollout = stack.decided(approval)
        end = "Promoted" if rollout.state.phase is Phase.PROMOTED else "RolledBack"
        until(
            lambda: stack.wiring.trigger.state(stack.run_of(version)).name == end,
            60,
            f"a flow run that ends {end}",
        )
        run = stack.run_of(version)
        flow = stack.ended(run, 60)
    bad = load.failed()
    counted = [one for one in bad if not in_flight(one, strikes)]
    record_property(
        "figures",
        json.dumps(
            {
                "victim": victim,
                "end": rollout.state.phase,
                "reason": rollout.state.reason,
                "kills": [(phase[0], phase[1], answered) for _, answered, phase in strikes],
                "requests": len(load.sent),
                "failed": len(bad),
                "refused": sum(one.refused for one in bad),
                "counted": len(counted),
                "sample": [
                    (
                        round(s.start - strikes[0][0][0], 3),
                        round(s.end - s.start, 3),
                        s.status,
                        s.variant,
                        s.error,
                        s.body[:80],
                    )
                    for s in counted[:8]
                ],
                "flow": flow.name,
                "run": str(run),
            }
        ),
    )
    assert strikes
    assert max(answered for _, answered, _ in strikes) <= 10
    assert counted == []
    assert rollout.state.phase in {Phase.PROMOTED, Phase.ROLLED_BACK}
    serving = stack.wiring.store.endpoint("killed").stable
    assert serving == (rollout.request.release if rollout.state.phase is Phase.PROMOTED else before)
    assert len(stack.entries(version, Kind.APPROVED)) == approvals + 1
    mine = [one for one in stack.wiring.store.rollouts("killed", last=200) if approval.id in one.request.id]
    assert len(mine) == 1
    assert flow.name == end


def test_flow_killed_before_production(stack, ships, record_property):
    """Nobody has asked for production yet, so that the run must be started again."""
    stack.platform.up()
    version = other(stack, ships)
    approvals = len(stack.entries(version, Kind.APPROVED))
    with Load(stack.wiring.invocations("killed"), live()) as load:
        approval = stack.approve(version)
        until(lambda: stack.wiring.store.rollout(f"{approval.id}:staging"), 60, "staging")
        moment, _ = kill(until(stack.flow_process, 60, "the flow's process"))
        until(lambda: len(stack.flow_story(approval)) == 2, 60, "the run is started again")
        record_property("seconds_to_revive", round(time.time() - moment, 1))
        rollout = stack.decided(approval, 120)
        states = [stack.ended(run).name for run in stack.runs(approval)]
    assert rollout.state.phase is Phase.PROMOTED, rollout.state.reason
    assert states == ["Crashed", "Promoted"]
    assert load.failed() == []
    assert len(stack.entries(version, Kind.APPROVED)) == approvals + 1


def in_flight(one, strikes):
    return any(one.start <= dead + MOMENT and one.end >= sent - MOMENT for (sent, dead), _, _ in strikes)
