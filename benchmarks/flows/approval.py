"""How long after the tag is set in MLflow the deploy flow's body runs.

    python -m benchmarks.flows.approval [--repeats 12] [--json]

A platform in a temporary home, one small registered model. Each time: the status tag is set to `Approved` by
the request that MLflow's page sends; the time runs from before that request to the start of the flow run
(its state RUNNING) and to the start of the flow's first task, by the clock of this machine. The deployment
then goes on to its end before the next try, so that the machine is as idle as it is after any approval.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks import machine
from registry.port import ModelVersion
from tests.e2e.harbour import Harbour
from tests.e2e.stack import Stack, until

GOAL_SECONDS = 4.0


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--repeats", type=int, default=12, help="approvals")
    asked = parser.parse_args()
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as name:
        tries = _tries(Path(name), asked.repeats)
    rows = [
        _row("flow run is RUNNING", [run for run, _ in tries]),
        _row("first task begins", [task for _, task in tries]),
    ]
    machine.show({"machine": facts, "approval": rows}, [rows], as_json=asked.json)
    return int(rows[0]["p50 s"] > GOAL_SECONDS)


def _row(what: str, seconds: list[float]) -> dict[str, Any]:
    return {
        "from the tag until": what,
        "p50 s": machine.percentile(seconds, 50),
        "max s": max(seconds),
        "goal p50 s": GOAL_SECONDS,
        "approvals": len(seconds),
    }


def _tries(folder: Path, count: int) -> list[tuple[float, float]]:
    stack: Any = Stack(folder / "home")
    try:
        stack.up()
        harbour = Harbour(folder / "tagged", "tagged").create()
        version, _ = stack.build(harbour.write("v1", bake="1s"))
        api = f"{stack.wiring.settings.url('prefect')}/api"
        with httpx.Client(base_url=api, trust_env=False, timeout=30) as prefect:
            return [_try(stack, prefect, version) for _ in range(count)]
    finally:
        stack.close()


def _try(stack: Any, prefect: httpx.Client, version: ModelVersion) -> tuple[float, float]:
    if stack.version(version).tags["approval_status"] != "PendingManualApproval":
        stack.tag(version, "PendingManualApproval")
        until(lambda: stack.standing(version).approval is None, 30, "the approval is withdrawn")
    began = time.time()
    stack.tag(version, "Approved")
    approval = stack.approval(version)
    run = stack.run_of(version)
    ended = stack.ended(run)
    if ended.type != "COMPLETED":
        raise SystemExit(f"the deployment of approval {approval.id} ended as {ended.name}: {ended.message}")
    found = prefect.get(f"/flow_runs/{run}").raise_for_status().json()
    tasks = prefect.post("/task_runs/filter", json={"flow_runs": {"id": {"any_": [str(run)]}}})
    first = min(_at(one["start_time"]) for one in tasks.raise_for_status().json() if one["start_time"])
    return _at(found["start_time"]) - began, first - began


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    sys.exit(main())
