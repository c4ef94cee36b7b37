"""What people read in the Prefect UI: pure functions from values to Markdown and table rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from configs.quantity import format_duration
from deploy.checks import CheckResult
from deploy.plan import Plan
from deploy.rollout import Phase, wanted
from deploy.stored import Event, Rollout


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table; the keys of the first are the header."""
    if not rows:
        return "_nothing_\n"
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def plan_rows(plan: Plan) -> list[dict[str, Any]]:
    """The steps of a rollout."""
    return [
        {
            "step": number,
            "weight": f"{step.weight}%",
            "mirror": f"{step.mirror}%" if step.mirror else "",
            "bake": format_duration(step.bake),
        }
        for number, step in enumerate(plan.steps, start=1)
    ]


def check_rows(results: Iterable[CheckResult]) -> list[dict[str, Any]]:
    """Endpoint tests."""
    return [
        {"test": r.name, "passed": r.passed, "found": r.detail, "seconds": round(r.seconds, 3)}
        for r in results
    ]


def timeline(events: Iterable[Event]) -> list[dict[str, Any]]:
    """A rollout's history."""
    return [
        {
            "time (UTC)": f"{event.at:%H:%M:%S.%f}"[:-4],
            "event": event.kind.replace("_", " "),
            "weight": f"{event.data['weight']}%" if "weight" in event.data else "",
            "evidence": event.data.get("evidence", ""),
            "why": event.data.get("reason", ""),
        }
        for event in events
    ]


def rollout_sentence(rollout: Rollout) -> str:
    """Where a rollout stands, in one line."""
    state, split = rollout.state, wanted(rollout.request.plan, rollout.state).split
    who = f"{rollout.request.release.model} version {rollout.request.release.version}"
    match state.phase:
        case Phase.STARTING:
            return f"{who} is starting"
        case Phase.BAKING:
            steps = len(rollout.request.plan.steps)
            why = f": {rollout.opinion.reason}" if rollout.opinion else ""
            return f"{who} at {split.weight}% (step {state.step + 1} of {steps}){why}"
        case Phase.PROMOTED:
            done = "restored" if rollout.request.restores else "promoted"
            return f"{who} was {done} on {rollout.request.endpoint}"
        case Phase.ENDED:
            return f"the shadow of {who} ended"
        case Phase.ROLLED_BACK:
            return f"{who} was rolled back: {state.reason}"
