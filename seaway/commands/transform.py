"""`seaway transform`."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from seaway.commands.registry import Model, Version
from seaway.console import Json, clear_errors, emit, fail, say

LOOK = 0.3
"""Seconds between two looks at a run."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(transform)


def transform(
    model: Model,
    version: Version,
    *,
    source: Annotated[str, typer.Option("--input", help="A folder, a file, or s3://bucket/prefix.")],
    output: Annotated[str, typer.Option("--output", help="A folder or s3://bucket/prefix; gets NAME.out.")],
    content_type: Annotated[str, typer.Option("--content-type", help="Format of the objects.")] = "text/csv",
    accept: Annotated[str, typer.Option("--accept", help="Format of the answers.")] = "",
    split_type: Annotated[str, typer.Option("--split-type", help="None, Line, RecordIO, TFRecord.")] = "None",
    strategy: Annotated[str, typer.Option("--strategy", help="MultiRecord or SingleRecord.")] = "",
    max_payload: Annotated[
        int | None, typer.Option("--max-payload", help="MiB in one call; 0 is unlimited, sent in chunks.")
    ] = None,
    max_concurrent: Annotated[int, typer.Option("--max-concurrent", help="Calls in flight per worker.")] = 0,
    input_filter: Annotated[str, typer.Option("--input-filter", help="What the model sees.")] = "$",
    join: Annotated[str, typer.Option("--join", help="Input joins each record with its answer.")] = "None",
    output_filter: Annotated[str, typer.Option("--output-filter", help="What is written.")] = "$",
    assemble_with: Annotated[str, typer.Option("--assemble-with", help="None or Line.")] = "None",
    compression: Annotated[str, typer.Option("--compression", help="None or Gzip.")] = "None",
    manifest: Annotated[bool, typer.Option("--manifest", help="--input is a manifest file.")] = False,
    env: Annotated[list[str] | None, typer.Option("--env", help="NAME=VALUE for the model server.")] = None,
    timeout: Annotated[int, typer.Option("--timeout", help="Seconds a call may take.")] = 600,
    max_retries: Annotated[int, typer.Option("--max-retries", help="Further tries of a call, 0 to 3.")] = 3,
    capture_to: Annotated[str, typer.Option("--capture-to", help="Where to write capture manifests.")] = "",
    inference_id: Annotated[bool, typer.Option("--inference-id", help="Append an id and the time.")] = False,
    name: Annotated[str, typer.Option("--name", help="Of the job; the same name resumes it.")] = "",
    workers: Annotated[int, typer.Option("--workers", min=1, help="Model servers on this machine.")] = 1,
    dask: Annotated[str, typer.Option("--dask", help="A Dask scheduler, whose workers are used.")] = "",
    any_status: Annotated[bool, typer.Option("--any-status", help="Also a version not approved.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it until it ends.")] = False,
    as_json: Json = False,
) -> None:
    """Send files through a registered version, one NAME.out for each.

    Example: seaway transform late-arrivals 3 --input flights --output scored --split-type Line --wait

    Example: seaway transform late-arrivals 3 --input s3://lake/in/ --output s3://lake/out/ --accept text/csv
    --split-type Line --assemble-with Line --input-filter '$[1:]' --join Input --output-filter '$[0,-1]'
    """
    from flows.wiring import connect
    from steps.transform.job import Job

    title = name or f"{re.sub(r'[^a-zA-Z0-9]+', '-', model).strip('-')[:40]}-{version}-{uuid.uuid4().hex[:8]}"
    request: dict[str, Any] = {
        "TransformJobName": title,
        "ModelName": f"{model}/{version}",
        "MaxConcurrentTransforms": max_concurrent,
        "Environment": _pairs(env or []),
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "ManifestFile" if manifest else "S3Prefix",
                    "S3Uri": _absolute(source),
                }
            },
            "ContentType": content_type,
            "CompressionType": compression,
            "SplitType": split_type,
        },
        "TransformOutput": {
            "S3OutputPath": _absolute(output),
            "Accept": accept,
            "AssembleWith": assemble_with,
        },
        "DataProcessing": {"InputFilter": input_filter, "OutputFilter": output_filter, "JoinSource": join},
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": timeout, "InvocationsMaxRetries": max_retries},
    }
    if max_payload is not None:
        request["MaxPayloadInMB"] = max_payload
    if strategy:
        request["BatchStrategy"] = strategy
    if inference_id and not capture_to:
        raise fail("--inference-id needs --capture-to, where the manifests go")
    if capture_to:
        capture = {"DestinationS3Uri": _absolute(capture_to), "GenerateInferenceId": inference_id}
        request["DataCaptureConfig"] = capture
    with clear_errors():
        Job.from_request(request).check()
        wiring = connect()
        parameters = {"request": request, "workers": workers, "dask": dask, "any_status": any_status}
        run = wiring.trigger.create("transform/transform", parameters, f"cli:{uuid.uuid4()}")
        _follow(wiring, run, title, wait=wait, as_json=as_json)


def _follow(wiring: Any, run: UUID, name: str, *, wait: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from steps.transform.journal import progress_in

    folder, url = wiring.settings.home / "transforms" / name, wiring.trigger.flow_run_url(run)
    if not wait:
        if as_json:
            emit({"name": name, "run": str(run), "url": url})
        else:
            say(f"job {name} was started: {url}")
        return
    state = _watch(wiring.trigger, run, folder, quiet=as_json)
    if as_json:
        progress = progress_in(folder)
        facts = {"state": state.type, "message": state.message, "progress": progress and asdict(progress)}
        emit({"name": name, "run": str(run), "url": url, **facts})
    if state.type != "COMPLETED":
        raise typer.Exit(1) if as_json else fail(state.message)
    if not as_json:
        say(f"[bold green]{name}: {state.message}[/]")


def _watch(trigger: Any, run: UUID, folder: Path, *, quiet: bool) -> Any:
    """A bar of bytes until the run has ended; its last state."""
    from steps.transform.journal import progress_in

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("starting", total=None)
        while True:
            state = trigger.state(run)
            if now := progress_in(folder):
                failed = f", {now.failed} failed" if now.failed else ""
                text = f"{now.finished}/{now.objects} objects{failed}"
                bar.update(task, description=text, completed=now.read, total=now.bytes)
            if state.final:
                return state
            time.sleep(LOOK)


def _absolute(place: str) -> str:
    """The worker runs in another folder."""
    return place if "://" in place or not place else str(Path(place).absolute())


def _pairs(texts: list[str]) -> dict[str, str]:
    if bad := [text for text in texts if "=" not in text]:
        raise fail(f"--env {bad[0]}: write NAME=VALUE")
    return {key: value for key, _, value in (text.partition("=") for text in texts)}
