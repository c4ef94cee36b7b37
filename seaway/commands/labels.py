"""`seaway labels`: what really happened, brought in, and how far it has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from seaway.console import Json, clear_errors, emit, fail, say, show

if TYPE_CHECKING:
    from steps.joining import Status
    from steps.labels import Added

Endpoint = Annotated[str, typer.Argument(help="Name of the endpoint, for example late-arrivals.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    labels = typer.Typer(help="What really happened: labels of captured predictions.", no_args_is_help=True)
    labels.command("add")(add)
    labels.command("status")(status)
    app.add_typer(labels, name="labels")


def add(
    endpoint: Endpoint,
    source: Annotated[
        str,
        typer.Argument(help="A CSV, Parquet or JSON Lines file, a folder of them, or s3://bucket/prefix."),
    ],
    id_column: Annotated[
        str, typer.Option("--id", help="Column with the inference or event id; the usual names if not given.")
    ] = "",
    label_column: Annotated[
        str, typer.Option("--label", help="Column with the label; the usual names if not given.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Import labels of predictions that an endpoint has made.

    A table has a column with the caller's inference id (or the event id) and one with the label; a column row
    tells the rows of one request apart. JSON Lines may be SageMaker's ground-truth records. Importing a file
    twice changes nothing. Exit code 1 when a file held no label at all.

    Example: seaway labels add late-arrivals outcomes.csv --id booking --label was_late
    """
    from flows.wiring import connect, utc_now
    from seaway.labels import document
    from steps import labels
    from steps.labelled import Columns

    with clear_errors():
        wiring = connect()
        if wiring.store.endpoint(endpoint) is None:
            raise fail(f"there is no endpoint {endpoint}; `seaway endpoints` lists what there is")
        home = wiring.settings.home
        found = labels.add(home, endpoint, source, utc_now(), Columns(id_column, label_column))
    if as_json:
        emit({**document(found), "files": found.files, "files_known": found.known})
    else:
        _tell(endpoint, found)
    if found.refused and not found.accepted and not found.known:
        raise typer.Exit(1)


def _tell(endpoint: str, found: Added) -> None:
    known = f", {found.known} of them imported before" if found.known else ""
    files = "1 file" if found.files == 1 else f"{found.files} files"
    say(f"endpoint {endpoint}: {found.accepted:,} labels from {files}{known}")
    for reason, count in found.reasons.items():
        say(f"[red]refused[/] {count:,}: {reason}")


def status(
    endpoint: Endpoint,
    since: Annotated[str, typer.Option("--from", help="How far back, for example 7d.")] = "7d",
    as_json: Json = False,
) -> None:
    """Show how many predictions have a label, how long labels take, and which belong to no prediction.

    Example: seaway labels status late-arrivals --from 2d
    """
    from configs.quantity import parse_duration
    from flows.wiring import connect, utc_now
    from steps import joining

    try:
        span = parse_duration(since)
    except ValueError as error:
        raise fail(f"--from: {error}") from error
    with clear_errors():
        now = utc_now()
        found = joining.status(connect().settings.home, endpoint, now - span, now)
    if as_json:
        emit(status_document(found))
        return
    _show(found)


def status_document(found: Status) -> dict[str, Any]:
    """How far labels have come, as plain data; times in seconds."""
    rows, labelled = sum(one.rows for one in found.rows), sum(one.labelled for one in found.rows)
    return {
        "rows": rows,
        "labelled": labelled,
        "coverage": labelled / rows if rows else None,
        "delay": _delay(found),
        "labels": sum(one.labels for one in found.labels),
        "orphans": sum(one.orphans for one in found.labels),
        "predicted": [
            {
                "hour": f"{one.hour:%Y-%m-%dT%H:00Z}",
                "variant": one.variant,
                "rows": one.rows,
                "labelled": one.labelled,
                "coverage": one.share,
                "median_delay": one.delay,
            }
            for one in found.rows
        ],
        "collected": [
            {"hour": f"{one.hour:%Y-%m-%dT%H:00Z}", "labels": one.labels, "orphans": one.orphans}
            for one in found.labels
        ],
    }


def _delay(found: Status) -> dict[str, float | None] | None:
    """Rows that still wait count as taking at least as long as they have waited."""
    import numpy as np

    from monitoring.quality.arrival import arrival

    known = arrival(np.array(found.delays, dtype=float), np.array(found.waiting, dtype=float))
    if known is None:
        return None
    return {"median": known.median, "p90": known.p90, "still_to_come": known.expected}


def _show(found: Status) -> None:
    document = status_document(found)
    rows = [
        {**one, "coverage": f"{one['coverage']:.1%}", "median_delay": _duration(one["median_delay"])}
        for one in document["predicted"]
    ]
    show(
        "labels of predictions, by hour of the prediction", rows, as_json=False, empty="no decoded hours yet"
    )
    if document["collected"]:
        show("labels, by hour of their collection", document["collected"], as_json=False)
    if document["delay"] and document["delay"]["median"] is not None:
        say(f"half of the labels are there {_duration(document['delay']['median'])} after the prediction")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
