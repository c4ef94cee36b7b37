"""The transform flow: every object below a prefix through a registered version.

Killed at any moment, it goes on where it was when the same job is started again: finished objects are in the
job's journal, and an object's result is written whole or not at all.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from configs.project import Hosting
from deploy.errors import Permanent as DeployPermanent
from flows import artifacts
from flows.dossier import fetch, kept_archive, project_of
from flows.retrying import is_temporary
from flows.wiring import Wiring, connect, utc_now
from registry.errors import NotFound
from registry.errors import Permanent as RegistryPermanent
from registry.standing import standing
from steps.errors import Permanent as StepPermanent
from steps.transform.errors import JobRefused
from steps.transform.job import Job
from steps.transform.journal import Progress
from steps.transform.port import Model, Runner
from steps.transform.processes import Processes
from steps.transform.run import Outcome
from steps.transform.run import transform as run_job

TOLD = 2.0
"""Seconds between two updates of the progress in the Prefect UI."""
SHOWN = 200
"""Failures that the table shows; the journal's folder has the logs of all."""


@flow(name="transform", flow_run_name="transform-{request[TransformJobName]}")
def transform(
    request: dict[str, Any],
    workers: int = 1,
    dask: str = "",
    any_status: bool = False,  # noqa: FBT001, FBT002 - Prefect's parameters go by name
) -> State[Any]:
    """Transform the objects of a job.

    Args:
        request: a `CreateTransformJob` request; `ModelName` is `MODEL/VERSION`.
        workers: model servers on this machine.
        dask: address of a Dask scheduler, whose workers are used instead.
        any_status: also for a version that is not approved.
    """
    wiring = connect()
    try:
        job = Job.from_request(request)
        job.check()
        model = collect(wiring, job, any_status=any_status)
        outcome = run(job, model, runner(workers, dask), folder_of(wiring, job))
    except (StepPermanent, DeployPermanent, RegistryPermanent) as stop:
        return Failed(name="Stopped", message=str(stop))
    return report(job, outcome)


def folder_of(wiring: Wiring, job: Job) -> Path:
    """Where a job keeps its journal."""
    return wiring.settings.home / "transforms" / job.transform_job_name


def runner(workers: int, dask: str) -> Runner:
    """Local processes, or a Dask cluster.

    Raises:
        JobRefused: Dask is not installed.
    """
    if not dask:
        return Processes(workers)
    try:
        from steps.transform.dask import Dask
    except ImportError as error:
        raise JobRefused("Dask is not installed; run: pip install 'seaway[dask]'") from error
    return Dask(dask)


@task(name="collect package", retries=5, retry_delay_seconds=2, retry_condition_fn=is_temporary)
def collect(wiring: Wiring, job: Job, *, any_status: bool) -> Model:
    """The version's package, verified against its approval, or its registration when any status will do."""
    model, _, number = job.model_name.rpartition("/")
    if not model or not number:
        raise JobRefused(f"ModelName is {job.model_name!r}; write MODEL/VERSION, for example late-arrivals/3")
    current = standing(wiring.desk.ledger.entries(model, number))
    if current.approval:
        subject = (model, number, current.approval.id)
        dossier = fetch(wiring.registry, wiring.desk.ledger, wiring.archives, subject)
        return _served(dossier.project, dossier.archive, current.approval.digest)
    if not any_status:
        raise JobRefused(
            f"{model} version {number} is {current.status}, not Approved; approve it, or pass --any-status"
        )
    return _unapproved(wiring, model, number)


def _unapproved(wiring: Wiring, model: str, number: str) -> Model:
    version = next((one for one in wiring.registry.versions(model) if one.version == number), None)
    if version is None:
        raise NotFound(f"version {number} of {model} is not in the registry; see: seaway models {model}")
    digest = version.tags.get("digest", "")
    archive = kept_archive(wiring.registry, version, wiring.archives, digest)
    if not version.tags.get("project_digest"):
        return Model(archive, digest)  # somebody registered a bare package
    return _served(project_of(wiring.registry, version), archive, digest)


def _served(project: Hosting, archive: Path, digest: str) -> Model:
    """The package as endpoints serve it, but for an image of its own."""
    if project.container.image:
        raise JobRefused(
            f"the model is served by the image {project.container.image}, and transforms run Seaway's own "
            "model server; send the files to its endpoint instead"
        )
    return Model(archive, digest, environment=tuple(sorted(project.environment.items())))


@task(name="transform objects")
def run(job: Job, model: Model, runner: Runner, folder: Path) -> Outcome:
    """All objects of the job, or those that are left of it."""
    return run_job(job, model, runner, folder, utc_now(), _Teller())


class _Teller:
    """Shows the progress as an artifact, and every tenth of it in the log."""

    def __init__(self) -> None:
        self._artifact: Any = create_progress_artifact(
            0.0, key="transform-progress", description="bytes read"
        )
        self._told, self._tenth = time.monotonic(), -1

    def __call__(self, progress: Progress) -> None:
        now, percent = time.monotonic(), 100.0 * progress.read / max(1, progress.bytes)
        if progress.status != "InProgress" or now - self._told >= TOLD:
            self._told = now
            update_progress_artifact(self._artifact, progress=min(100.0, percent))
        if progress.status != "InProgress" or percent // 10 > self._tenth:
            self._tenth = int(percent // 10)
            get_run_logger().info(sentence(progress))


def sentence(progress: Progress) -> str:
    """How far a job is, in one line."""
    failed = f", {progress.failed} failed" if progress.failed else ""
    return (
        f"{progress.finished} of {progress.objects} objects{failed}; "
        f"{progress.read / 2**20:.1f} of {progress.bytes / 2**20:.1f} MiB, {progress.records:,} records"
    )


def report(job: Job, outcome: Outcome) -> State[Any]:
    """How it ended, as artifacts and as the state of the run."""
    said = sentence(outcome.progress)
    facts: list[dict[str, Any]] = [
        {"fact": "input", "value": job.transform_input.s3_uri},
        {"fact": "output", "value": job.transform_output.s3_output_path},
        {"fact": "objects", "value": said},
        {"fact": "finished by an earlier run", "value": outcome.skipped},
        {"fact": "seconds", "value": outcome.seconds},
    ]
    create_markdown_artifact(
        key="transform", markdown=artifacts.table(facts), description=job.transform_job_name
    )
    if not outcome.failures:
        return Completed(message=said)
    rows = [{"object": one.key, "why": one.reason} for one in outcome.failures]
    create_table_artifact(key="transform-failures", table=rows[:SHOWN], description=job.transform_job_name)
    first = outcome.failures[0]
    return Failed(message=f"{said}; first failure: {first.key}: {first.reason}")
