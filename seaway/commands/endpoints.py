"""`seaway endpoints`, `invoke`, `remove`, `rollback`, `rollout watch` and `rollout abort`."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from seaway.console import Json, clear_errors, emit, fail, say, show

LOOK = 0.5
"""Seconds between two looks at a rollout."""

PATIENCE = 60.0
"""Seconds that a command waits for the end of what it asked for."""

Endpoint = Annotated[str, typer.Argument(help="Name of the endpoint, for example late-arrivals.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(endpoints)
    app.command()(invoke)
    app.command()(remove)
    app.command()(rollback)
    rollout = typer.Typer(help="Watch or end a rollout.", no_args_is_help=True)
    rollout.command("watch")(watch)
    rollout.command("abort")(abort)
    app.add_typer(rollout, name="rollout")


def endpoints(as_json: Json = False) -> None:
    """Show what serves, and the rollout that runs or ran last.

    Example: seaway endpoints --json
    """
    from flows.wiring import connect
    from seaway.service import overview

    with clear_errors():
        rows = overview(connect())
    shown = ("endpoint", "model", "version", "previous", "instances", "rollout", "url")
    short = rows if as_json else [{name: row[name] for name in shown} | _noted(row) for row in rows]
    show("endpoints", short, as_json=as_json, empty="no endpoints yet; approve a version first")


def _noted(row: dict[str, Any]) -> dict[str, str]:
    """The bounds between which the backlog moves the instances, and the end that was asked for."""
    noted = {"rollout": "is being removed"} if row["removing"] else {}
    if bounds := row["scaling"]:
        low, high = bounds["min_instances"], bounds["max_instances"]
        noted["instances"] = f"{row['instances']} ({low} to {high} by backlog)"
    return noted


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


def remove(
    endpoint: Endpoint,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before removing.")] = False,
    abort_rollout: Annotated[
        bool, typer.Option("--abort", help="End a rollout that runs on it, too.")
    ] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Remove an endpoint and all that serves it; what it is answering is finished first.

    Captured traffic, labels and the history stay. Approving a version deploys under the same name again.

    Example: seaway remove late-arrivals-staging --reason "not needed any more"
    """
    from flows.wiring import connect, operating_system_user, utc_now

    with clear_errors():
        wiring = connect()
        if not yes:
            typer.confirm(_removal_question(wiring.store.endpoint(endpoint), endpoint), abort=True, err=True)
        why = reason or f"removed by {operating_system_user()}"
        found = wiring.store.remove(endpoint, why, utc_now(), abort=abort_rollout)
        _await_removal(wiring, endpoint)
        finishing = _await_fleets(wiring, endpoint)
    if as_json:
        stable = found.stable
        emit(
            {
                "endpoint": endpoint,
                "model": stable.model if stable else None,
                "version": stable.version if stable else None,
                "reason": why,
                "finishing": finishing,
            }
        )
    elif finishing:
        say(f"endpoint {endpoint} is removed; {', '.join(finishing)} still answers what it has")
    else:
        say(f"endpoint {endpoint} is removed")


def _removal_question(found: Any, endpoint: str) -> str:
    """What a person should know before an endpoint goes."""
    if found is None:
        raise fail(f"there is no endpoint {endpoint}; `seaway endpoints` lists what there is")
    if found.stable is None:
        return f"Remove endpoint {endpoint}, which serves nothing?"
    where = "production" if found.champion else "staging"
    serves = f"version {found.stable.version} of {found.stable.model} ({where})"
    return f"Remove endpoint {endpoint}, which serves {serves}? Its callers will be refused."


def _await_removal(wiring: Any, endpoint: str) -> None:
    """Return when nobody can call the endpoint any more."""
    end = time.monotonic() + PATIENCE
    while (found := wiring.store.endpoint(endpoint)) is not None and found.removed:
        if time.monotonic() > end:
            raise fail(
                f"endpoint {endpoint} is not removed after {PATIENCE:.0f} s, but will be; "
                "`seaway status` shows if the controller and the gateway run"
            )
        time.sleep(0.1)


def _await_fleets(wiring: Any, endpoint: str) -> list[str]:
    """Return when the endpoint's fleets have ended; ids of those that need longer than `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while left := [fleet.id for fleet in wiring.store.retiring() if fleet.endpoint == endpoint]:
        if time.monotonic() > end:
            return left
        time.sleep(0.1)
    return []


def abort(
    endpoint: Endpoint,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """End the running rollout: all traffic goes back to the version that served before.

    Exit code 1 when no rollout runs, or when it was promoted before it could be ended.

    Example: seaway rollout abort late-arrivals --reason "complaints from LGA"
    """
    from flows.wiring import connect, operating_system_user

    with clear_errors():
        wiring = connect()
        rollout = wiring.store.abort(endpoint, reason or f"aborted by {operating_system_user()}")
        if rollout is None:
            raise fail(f"no rollout runs on endpoint {endpoint}; `seaway endpoints` shows what serves")
        ended = _await_end(wiring, rollout.request.id)
    _tell_end(ended, as_json=as_json)
    if ended.state.phase.value == "promoted":
        raise fail(f"the rollout was promoted before it could be ended; try: seaway rollback {endpoint}")


def rollback(
    endpoint: Endpoint,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Return to the previous version at once: ends a running rollout, or restores what served before.

    Exit code 1 when there is nothing to return to, or when the previous version does not start.

    Example: seaway rollback late-arrivals --reason "complaints from LGA"
    """
    from flows.wiring import connect, operating_system_user

    with clear_errors():
        wiring = connect()
        why = reason or f"rolled back by {operating_system_user()}"
        running = wiring.store.abort(endpoint, why)
        ended = _await_end(wiring, running.request.id) if running else None
        if ended is None or ended.state.phase.value == "promoted":
            ended = _await_end(wiring, _restore(wiring, endpoint, why))
            restored = ended.state.phase.value == "promoted"
        else:
            restored = True
    _tell_end(ended, as_json=as_json)
    if not restored:
        raise typer.Exit(1)


def _restore(wiring: Any, endpoint: str, why: str) -> str:
    """Ask for the previous release, at once and without a bake; returns the rollout's id."""
    from deploy.errors import RolloutRefused
    from deploy.plan import at_once
    from deploy.release import RESTORE, Request
    from flows.wiring import utc_now

    found = wiring.store.endpoint(endpoint)
    if found is None:
        raise RolloutRefused(f"there is no endpoint {endpoint}; `seaway endpoints` lists what there is")
    if found.stable is None:
        raise RolloutRefused(f"endpoint {endpoint} serves nothing, so there is nothing to return to")
    if found.previous is None:
        raise RolloutRefused(f"endpoint {endpoint} has served nothing before version {found.stable.version}")
    last = wiring.store.rollouts(endpoint, last=1)
    request = Request(
        id=f"{uuid.uuid4()}{RESTORE}",
        endpoint=endpoint,
        release=found.previous,
        plan=at_once(timedelta(minutes=5)),
        champion=found.champion,
        requested_by=why,
        notify=last[0].request.notify if last else (),
    )
    wiring.store.ask(request, utc_now())
    return request.id


def _await_end(wiring: Any, rollout_id: str) -> Any:
    """The rollout once it has ended; gives up after `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not (rollout := wiring.store.rollout(rollout_id)).state.phase.final:
        if time.monotonic() > end:
            raise fail(
                f"nothing is decided after {PATIENCE:.0f} s; `seaway status` shows if the controller runs, "
                f"and `seaway rollout watch {rollout.request.endpoint}` follows the rollout"
            )
        time.sleep(0.1)
    return rollout


def _tell_end(rollout: Any, *, as_json: bool) -> None:
    from flows.artifacts import rollout_sentence

    if as_json:
        emit({"rollout": rollout.request.id, "state": rollout.state.phase, "reason": rollout.state.reason})
    else:
        say(rollout_sentence(rollout))


def watch(
    endpoint: Endpoint,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line for every change.")] = False,
) -> None:
    """Follow the latest rollout of an endpoint live, until it is decided.

    Exit code 0 when it was promoted or a shadow ended, 1 when it was rolled back.

    Example: seaway rollout watch late-arrivals
    """
    from flows.wiring import connect

    with clear_errors():
        wiring = connect()
        latest = wiring.store.rollouts(endpoint, last=1)
        if not latest:
            raise fail(f"no rollout was ever asked for on endpoint {endpoint}; try: seaway endpoints")
        looks = _looks(wiring, latest[0].request.id)
        if as_json:
            last = _print_changes(looks, lambda rollout: json.dumps(facts(rollout)))
        elif sys.stdout.isatty():
            last = _watch_live(looks)
        else:
            last = _print_changes(looks, _sentence)
    if last.state.phase.value == "rolled_back":
        raise typer.Exit(1)


def _looks(wiring: Any, rollout_id: str) -> Iterator[Any]:
    """The rollout as it is now, again and again until it has ended."""
    while True:
        rollout = wiring.store.rollout(rollout_id)
        yield rollout
        if rollout.state.phase.final:
            return
        time.sleep(LOOK)


def _print_changes(looks: Iterator[Any], text: Callable[[Any], str]) -> Any:
    """Print a line whenever it differs from the one before; returns the last look."""
    said = rollout = None
    for rollout in looks:
        line = text(rollout)
        if line != said:
            print(line, flush=True)  # noqa: T201
            said = line
    return rollout


def _sentence(rollout: Any) -> str:
    from flows.artifacts import rollout_sentence

    return rollout_sentence(rollout)


def _watch_live(looks: Iterator[Any]) -> Any:
    from rich.live import Live

    rollout = None
    with Live(refresh_per_second=4) as live:
        for rollout in looks:
            live.update(picture(rollout))
    return rollout


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
