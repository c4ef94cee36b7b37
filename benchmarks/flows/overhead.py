"""What the build flow costs over plain calls of its steps, and how soon a created flow run begins.

    python -m benchmarks.flows.overhead [--repeats 5] [--json]

Plain: `flows.making` in a new process, nothing around it. Flow: the same project through Prefect on a platform
started in a temporary home. Cold: nothing was made before; cached: the same build again. The flow also logs to
and registers in MLflow; the time of that task is shown and taken out of the overhead. The plain process
imports its libraries in its time; a flow run is forked from a process that has imported Prefect already.
Latency: from `create_flow_run` (the request is sent) to the state RUNNING, by the clock of this machine.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx

from benchmarks import machine, stage
from configs.settings import DEFAULT_PORTS, Settings
from flows.trigger import Trigger
from seaway.platform import Platform

LIMIT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Run:
    """One flow run, in seconds."""

    latency: float
    total: float
    """From RUNNING to its end."""
    register: float


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--repeats", type=int, default=5, help="cached builds")
    asked = parser.parse_args()
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        plain = [_plain(home / "plain") for _ in range(asked.repeats + 1)]
        runs = _flows(home / "home", asked.repeats + 1)
    rows = [_row("cold", plain[:1], runs[:1]), _row("cached", plain[1:], runs[1:])]
    latencies = [run.latency for run in runs]
    latency = {
        "runs": len(runs),
        "create to body p50 s": machine.percentile(latencies, 50),
        "create to body max s": max(latencies),
    }
    machine.show(
        {"machine": facts, "overhead": rows, "latency": latency}, [rows, [latency]], as_json=asked.json
    )
    return 0


def _row(what: str, plain: list[float], runs: list[Run]) -> dict[str, Any]:
    calls = machine.percentile(plain, 50)
    total = machine.percentile([run.total for run in runs], 50)
    register = machine.percentile([run.register for run in runs], 50)
    return {
        "build": what,
        "flow / plain": (total - register) / calls,
        "overhead s": total - register - calls,
        "plain s": calls,
        "flow s": total,
        "of it register s": register,
        "repeats": len(runs),
    }


def _plain(runs: Path) -> float:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_call, args=(runs, theirs))
    process.start()
    theirs.close()
    try:
        seconds: float = ours.recv()
    except EOFError:
        raise SystemExit("the plain build failed; its traceback is above") from None
    process.join()
    return seconds


def _call(runs: Path, answer: Connection) -> None:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    began = time.perf_counter()
    from flows.making import Making, collect_evidence

    making = Making.of(stage.PROJECT, runs)
    processed = making.process()
    steps = {"process": processed, "validate": making.validate(processed), "train": making.train(processed)}
    steps["evaluate"] = making.evaluate(processed, steps["train"], None)
    steps["package"] = making.package(processed, steps["train"])
    with tempfile.TemporaryDirectory() as folder:
        collect_evidence(making, "benchmark", steps, making.gates(steps["evaluate"]), Path(folder))
    answer.send(time.perf_counter() - began)


def _flows(home: Path, count: int) -> list[Run]:
    ports = {name: stage.free_port() for name in DEFAULT_PORTS}
    platform = Platform(Settings(home=home, ports=ports))
    try:
        platform.up()
        api = platform.settings.url("prefect") + "/api"
        with Trigger(api) as trigger, httpx.Client(base_url=api, trust_env=False, timeout=30) as prefect:
            return [_flow(trigger, prefect) for _ in range(count)]
    finally:
        platform.down(timeout=5)


def _flow(trigger: Trigger, prefect: httpx.Client) -> Run:
    parameters = {"project": str(stage.PROJECT), "author": "benchmark"}
    created = time.time()
    run = trigger.create("build/build", parameters, f"benchmark:{uuid.uuid4()}", ["benchmark"])
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (state := trigger.state(run)).final:
        if time.monotonic() > deadline:
            raise SystemExit(f"flow run {run} has not ended after {LIMIT_SECONDS} s: {state.message}")
        time.sleep(0.1)
    if state.type != "COMPLETED":
        raise SystemExit(f"the build flow ended as {state.type}: {state.message}")
    found = prefect.get(f"/flow_runs/{run}").raise_for_status().json()
    tasks = prefect.post("/task_runs/filter", json={"flow_runs": {"id": {"any_": [str(run)]}}})
    register = [one for one in tasks.raise_for_status().json() if one["name"].startswith("register")]
    if not register:
        raise SystemExit(f"Prefect knows no register task of flow run {run}; is its event service running?")
    began, ended = _at(found["start_time"]), _at(found["end_time"])
    return Run(began - created, ended - began, register[0]["total_run_time"])


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    sys.exit(main())
