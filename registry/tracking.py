"""The training logger: one value at the end of a build becomes one MLflow run, in one call.

This is the only module that imports the MLflow client, and only inside the function that needs it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from registry.errors import Permanent, Unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "seaway.key"
"""Tag that makes logging repeatable: a finished run with the same key is not logged again."""
_METRICS, _PARAMS, _TAGS = 1000, 100, 100
"""Most items MLflow takes in one batch."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured value."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """The data a model was trained on."""

    name: str
    digest: str
    """Content hash; MLflow shows its first 36 characters, the tag `data_digest` holds all of it."""
    schema: Mapping[str, str]
    """Column → type."""
    source: str = ""
    """Where it came from: a path or an address."""
    rows: int | None = None
    context: str = "training"


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything a build has to say."""

    experiment: str
    name: str
    started: datetime
    ended: datetime
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    """With `git_commit` and `lock_hash`."""
    dataset: DatasetInput | None = None
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    """Path in the run (`package/model.tar.gz`, `evidence`) → local file or folder; images too."""
    key: str = ""
    """When given, a second call with the same key returns the first one's run."""


def log_run(url: str, report: RunReport) -> str:
    """Write the whole report as one finished run and return the run's id.

    User and password come from `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.

    Raises:
        registry.errors.Unreachable: MLflow does not answer; with a `key`, call it again.
        registry.errors.Permanent: an artifact is missing, or MLflow refuses; the run is marked failed.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if absent := [str(path) for path in report.artifacts.values() if not path.exists()]:
        raise Permanent(f"the run cannot be logged, these artifacts are missing: {', '.join(absent)}")
    client = MlflowClient(tracking_uri=url)
    try:
        experiment = _experiment(client, report.experiment)
        if report.key and (done := _finished(client, experiment, report.key)):
            return done
        return _write(client, experiment, report)
    except MlflowException as error:
        status = error.get_http_status_code()
        if status in {429, 502, 503, 504} or "Max retries exceeded" in str(error):
            raise Unreachable(f"MLflow at {url} does not answer ({error}); try again") from error
        raise Permanent(f"MLflow refused the run: {error}") from error


def run_url(url: str, experiment_id: str, run_id: str) -> str:
    """The run's page in MLflow's UI."""
    return f"{url.rstrip('/')}/#/experiments/{quote(experiment_id)}/runs/{quote(run_id)}"


def version_url(url: str, model: str, version: str) -> str:
    """The page of a registered version, where people decide."""
    return f"{url.rstrip('/')}/#/models/{quote(model, safe='')}/versions/{quote(version)}"


def experiment_of(url: str, run_id: str) -> str:
    """Id of the experiment a run belongs to; `run_url` needs it."""
    from mlflow import MlflowClient

    return str(MlflowClient(tracking_uri=url).get_run(run_id).info.experiment_id)


def _experiment(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:
        found = client.get_experiment_by_name(name)  # somebody else was faster
        if found is None:
            raise
        return str(found.experiment_id)


def _finished(client: MlflowClient, experiment: str, key: str) -> str | None:
    query = f"tags.`{KEY}` = '{key}' and attributes.status = 'FINISHED'"
    runs = client.search_runs([experiment], query, max_results=1)
    return str(runs[0].info.run_id) if runs else None


def _write(client: MlflowClient, experiment: str, report: RunReport) -> str:
    tags = {**report.tags, **({KEY: report.key} if report.key else {})}
    run = client.create_run(experiment, start_time=_millis(report.started), run_name=report.name)
    run_id = str(run.info.run_id)
    try:
        _log_values(client, run_id, report, tags)
        _log_dataset(client, run_id, report.dataset)
        for path, local in report.artifacts.items():
            _log_artifact(client, run_id, path, local)
    except BaseException:
        client.set_terminated(run_id, "FAILED", _millis(report.ended))
        raise
    client.set_terminated(run_id, "FINISHED", _millis(report.ended))
    return run_id


def _log_values(client: MlflowClient, run_id: str, report: RunReport, tags: Mapping[str, str]) -> None:
    from mlflow import entities

    at = _millis(report.ended)
    metrics = [entities.Metric(m.name, float(m.value), at, m.step) for m in report.metrics]
    params = [entities.Param(name, str(value)[:6000]) for name, value in report.params.items()]
    marks = [entities.RunTag(name, str(value)) for name, value in tags.items()]
    for batch in _batches(metrics, _METRICS):
        client.log_batch(run_id, metrics=batch)
    for batch in _batches(params, _PARAMS):
        client.log_batch(run_id, params=batch)
    for batch in _batches(marks, _TAGS):
        client.log_batch(run_id, tags=batch)


def _log_dataset(client: MlflowClient, run_id: str, dataset: DatasetInput | None) -> None:

    from mlflow import entities

    if dataset is None:
        return
    columns = [{"type": kind, "name": name, "required": True} for name, kind in dataset.schema.items()]
    profile = json.dumps({"num_rows": dataset.rows}) if dataset.rows is not None else None
    logged = entities.Dataset(
        name=dataset.name,
        digest=dataset.digest[:36],
        source_type="local",
        source=json.dumps({"uri": dataset.source}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=profile,
    )
    context = [entities.InputTag("mlflow.data.context", dataset.context)]
    client.log_inputs(run_id, [entities.DatasetInput(logged, context)])


def _log_artifact(client: MlflowClient, run_id: str, path: str, local: Path) -> None:
    """Upload under exactly that path, whatever the local name is."""
    if local.is_dir():
        client.log_artifacts(run_id, str(local), path)
        return
    target = PurePosixPath(path)
    folder = None if str(target.parent) == "." else str(target.parent)
    if local.name == target.name:
        client.log_artifact(run_id, str(local), folder)
        return
    with tempfile.TemporaryDirectory() as staging:
        renamed = shutil.copyfile(local, Path(staging) / target.name)
        client.log_artifact(run_id, str(renamed), folder)


def _batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
