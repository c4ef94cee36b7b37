"""`seaway prune`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from seaway.console import Json, clear_errors, emit, fail, say, show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(prune)


def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", help="Unused for so long, for example 30d; keep_days if not given.")
    ] = "",
    captures_older_than: Annotated[
        str,
        typer.Option(
            "--captures-older-than", help="The same for captured traffic; keep_captures_days if not given."
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove step folders and packages nobody uses, old traffic and labels; the platform does so too.

    Whatever an endpoint or rollout refers to stays, and so does whatever was used within the last day. Of
    captured traffic, which nobody can make again, hours that a monitor still needs stay however old they are.

    Example: seaway prune --older-than 7d --dry-run
    """
    from dataclasses import replace

    from flows.pruning import prune_captures, prune_monitoring, prune_packages, prune_steps
    from flows.wiring import connect, utc_now

    with clear_errors():
        wiring, now = connect(), utc_now()
        rule = wiring.settings.retention
        if older_than:
            rule = replace(rule, age=_age(older_than, "--older-than"))
        captures_age = _age(captures_older_than, "--captures-older-than") if captures_older_than else None
        gone = [
            item
            for remove in (prune_steps, prune_packages, prune_monitoring)
            for item in remove(wiring, now, rule, dry_run=dry_run)
        ]
        gone += prune_captures(wiring, now, captures_age, dry_run=dry_run)
    freed = sum(item.size for item in gone)
    rows = [
        {"what": item.kind or "leftover", "name": item.name, "used": item.used, "bytes": item.size}
        for item in gone
    ]
    if as_json:
        emit({"dry_run": dry_run, "bytes": freed, "removed": rows})
        return
    shown = [{**row, "used": f"{row['used']:%Y-%m-%d %H:%M}", "bytes": f"{row['bytes']:,}"} for row in rows]
    show("would go" if dry_run else "removed", shown, as_json=False, empty="nothing to remove")
    say(f"{freed / 2**20:.1f} MiB {'would be' if dry_run else 'are'} free")


def _age(text: str, option: str) -> timedelta:
    from configs.quantity import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise fail(f"{option}: {error}") from error
