"""`seaway endpoints`, `invoke`, `rollback`, `rollout watch` and `rollout abort`."""

from __future__ import annotations

import json
import sys
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from seaway.console import Json, clear_errors, emit, fail, say, show

LOOK = 0.5
"""Seconds between two looks at a rollout."""

Endpoint = Annotated[str, typer.Argument(help="Name of the endpoint, for example late-arrivals.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(endpoints)
    app.command()(invoke)
    app.command()(rollback)
    rollout = typer.Typer(help="Watch or end a rollout.", no_args_is_help=True)
    rollout.command("watch")(watch)
    rollout.command("abort")(abort)
    app.add_typer(rollout, name="rollout")


def endpoints(as_json: Json = False) -> None:
    """Show what serves, and the rollout that runs or ran last."""
    from flows.wiring import connect
    from seaway.service import overview

    with clear_errors():
        rows = overview(connect())
    shown = ("endpoint", "model", "version", "previous", "instances", "rollout", "url")
    short = rows if as_json else [{name: row[name] for name in shown} for row in rows]
    show("endpoints", short, as_json=as_json, empty="no endpoints yet; approve a version first")


def invoke(
    endpoint: Endpoint,
    body: Annotated[str, typer.Argument(help="The request: JSON or CSV text, @FILE, or - for stdin.")],
    content_type: Annotated[str, typer.Option("--content-type")] = "",
    variant: Annotated[str, typer.Option("--variant", help="Ask this variant, whatever its weight.")] = "",
) -> None:
    """Send one request through the gateway and print the answer.

    Example: seaway invoke late-arrivals @request.json
    """
    import httpx

    from flows.wiring import connect

    text = sys.stdin.read() if body == "-" else Path(body[1:]).read_text() if body.startswith("@") else body
    kind = content_type or ("application/json" if text.lstrip()[:1] in {"{", "["} else "text/csv")
    headers = {"content-type": kind} | ({"X-Amzn-SageMaker-Target-Variant": variant} if variant else {})
    with clear_errors():
        url = connect().invocations(endpoint)
    try:
        answer = httpx.post(url, content=text.encode(), headers=headers, timeout=70, trust_env=False)
    except httpx.TransportError as error:
        raise fail(f"the gateway at {url} does not answer ({error}); try: seaway status") from error
    print(answer.text)  # noqa: T201
    say(f"[dim]{answer.status_code} {answer.headers.get('x-Amzn-Invoked-Production-Variant', '')}[/]")
    if answer.status_code != 200:
        raise typer.Exit(1)


def abort(
    endpoint: Endpoint,
    reason: Annotated[str, typer.Option("--reason")] = "",
    as_json: Json = False,
) -> None:
    """End the running rollout: all traffic goes back to the version that served before."""
    from flows.wiring import connect, operating_system_user

    with clear_errors():
        wiring = connect()
        rollout = wiring.store.abort(endpoint, reason or f"aborted by {operating_system_user()}")
    if rollout is None:
        raise fail(f"no rollout runs on endpoint {endpoint}")
    _await_end(wiring, rollout.request.id, as_json=as_json)


def rollback(
    endpoint: Endpoint,
    reason: Annotated[str, typer.Option("--reason")] = "",
    as_json: Json = False,
) -> None:
    """Return to the previous version at once: ends a running rollout, or restores what served before.

    Example: seaway rollback late-arrivals --reason "complaints from LGA"
    """
    from flows.wiring import connect, operating_system_user, utc_now

    with clear_errors():
        wiring = connect()
        why = reason or f"rolled back by {operating_system_user()}"
        rollout = wiring.store.abort(endpoint, why)
        if rollout is None:
            rollout = wiring.store.ask(_restore(wiring, endpoint, why), utc_now())
        _await_end(wiring, rollout.request.id, as_json=as_json)


def _restore(wiring: Any, endpoint: str, why: str) -> Any:
    """The wish that brings the previous release back: at once, without a bake."""
    from deploy.errors import RolloutRefused
    from deploy.plan import at_once
    from deploy.release import Request

    found = wiring.store.endpoint(endpoint)
    if found is None:
        raise RolloutRefused(f"there is no endpoint {endpoint}; `seaway endpoints` lists what there is")
    if found.previous is None:
        raise RolloutRefused(f"endpoint {endpoint} has served nothing before version {found.stable.version}")
    return Request(
        id=f"{uuid.uuid4()}:restore",
        endpoint=endpoint,
        release=found.previous,
        plan=at_once(timedelta(minutes=5)),
        champion=found.champion,
        requested_by=why,
    )


def _await_end(wiring: Any, rollout_id: str, *, as_json: bool) -> None:
    from flows.artifacts import rollout_sentence

    end = time.monotonic() + 60
    while time.monotonic() < end:
        rollout = wiring.store.rollout(rollout_id)
        if rollout.state.phase.final:
            sentence = rollout_sentence(rollout)
            emit({"rollout": rollout_id, "state": rollout.state.phase}) if as_json else say(sentence)
            return
        time.sleep(0.1)
    raise fail("the controller has not acted within a minute; try: seaway status")


def watch(
    endpoint: Endpoint,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line for every change.")] = False,
) -> None:
    """Follow the rollout of an endpoint live, until it is decided."""
    from flows.wiring import connect

    with clear_errors():
        wiring = connect()
        latest = wiring.store.rollouts(endpoint, last=1)
        if not latest:
            raise fail(f"no rollout was ever asked for on endpoint {endpoint}")
        if as_json:
            _watch_lines(wiring, latest[0].request.id)
        else:
            _watch_live(wiring, latest[0].request.id)


def _watch_lines(wiring: Any, rollout_id: str) -> None:
    said = ""
    while True:
        rollout = wiring.store.rollout(rollout_id)
        line = json.dumps(facts(rollout))
        if line != said:
            print(line, flush=True)  # noqa: T201
            said = line
        if rollout.state.phase.final:
            return
        time.sleep(LOOK)


def _watch_live(wiring: Any, rollout_id: str) -> None:
    from rich.live import Live

    with Live(refresh_per_second=4) as live:
        while True:
            rollout = wiring.store.rollout(rollout_id)
            live.update(picture(rollout))
            if rollout.state.phase.final:
                return
            time.sleep(LOOK)


def facts(rollout: Any) -> dict[str, Any]:
    """A rollout as plain data."""
    from deploy.rollout import wanted

    split = wanted(rollout.request.plan, rollout.state).split
    errors, slow = rollout.case.errors, rollout.case.slow
    return {
        "rollout": rollout.request.id,
        "version": rollout.request.release.version,
        "phase": rollout.state.phase.value,
        "step": rollout.state.step + 1,
        "steps": len(rollout.request.plan.steps),
        "weight": split.weight,
        "mirror": split.mirror,
        "new": {"answers": errors.n_c, "errors": errors.e_c, "slow": slow.e_c},
        "old": {"answers": errors.n_s, "errors": errors.e_s, "slow": slow.e_s},
        "e_value": rollout.opinion.harm if rollout.opinion else 1.0,
        "verdict": rollout.opinion.verdict.value if rollout.opinion else None,
        "reason": rollout.state.reason or (rollout.opinion.reason if rollout.opinion else ""),
    }


def picture(rollout: Any) -> Any:
    """A rollout as a small live panel: weight, evidence on its way to the limit, both versions."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table

    seen = facts(rollout)
    limit = 1 / rollout.request.judge.alpha
    share = min(1.0, max(0.0, _log(seen["e_value"]) / _log(limit)))
    table = Table.grid(padding=(0, 2))
    table.add_row("traffic", f"{_bar(seen['weight'] / 100)} {seen['weight']}% on version {seen['version']}")
    table.add_row("harm", f"{_bar(share)} e-value {seen['e_value']:.3g}, rolls back at {limit:.0f}")
    for name in ("new", "old"):
        arm = seen[name]
        table.add_row(name, f"{arm['answers']} answers, {arm['errors']} errors, {arm['slow']} slow")
    heading = f"{rollout.request.endpoint}: {seen['phase']}, step {seen['step']} of {seen['steps']}"
    return Panel(Group(table, f"[dim]{seen['reason']}[/]"), title=heading, title_align="left")


def _bar(share: float, width: int = 30) -> str:
    full = round(share * width)
    return "█" * full + "░" * (width - full)


def _log(value: float) -> float:
    import math

    return math.log(max(value, 1e-9))
