"""`seaway build` and `seaway plan`."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from seaway.console import Json, clear_errors, emit, fail, say, show

LOOK = 0.3
"""Seconds between two looks at a run."""

ProjectFile = Annotated[
    Path, typer.Argument(help="The project file, for example examples/flights/project.yaml.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(build)
    app.command()(plan)


def build(
    project: ProjectFile,
    from_step: Annotated[
        str, typer.Option("--from", help="Run again from: process validate train evaluate package register.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Run every step, changed or not.")] = False,
    as_json: Json = False,
) -> None:
    """Process, validate, train, evaluate, gate, package and register a version.

    Example: seaway build examples/flights/project.yaml
    """
    from configs.load import load
    from flows.wiring import connect, operating_system_user

    with clear_errors():
        load(project)
        file = project.resolve()
        wiring = connect()
        parameters = {
            "project": str(file),
            "from_step": from_step,
            "force": force,
            "author": operating_system_user(),
        }
        run = wiring.trigger.create("build/build", parameters, idempotency_key=f"cli:{uuid.uuid4()}")
        state, message = follow(wiring.trigger, run, quiet=as_json)
    if as_json:
        emit({"run": str(run), "state": state, "message": message, "url": wiring.trigger.flow_run_url(run)})
    if state != "COMPLETED":
        raise typer.Exit(1) if as_json else fail(message)
    if not as_json:
        say(f"[bold green]{message}[/]")


def follow(trigger: Any, run: UUID, *, quiet: bool = False) -> tuple[str, str]:
    """Print a run's log lines until it has ended; returns type and message of its last state."""
    last = None
    if not quiet:
        say(f"[dim]{trigger.flow_run_url(run)}[/]")
    while True:
        state = trigger.state(run)
        for line in trigger.logs(run, last):
            last = line
            if not quiet and "Finished in state" not in line.message:
                say(f"[dim]{line.at.astimezone():%H:%M:%S}[/] {line.message}")
        if state.final:
            return state.type, state.message
        time.sleep(LOOK)


def plan(project: ProjectFile, as_json: Json = False) -> None:
    """Show what a deployment of the project would do, or why its target cannot do it.

    Example: seaway plan examples/flights/project.yaml
    """
    from configs.load import load_hosting
    from configs.settings import Settings
    from deploy.plan import check_serving
    from deploy.plan import plan as make_plan
    from deploy.targets.memory import MemoryTarget
    from flows.artifacts import plan_rows

    with clear_errors():
        found = load_hosting(project).project
        check_serving(found, found.target or Settings.load().target)
        production = found.production
        made = make_plan(production.rollout, MemoryTarget().capabilities, production.most_instances)
    show(f"rollout on endpoint {production.endpoint}", plan_rows(made), as_json=as_json)
