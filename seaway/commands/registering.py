"""`seaway register`: an archive becomes a version that waits for approval."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from seaway.commands.building import follow
from seaway.console import Json, clear_errors, emit, fail, say

Archive = Annotated[
    Path,
    typer.Argument(
        help="What `seaway pipeline build` wrote, an archive with code/inference.py, or a folder of models."
    ),
]
ProjectFile = Annotated[
    Path,
    typer.Option("--project", help="The project file; it needs no data, process and train."),
]
Samples = Annotated[
    Path | None,
    typer.Option("--samples", help="A list of requests and expected answers; the archive may bring its own."),
]
Request = Annotated[Path | None, typer.Option("--sample", help="One request, instead of a list.")]
Answer = Annotated[Path | None, typer.Option("--expect", help="The answer that must come back to it.")]
ContentType = Annotated[
    str, typer.Option("--content-type", help="Of the request; by the file's ending when not given.")
]
Accept = Annotated[str, typer.Option("--accept", help="The format it asks for.")]
TargetModel = Annotated[str, typer.Option("--target-model", help="Of many models, the one it is for.")]
Untried = Annotated[
    bool, typer.Option("--untried", help="Run nothing here; staging is then the first to ask.")
]
Baseline = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        help="What monitors compare with: training data, or a folder with statistics.json and the like.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("register")(register_archive)


def register_archive(
    archive: Archive,
    project: ProjectFile,
    *,
    samples: Samples = None,
    sample: Request = None,
    expect: Answer = None,
    content_type: ContentType = "",
    accept: Accept = "",
    target_model: TargetModel = "",
    untried: Untried = False,
    baseline: Baseline = None,
    as_json: Json = False,
) -> None:
    """Register a pipeline, many models, or your own code as a version that waits for approval.

    The archive is served on this machine and asked its samples first; code in it runs for that.

    Example: seaway register pipeline.tar.gz --project project.yaml --sample request.json --expect answer.json
    """
    from configs.load import load_hosting
    from configs.samples import SampleFile, absolute, load_samples
    from flows.wiring import connect, operating_system_user

    with clear_errors():
        load_hosting(project)
        if sample and samples:
            raise fail("--sample and --samples exclude each other; give one of them")
        if not sample and (expect or content_type or accept or target_model):
            raise fail("--expect, --content-type, --accept and --target-model describe --sample; give it")
        listed = load_samples(samples) if samples else ()
        if sample:
            one = SampleFile(
                request=str(sample),
                answer=str(expect or ""),
                content_type=content_type,
                accept=accept,
                target_model=target_model,
            )
            listed = (absolute(one, Path.cwd()),)
        if not archive.exists():
            raise fail(f"there is no {archive}; give an archive or a folder")
        if baseline is not None and not baseline.exists():
            raise fail(f"there is no {baseline}; give training data or the folder of a baseline")
        wiring = connect()
        parameters = {
            "archive": str(archive.resolve()),
            "project": str(project.resolve()),
            "samples": [one.model_dump() for one in listed],
            "author": operating_system_user(),
            "untried": untried,
            "baseline": str(baseline.resolve()) if baseline else "",
        }
        run = wiring.trigger.create("register/register", parameters, idempotency_key=f"cli:{uuid.uuid4()}")
        state, message = follow(wiring.trigger, run, quiet=as_json)
    _show(wiring.trigger.flow_run_url(run), (str(run), state, message), as_json=as_json)


def _show(url: str, ended: tuple[str, str, str], *, as_json: bool) -> None:
    run, state, message = ended
    shown: dict[str, Any] = {"run": run, "state": state, "message": message, "url": url}
    if as_json:
        emit(shown)
    if state != "COMPLETED":
        raise typer.Exit(1) if as_json else fail(message)
    if not as_json:
        say(f"[bold green]{message}[/]")
