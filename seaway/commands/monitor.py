"""`seaway monitor start|stop|status|run|list|alerts|history|export`."""

from __future__ import annotations

import uuid
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from seaway.console import FailOnViolation, Json, clear_errors, emit, fail, say, show

Endpoint = Annotated[str, typer.Argument(help="Name of the endpoint, for example late-arrivals.")]
Last = Annotated[int, typer.Option("--last", help="How many.", min=1, max=10_000)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    monitor = typer.Typer(help="Watch what an endpoint captures.", no_args_is_help=True)
    for command in (start, stop, status, run, history, alerts, decisions, export):
        monitor.command()(command)
    monitor.command("list")(executions)
    app.add_typer(monitor, name="monitor")


def start(
    endpoint: Endpoint,
    project: Annotated[
        Path | None,
        typer.Option("--project", help="Take the section `monitor:` of this file, not the version's."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Watch an endpoint by its schedule. A promotion does so by itself when the project has `monitor:`.

    Example: seaway monitor start late-arrivals
    """
    from configs.load import load_hosting
    from deploy.errors import RolloutRefused
    from flows.monitoring import watching
    from flows.wiring import connect, utc_now

    with clear_errors():
        wiring = connect()
        settings = load_hosting(project).project.monitor if project else None
        if project and settings is None:
            raise RolloutRefused(f"{project} has no section `monitor:`; add one")
        watch = watching.start(wiring, endpoint, utc_now(), settings)
        due = watching.next_run(watch, utc_now())
    if as_json:
        emit({"endpoint": endpoint, "status": watch.status, "next": due})
    else:
        say(f"{endpoint} is watched; the first window is looked at {_time(due)} UTC")


def stop(endpoint: Endpoint, as_json: Json = False) -> None:
    """Watch an endpoint no more; executions that are under way end as Stopped.

    Example: seaway monitor stop late-arrivals
    """
    from flows.monitoring import watching
    from flows.wiring import connect, utc_now

    with clear_errors():
        count = watching.stop(connect(), endpoint, utc_now())
    if as_json:
        emit({"endpoint": endpoint, "status": watching.STOPPED, "stopping": count})
    else:
        say(f"{endpoint} is not watched any more" + (f"; {count} executions will stop" if count else ""))


def status(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint; all when not given.")] = "",
    as_json: Json = False,
) -> None:
    """Show what is watched, what the latest executions said, and which alarms are in alert.

    Example: seaway monitor status
    """
    from flows.monitoring.logbook import Logbook
    from flows.wiring import connect

    with clear_errors():
        logbook = Logbook.of(connect().engine)
        rows = [_standing(logbook, watch) for watch in logbook.history.watches()]
    shown = [row for row in rows if endpoint in {"", row["endpoint"]}]
    show("monitoring", shown, as_json=as_json, empty="nothing is watched; try: seaway monitor start ENDPOINT")


def _standing(logbook: Any, watch: Any) -> dict[str, Any]:
    latest = [one for one in logbook.latest() if one.endpoint == watch.endpoint]
    ringing = [one.alarm for one in logbook.alerts.alerts(watch.endpoint) if one.status.value == "InAlert"]
    said = ", ".join(f"{one.schedule} {one.status.value} ({len(one.violations)})" for one in latest)
    return {
        "endpoint": watch.endpoint,
        "status": watch.status,
        "since": _time(watch.since),
        "latest": said,
        "in alert": ", ".join(ringing),
        "why": watch.reason,
    }


def run(
    *,
    endpoint: Endpoint,
    since: Annotated[
        str, typer.Option("--from", help="Begin of the window: so long ago, 5h, or a time, 2026-03-01T10:00.")
    ] = "1h",
    until: Annotated[str, typer.Option("--to", help="Its end, in the same way.")] = "0s",
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Only data-quality, model-quality, bias or explainability."),
    ] = None,
    fail_on_violation: FailOnViolation = False,
    as_json: Json = False,
) -> None:
    """Look at a window now, whatever the schedule says. No alarm follows from it.

    Exit code 1 when it could not be looked at.

    Example: seaway monitor run late-arrivals --from 5h --to 1h
    """
    from flows.monitoring.windows import SCHEDULES, on_demand
    from flows.wiring import connect, utc_now
    from seaway.commands.building import follow

    with clear_errors():
        wiring, now = connect(), utc_now()
        window = _window(since, until, now)
        named = {name: one for one, name in SCHEDULES.items()}
        if unknown := [name for name in kind or () if name not in named]:
            raise fail(f"there is no kind {unknown[0]}; take {', '.join(named)}")
        kinds = [named[name] for name in kind or ()]
        on_demand(*window)
        parameters = {
            "endpoint": endpoint,
            "start": window[0].isoformat(),
            "end": window[1].isoformat(),
            "kinds": kinds,
        }
        asked = wiring.trigger.create("monitor/monitor", parameters, idempotency_key=f"cli:{uuid.uuid4()}")
        state, message = follow(wiring.trigger, asked, quiet=as_json)
        done = [one for one in _latest(wiring, endpoint) if one.flow_run == str(asked)]
    _tell(done, message, as_json=as_json)
    if state != "COMPLETED":
        raise typer.Exit(1) if as_json and done else fail(message)
    if fail_on_violation and any(one.violations for one in done):
        raise typer.Exit(1)


def _window(since: str, until: str, now: datetime) -> tuple[datetime, datetime]:
    """Begin and end; whole seconds, so that the same words soon after mean another window."""
    start, end = (_moment(text, now).replace(microsecond=0) for text in (since, until))
    return start, end


def _moment(text: str, now: datetime) -> datetime:
    from datetime import UTC

    from configs.quantity import parse_duration

    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        return now - parse_duration(text)
    except ValueError:
        raise fail(
            f"{text!r} is neither a duration nor a time; write for example 5h or 2026-03-01T10:00"
        ) from None


def _latest(wiring: Any, endpoint: str) -> tuple[Any, ...]:
    from flows.monitoring.logbook import Logbook

    found: tuple[Any, ...] = Logbook.of(wiring.engine).history.executions(endpoint, last=200)
    return found


def _tell(done: list[Any], message: str, *, as_json: bool) -> None:
    if as_json:
        emit([_facts(one) for one in done])
        return
    for one in done:
        say(f"{one.kind}: {one.exit_message}")
        rows = [violation.record() for violation in one.violations]
        if rows:
            show(f"violations of {one.kind}", _even(rows), as_json=False)
        for note in one.notes:
            say(f"[dim]{note}[/]")
        say(f"files: {one.report}")
    say(message)


def _even(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same columns in every row."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, "") for name in names} for row in rows]


def _facts(execution: Any) -> dict[str, Any]:
    from flows.monitoring.reports import summary

    violations = [violation.record() for violation in execution.violations]
    return {**summary(execution, ()), "violations": violations, "report": execution.report}


def executions(
    endpoint: Endpoint,
    schedule: Annotated[str, typer.Option("--schedule", help="Only this one, for example bias.")] = "",
    last: Last = 20,
    as_json: Json = False,
) -> None:
    """List executions, newest first.

    Example: seaway monitor list late-arrivals --schedule data-quality
    """
    from flows.monitoring.logbook import Logbook
    from flows.monitoring.telling import execution_rows
    from flows.wiring import connect

    with clear_errors():
        found = Logbook.of(connect().engine).history.executions(endpoint, schedule, last=last)
    if as_json:
        emit([_facts(one) for one in found])
        return
    show(f"executions of {endpoint}", execution_rows(found), as_json=False, empty="no executions yet")


def alerts(endpoint: Endpoint, last: Last = 50, as_json: Json = False) -> None:
    """Show how alarms stand, how they came to, and what was done about them.

    Example: seaway monitor alerts late-arrivals
    """
    from flows.monitoring.logbook import Logbook
    from flows.wiring import connect

    with clear_errors():
        kept = Logbook.of(connect().engine).alerts
        standing = [_alert(one) for one in kept.alerts(endpoint)]
        past = [_alert(one) for one in kept.history(endpoint, last)]
        done = [
            {
                "since": _time(one.alert.since),
                "alarm": one.alert.alarm,
                "action": one.name,
                "outcome": one.outcome,
            }
            for one in kept.taken(endpoint, last)
        ]
    if as_json:
        emit({"alerts": standing, "history": past, "actions": done})
        return
    show("alerts", standing, as_json=False, empty="no alarm was ever in alert")
    if past:
        show("history", past, as_json=False)
    if done:
        show("actions", done, as_json=False)


def _alert(alert: Any) -> dict[str, Any]:
    return {
        "alarm": alert.alarm,
        "status": alert.status.value,
        "since": _time(alert.since),
        "monitor": alert.kind,
        "version": alert.version,
        "why": alert.reason,
    }


def decisions(endpoint: Endpoint, last: Last = 50, as_json: Json = False) -> None:
    """Show what was decided about retraining and going back, and what was not done for which reason.

    Example: seaway monitor decisions late-arrivals
    """
    from flows.monitoring.decisions import Decisions
    from flows.wiring import connect

    with clear_errors():
        found = Decisions(connect().engine).latest(endpoint, last=last)
    rows = [
        {"at": _time(one.at), "about": one.about, "acted": one.acted, "why": one.reason, "figures": one.data}
        for one in found
    ]
    if as_json:
        emit(rows)
        return
    shown = [{name: row[name] for name in ("at", "about", "acted", "why")} for row in rows]
    show(f"decisions for {endpoint}", shown, as_json=False, empty="nothing had to be decided yet")


def history(
    endpoint: Endpoint,
    figure: Annotated[str, typer.Option("--figure", help="Only this one, for example f1.")] = "",
    schedule: Annotated[str, typer.Option("--schedule", help="Only of this one, for example bias.")] = "",
    every_version: Annotated[
        bool, typer.Option("--every-version", help="Also figures that labels replaced which came late.")
    ] = False,
    last: Last = 100,
    as_json: Json = False,
) -> None:
    """Show figures over time, newest first.

    Example: seaway monitor history late-arrivals --figure feature_baseline_drift_distance
    """
    from flows.monitoring.logbook import Logbook
    from flows.wiring import connect

    with clear_errors():
        kept = Logbook.of(connect().engine).history
        points = kept.figures(endpoint, figure, schedule, every_version=every_version, last=last)
    rows = [
        {
            "scheduled (UTC)": _time(point.window.scheduled),
            "schedule": point.schedule,
            "figure": point.figure.name,
            "value": point.figure.value,
            "low": point.figure.low,
            "high": point.figure.high,
            "n": point.figure.n,
            "estimated": point.figure.estimated,
            "of": ", ".join(f"{name}={text}" for name, text in point.figure.dimensions),
            "variant": point.variant,
            "look": point.version,
        }
        for point in points
    ]
    show(f"figures of {endpoint}", rows, as_json=as_json, empty="no figures yet")


def export(
    *,
    endpoint: Endpoint,
    to: Annotated[Path, typer.Option("--to", help="Folder to write into; made if need be.")],
    form: Annotated[str, typer.Option("--format", help="csv, parquet or tensorboard.")] = "csv",
    schedule: Annotated[str, typer.Option("--schedule", help="Only of this one, for example bias.")] = "",
    every_version: Annotated[
        bool, typer.Option("--every-version", help="Also figures that labels replaced which came late.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write figures, executions and violations as tables, or as event files for TensorBoard.

    Example: seaway monitor export late-arrivals --to history --format parquet
    """
    from flows.monitoring.exporting import write
    from flows.monitoring.logbook import Logbook
    from flows.wiring import connect

    with clear_errors():
        history = Logbook.of(connect().engine).history
        files = write(history, endpoint, to, form, schedule=schedule, every_version=every_version)
    if as_json:
        emit({"endpoint": endpoint, "format": form, "files": [str(file) for file in files]})
    else:
        say("\n".join(f"{file}" for file in files) or "nothing to export yet")


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "never"
