"""`seaway replay`."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from seaway.console import Json, clear_errors, emit, fail, say, show

Labels = Annotated[
    Path | None,
    typer.Option("--labels", help="CSV, Parquet or JSON Lines with event_id (or inference_id) and label."),
]
SliceBy = Annotated[str, typer.Option("--slice", help="Part the report by the values of this input.")]
Since = Annotated[str, typer.Option("--from", help="How far back captured requests go, for example 24h.")]
Tolerance = Annotated[
    float, typer.Option("--tolerance", help="Largest score difference that counts as none.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(replay)


def replay(
    *,
    endpoint: Annotated[str, typer.Option("--endpoint", help="Whose captured requests.")],
    candidate: Annotated[str, typer.Option("--candidate", help="Version to try, for example 4.")],
    champion: Annotated[
        str, typer.Option("--champion", help="Version beside it; what serves if not given.")
    ] = "",
    since: Since = "24h",
    labels: Labels = None,
    sample: Annotated[str, typer.Option("--sample", help="Part of the requests, for example 10%.")] = "100%",
    slice_by: SliceBy = "",
    tolerance: Tolerance = 0.0,
    fail_above: Annotated[
        str, typer.Option("--fail-above", help="Exit 1 when more rows are decided otherwise, for example 2%.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Ask a candidate the requests that were captured, off the live path, and compare its answers.

    The report becomes evidence of the candidate, which its approval may require. Exit code 1 when the
    evidence failed.

    Example: seaway replay --endpoint late-arrivals --from 24h --candidate 4 --fail-above 2%
    """
    from flows.replaying import PAGE, REPORT, folder
    from flows.wiring import connect, operating_system_user
    from seaway.commands.building import follow

    report_id = str(uuid.uuid4())
    with clear_errors():
        parameters = {
            "endpoint": endpoint,
            "candidate": candidate,
            "champion": champion,
            "since": since,
            "sample": share(sample, "--sample"),
            "labels": str(labels.resolve(strict=True)) if labels else "",
            "slice_by": slice_by,
            "tolerance": tolerance,
            "most_changed": share(fail_above, "--fail-above") if fail_above else None,
            "author": operating_system_user(),
            "report_id": report_id,
        }
        wiring = connect()
        run = wiring.trigger.create("replay/replay", parameters, idempotency_key=f"cli:{report_id}")
        state, message = follow(wiring.trigger, run, quiet=as_json)
        if state != "COMPLETED":
            raise fail(message)
        place = folder(wiring.settings.home, report_id)
        report = json.loads((place / REPORT).read_text())
    tell(report, place / PAGE, as_json=as_json)


def share(text: str, option: str) -> float:
    """A share as people write it, `10%` or `0.1`."""
    try:
        found = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise fail(f"{option}: {text!r} is not a share; write for example 10%")
    return found


def tell(report: dict[str, Any], page: Path | None, *, as_json: bool) -> None:
    """Print a comparison; exit code 1 when it failed."""
    from flows.comparing import sentence
    from steps.comparison_tables import sections

    if as_json:
        emit({**report, "page": str(page) if page else None})
    else:
        for title, rows in sections(report["comparison"]):
            show(title, rows, as_json=False)
        say(f"{report['candidate']} beside {report['champion']}: {sentence(report)}")
        for reason in report["reasons"]:
            say(f"[red]failed[/]: {reason}")
        if page:
            say(f"report: {page.as_uri()}")
    if report["verdict"] == "failed":
        raise typer.Exit(1)
