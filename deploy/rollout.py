"""The rollout machine. Everything that decides where traffic goes lives here, and nothing here does anything.

`advance` names what it sees as a signal and looks the pair (phase, signal) up in `TRANSITIONS`; `wanted` says
what the world should look like. Time is an argument. Whoever calls it saves the state and makes the world so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from deploy.plan import Plan, Step


class Phase(StrEnum):
    """Where a rollout stands."""

    STARTING = "starting"
    """The new fleet is coming up; it has no traffic."""
    BAKING = "baking"
    """A step holds and is judged."""
    PROMOTED = "promoted"
    """The new version has taken over."""
    ENDED = "ended"
    """A plan without promotion (a shadow) is done; the old version serves."""
    ROLLED_BACK = "rolled_back"
    """The old version serves everything, for good."""

    @property
    def final(self) -> bool:
        """Nothing will change any more."""
        return self in {Phase.PROMOTED, Phase.ENDED, Phase.ROLLED_BACK}


class Verdict(StrEnum):
    """What the judge says of the running step."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """Not enough evidence: keep baking."""
    ERROR = "error"
    """The measurement itself failed: no data is not good news."""


class Signal(StrEnum):
    """What a look at the world means for the machine."""

    WAIT = "wait"
    READY = "ready"
    NEXT = "next"
    DONE = "done"
    END = "end"
    FAIL = "fail"


TRANSITIONS: dict[Phase, dict[Signal, Phase]] = {
    Phase.STARTING: {
        Signal.WAIT: Phase.STARTING,
        Signal.READY: Phase.BAKING,
        Signal.FAIL: Phase.ROLLED_BACK,
    },
    Phase.BAKING: {
        Signal.WAIT: Phase.BAKING,
        Signal.NEXT: Phase.BAKING,
        Signal.DONE: Phase.PROMOTED,
        Signal.END: Phase.ENDED,
        Signal.FAIL: Phase.ROLLED_BACK,
    },
    Phase.PROMOTED: {},
    Phase.ENDED: {},
    Phase.ROLLED_BACK: {},
}


@dataclass(frozen=True, slots=True)
class State:
    """All there is to remember. The same state and the same sights always give the same end."""

    phase: Phase
    step: int
    started: datetime
    """When the rollout began."""
    since: datetime
    """When the present phase and step began."""
    reason: str = ""
    """Why it ended as it did."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the world."""

    ready: bool
    """The new fleet answers with every instance the step wants."""
    applied: bool = True
    """The gateway shows the traffic the state asks for; a bake only counts from then on."""
    verdict: Verdict = Verdict.INCONCLUSIVE
    reason: str = ""
    """The judge's sentence."""
    abort: str = ""
    """A person's reason to stop; empty when nobody asked."""
    broken: str = ""
    """Why the new fleet cannot come up; empty while it still may."""


@dataclass(frozen=True, slots=True)
class Split:
    """What the new version should get."""

    weight: int
    mirror: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the world should look like in a state."""

    split: Split
    candidate: bool
    """The new fleet should run."""
    stable: bool
    """The old fleet should run."""
    share: int = 100
    """Whole percent of the full instance count that the new fleet needs; below 100 only while rolling."""
    stable_share: int = 100
    """Whole percent of the old fleet's instances that are still needed."""


def begin(now: datetime) -> State:
    """A rollout that was just asked for."""
    return State(Phase.STARTING, 0, started=now, since=now)


def advance(plan: Plan, state: State, seen: Seen, now: datetime) -> State:
    """The state after one look. Final states never change."""
    if state.phase.final:
        return state
    signal, reason = _signal(plan, state, seen, now)
    if signal is Signal.WAIT:
        return state if seen.applied or state.phase is Phase.STARTING else replace(state, since=now)
    phase = TRANSITIONS[state.phase][signal]
    step = state.step + 1 if signal is Signal.NEXT else state.step
    return State(phase, step, started=state.started, since=now, reason=reason)


def _signal(plan: Plan, state: State, seen: Seen, now: datetime) -> tuple[Signal, str]:
    if seen.abort:
        return Signal.FAIL, seen.abort
    if seen.verdict is Verdict.FAIL and state.phase is Phase.BAKING:
        return Signal.FAIL, seen.reason
    if seen.broken:
        return Signal.FAIL, seen.broken
    if now - state.started > plan.deadline:
        why = seen.reason or "the new version never became ready"
        return Signal.FAIL, f"no decision within {plan.deadline}: {why}"
    if state.phase is Phase.STARTING:
        return (Signal.READY if seen.ready else Signal.WAIT), ""
    return _baking(plan, state, seen, now)


def _baking(plan: Plan, state: State, seen: Seen, now: datetime) -> tuple[Signal, str]:
    held = seen.applied and now - state.since >= plan.steps[state.step].bake
    if not (held and seen.ready and seen.verdict is Verdict.PASS):
        return Signal.WAIT, ""
    if state.step + 1 < len(plan.steps):
        return Signal.NEXT, ""
    return (Signal.DONE if plan.promotes else Signal.END), seen.reason


def current(plan: Plan, state: State) -> Step | None:
    """The step that is being held, if any."""
    return plan.steps[state.step] if state.phase is Phase.BAKING else None


def wanted(plan: Plan, state: State) -> Wanted:
    """What gateway and fleets should look like."""
    match state.phase:
        case Phase.STARTING:
            first = plan.steps[0]
            share = first.weight if first.batched else 100
            return Wanted(Split(0), candidate=True, stable=True, share=share)
        case Phase.BAKING:
            step = plan.steps[state.step]
            share, rest = (step.weight, 100 - step.weight) if step.batched else (100, 100)
            return Wanted(Split(step.weight, step.mirror), True, True, share, rest)
        case Phase.PROMOTED:
            return Wanted(Split(100), candidate=True, stable=False)
        case Phase.ENDED | Phase.ROLLED_BACK:
            return Wanted(Split(0), candidate=False, stable=True)


def diagram() -> str:
    """The machine as a Mermaid state diagram, drawn from the table."""
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.STARTING.value}"]
    for phase, moves in TRANSITIONS.items():
        lines += [f"    {phase.value} --> {to.value}: {signal.value}" for signal, to in moves.items()]
        if phase.final:
            lines.append(f"    {phase.value} --> [*]")
    return "\n".join(lines)
