"""The same flights model behind Seaway, MLflow, MLServer, BentoML, Ray Serve, and the limit: servers that echo.

    python -m benchmarks.serving.peers [--quick] [--seconds 2] [--rounds 2] [--venvs DIR] [--only NAME] [--json]

Each peer runs from a virtual environment of its own, which the script makes with uv from the pinned files in
`requirements/` and keeps in the cache folder. One worker process each, one thread per numeric library, no access
log. Every server, Envoy and Ray's helper processes included, is confined to the same core; the load generator
has another. All are up at once and take turns, and whoever is not at turn is stopped (SIGSTOP). Before that, all
must answer the same 100 flights with the model's own probabilities, to 1e-5. A peer that cannot be installed or
started is reported and left out.

`--page` writes the table and the plot to `docs/`. Exit status 1 when a request failed, or a server that
is installed does not start or answers something else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import load, machine, stage, venvs
from benchmarks.serving.peers import arena, page, report
from benchmarks.serving.peers.arena import CLIENTS, SIZES, Contender, Ground, NotInstalled, Unavailable
from benchmarks.serving.peers.servers import REQUIREMENTS, peers

SETTLE_SECONDS = 1.0
IDLE_SECONDS = 2.0
"""For how long a server is watched while nobody asks."""


def main() -> int:
    asked = _options().parse_args()
    if asked.quick:
        asked.rounds = asked.seconds = 1
    facts = machine.facts()
    serving, loading = _cores()
    with tempfile.TemporaryDirectory() as name:
        ground, package, expected = _ground(Path(name), asked.venvs, serving)
        os.sched_setaffinity(0, loading)
        found = _measured(ground, package, expected, asked)
    result = {
        "machine": {**facts, "load after": machine.facts()["load"]},
        "cores": {"servers": len(serving), "load generator": len(loading)},
        "rounds": asked.rounds,
        "seconds": asked.seconds,
        "peers": {one.venv: venvs.versions(REQUIREMENTS / f"{one.venv}.txt") for one in peers()},
        **found,
    }
    result["goals"] = report.goals(result)
    if asked.page:
        page.write(result)
    print(json.dumps(result, indent=1) if asked.json else report.text(result))
    return int(bool(result["broken"]) or any(row["failures"] for row in result["figures"]))


def _options() -> argparse.ArgumentParser:
    parser = machine.options(str(__doc__))
    parser.add_argument("--seconds", type=int, default=2, help="of each turn")
    parser.add_argument(
        "--rounds", type=int, default=2, help="turns of each server in each cell of the table"
    )
    parser.add_argument("--quick", action="store_true", help="one round of one second each: only a trial")
    parser.add_argument("--venvs", type=Path, default=venvs.cache(), help="folder of the environments")
    parser.add_argument(
        "--only", action="append", default=[], help="a peer by name; several times for several"
    )
    parser.add_argument("--page", action="store_true", help="write docs/explanation/serving-benchmark.md")
    return parser


def _cores() -> tuple[frozenset[int], frozenset[int]]:
    """One core for the servers, one for the load generator; the same one where there is no other."""
    allowed = sorted(os.sched_getaffinity(0))
    return frozenset(allowed[:1]), frozenset(allowed[-1:])


def _ground(folder: Path, kept: Path, cores: frozenset[int]) -> tuple[Ground, Path, Sequence[float]]:
    """The model in every form that somebody loads, flights to ask about, and the model's own answers."""
    import mlflow.sklearn
    import pandas as pd

    from steps import train

    built = stage.build(folder)
    fitted = train.load(built.trained, stage.PROJECT.parent)
    files = folder / "model"
    files.mkdir()
    (files / "model.pkl").write_bytes(pickle.dumps(fitted))
    (files / "model.onnx").write_bytes((built.package / "model.onnx").read_bytes())
    mlflow.sklearn.save_model(
        fitted,
        files / "mlflow",
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        pip_requirements=["scikit-learn"],
    )
    rows = _flights(folder)
    expected = fitted.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
    return Ground(folder, files, kept, rows, cores), built.package, expected


def _flights(folder: Path) -> Sequence[Mapping[str, Any]]:
    """The first flights of the hold-out that lack nothing: not every format has a word for a gap."""
    from flows.making import Making
    from steps import table

    making = Making.of(stage.PROJECT, folder / "runs")
    _, held = table.split(table.read(making.process().folder), making.project)
    return held.select(table.columns(making.project.data.features)).drop_nulls().head(max(SIZES)).to_dicts()


def _measured(
    ground: Ground, package: Path, expected: Sequence[float], asked: argparse.Namespace
) -> dict[str, Any]:
    missing: dict[str, str] = {}
    broken: list[str] = []
    with contextlib.ExitStack() as stack:
        up: list[Contender] = list(stack.enter_context(arena.ours(ground, package)))
        for one in up:
            arena.check(one, ground.rows, expected)
        idle = [_admitted(one, ground, asked.seconds) for one in up][:2]  # the third is the second's process
        for server in peers():
            if asked.only and server.name not in asked.only:
                continue
            attempt = contextlib.ExitStack()
            try:
                one = attempt.enter_context(arena.started(server, ground))
                arena.check(one, ground.rows, expected)
                idle.append(_admitted(one, ground, asked.seconds))
            except Unavailable as error:
                missing[f"{server.name} ({server.model})"] = str(error)
                broken += [server.name] if not isinstance(error, NotInstalled) else []
                attempt.close()
                continue
            stack.push(attempt.pop_all())
            up.append(one)
        figures = _figures(up, ground, asked.seconds, asked.rounds)
    return {"idle": idle, "figures": figures, "missing": missing, "broken": broken}


def _admitted(one: Contender, ground: Ground, seconds: int) -> dict[str, Any]:
    """Warm it up, see what it takes while nobody asks, and stop it until its turn."""
    for family in one.families:
        family.thaw()
    load.measure(one.url, one.body(ground.rows[:1]), 8, seconds)
    time.sleep(SETTLE_SECONDS)
    before = arena.seconds(one)
    time.sleep(IDLE_SECONDS)
    used = arena.seconds(one) - before
    memory = sum(family.memory() for family in one.families)
    processes = sum(len(family.members()) for family in one.families)
    for family in one.families:
        family.freeze()
    return {
        "server": one.name,
        "model": one.model,
        "cold start s": one.cold_seconds,
        "idle MiB": memory,
        "idle CPU %": 100 * used / IDLE_SECONDS,
        "processes": processes,
    }


def _figures(up: Sequence[Contender], ground: Ground, seconds: int, rounds: int) -> list[dict[str, Any]]:
    """One row per server, request size and number of clients: the median of its turns, failures added up."""
    found = []
    for size in SIZES:
        bodies = [one.body(ground.rows[:size]) for one in up]
        for clients in CLIENTS:
            turns: list[list[Mapping[str, Any]]] = [[] for _ in up]
            for _ in range(rounds):
                for one, body, seen in zip(up, bodies, turns, strict=True):
                    seen.append(arena.turn(one, body, clients, seconds))
            found += [{"rows": size, **_middle(seen)} for seen in turns]
    return found


def _middle(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    row = {key: turns[0][key] for key in ("server", "model", "clients", "generator")}
    for key in ("requests/s", "p50 ms", "p99 ms", "cpu us"):
        row[key] = statistics.median(turn[key] for turn in turns)
    rates = [turn["requests/s"] for turn in turns]
    return {
        **row,
        "range": (max(rates) - min(rates)) / row["requests/s"],
        "failures": sum(turn["failures"] for turn in turns),
    }


if __name__ == "__main__":
    sys.exit(main())
