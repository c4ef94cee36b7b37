"""The build flow: process → validate → train → evaluate → gate → package → register."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from configs.build import Threshold
from configs.load import ProjectError
from flows import artifacts, registering
from flows.making import ORDER, Making, collect_evidence
from flows.pruning import prune_steps
from flows.retrying import is_temporary
from flows.wiring import Wiring, connect, operating_system_user, utc_now
from registry import tracking
from registry.errors import Permanent as RegistryPermanent
from registry.port import ModelVersion
from serving.package import unpack
from steps import gate, report
from steps.archive import one_model
from steps.errors import Permanent as StepPermanent
from steps.job import StepResult, digest_of

LIMIT = 3600
"""Seconds a step may take."""


_RETRY: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [1, 5, 15],
    "retry_condition_fn": is_temporary,
    "timeout_seconds": LIMIT,
}


class Stopped(Exception):
    """The build ends here, as the project wants it: a check or a gate said no."""


@flow(name="build", flow_run_name="build-{project}")
def build(project: str, from_step: str = "", force: bool = False, author: str = "") -> State[Any]:  # noqa: FBT001, FBT002
    """Build, judge and register a version of a project's model.

    Args:
        project: path of the project file.
        from_step: run this step and those after it even when nothing changed.
        force: run every step.
        author: who builds; the operating-system user when empty.
    """
    wiring = connect()
    try:
        making = _making(wiring, Path(project), from_step, force=force)
        processed = process_data(making)
        validated = validate_data(making, processed)
        trained = train_model(making, processed)
        champion = champion_package(wiring, making)
        evaluated = evaluate_model(making, processed, trained, champion)
        gates = decide_gates(making, evaluated)
        packed = package_model(making, processed, trained)
        steps = {
            "process": processed,
            "validate": validated,
            "train": trained,
            "evaluate": evaluated,
            "package": packed,
        }
        version = register(wiring, making, steps, gates, author or operating_system_user())
    except (Stopped, ProjectError, StepPermanent, RegistryPermanent) as stop:
        tidy(wiring)
        return Failed(name="Stopped", message=str(stop))
    tidy(wiring)
    cached = isinstance(trained, State)  # a task that returns a named state gives the flow that state
    trained_now = "; nothing had changed, so nothing was trained" if cached else ""
    return Completed(
        message=f"{version.model} version {version.version} waits for approval{trained_now}",
        data={"model": version.model, "version": version.version},
    )


def tidy(wiring: Wiring) -> None:
    """Remove step folders of long ago; a failure is only worth a warning."""
    try:
        if gone := prune_steps(wiring, utc_now()):
            freed = sum(item.size for item in gone) / 2**20
            get_run_logger().info("removed %d step folders of former builds (%.0f MiB)", len(gone), freed)
    except OSError as error:
        get_run_logger().warning("old step folders could not be removed: %s", error)


def _making(wiring: Wiring, file: Path, from_step: str, *, force: bool) -> Making:
    first = ORDER[0] if force else from_step
    if first and first not in ORDER:
        raise Stopped(f"there is no step {first!r}; the steps are {', '.join(ORDER)}")
    return Making.of(file, wiring.settings.home / "runs", first)


@task(name="process", **_RETRY)
def process_data(making: Making) -> StepResult:
    """Channels to one table."""
    done = making.process()
    facts = done.output
    rows = [{"column": name, **about} for name, about in facts["columns"].items()]
    create_table_artifact(
        key="table", table=rows, description=f"{facts['rows']:,} rows, digest {facts['digest']}"
    )
    return _finished(done, f"{facts['rows']:,} rows")


@task(name="validate", **_RETRY)
def validate_data(making: Making, processed: StepResult) -> StepResult:
    """The table against the project's Great Expectations suite."""
    done = making.validate(processed)
    found = done.output
    failures = found["failures"]
    page = (done.folder / "validation.html").as_uri()
    shown = failures or found["checks"]
    create_table_artifact(
        key="validation",
        table=[{k: v for k, v in one.items() if k != "kwargs"} for one in shown],
        description=f"{len(failures)} of {len(found['checks'])} expectations failed; [page]({page})",
    )
    if not found["passed"]:
        listed = "; ".join(f"{one['expectation']} {one['column']}: {one['observed']}" for one in failures[:5])
        raise Stopped(f"the data do not meet suite {found['suite']} ({listed}); the whole report is {page}")
    return _finished(done, f"{len(found['checks'])} expectations checked")


@task(name="train", **_RETRY)
def train_model(making: Making, processed: StepResult) -> StepResult:
    """Fit on all but the hold-out."""
    done = making.train(processed)
    facts = done.output
    rows = [
        {"what": name, "value": str(facts[name])} for name in ("estimator", "rows", "seed", "hyperparameters")
    ]
    create_table_artifact(key="training", table=rows, description=facts["estimator"])
    return _finished(done, f"{facts['estimator']} on {facts['rows']:,} rows")


@task(name="champion", **_RETRY)
def champion_package(wiring: Wiring, making: Making) -> tuple[str, str, Path] | None:
    """What production serves now, for the comparison."""
    endpoint = wiring.store.endpoint(making.project.production.endpoint)
    if endpoint is None or endpoint.stable is None:
        return None
    stable = endpoint.stable
    folder = wiring.settings.home / "packages" / stable.digest
    unpack(wiring.archives / f"{stable.digest}.tar.gz", folder, stable.digest)
    os.utime(folder)
    if not one_model(folder):
        _check_no_champion(making, stable.version)
        return None
    return f"version {stable.version}", stable.digest, folder


def _check_no_champion(making: Making, version: str) -> None:
    """Go on without a comparison, unless a gate needs one."""
    what = f"version {version} in production is no package of one model, so nothing can be compared with it"
    if any(isinstance(one, Threshold) and one.not_worse_than for one in making.project.gate):
        raise Stopped(f"{what}; remove not_worse_than from the gates, or build for an endpoint of its own")
    get_run_logger().warning(what)


@task(name="evaluate", **_RETRY)
def evaluate_model(
    making: Making, processed: StepResult, trained: StepResult, champion: tuple[str, str, Path] | None
) -> StepResult:
    """Metrics with intervals on the hold-out, against the champion on the same rows."""
    done = making.evaluate(processed, trained, champion)
    found = done.output
    create_table_artifact(
        key="metrics", table=_metric_rows(found), description=f"{found['rows']:,} hold-out rows"
    )
    for name in ("roc.png", "calibration.png", "confusion.png"):
        if (done.folder / name).exists():
            _image(name.removesuffix(".png"), done.folder / name)
    return _finished(done, f"evaluated on {found['rows']:,} rows")


def _metric_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rival = found["champion"] or {"metrics": {}, "difference": {}}
    rows = []
    for name, one in found["metrics"].items():
        if one is None:
            continue
        other, change = rival["metrics"].get(name), rival["difference"].get(name)
        rows.append(
            {
                "metric": name,
                "challenger": f"{one['value']:.4f} ({one['low']:.4f} to {one['high']:.4f})",
                "champion": f"{other['value']:.4f}" if other else "",
                "difference": f"{change['value']:+.4f} ({change['low']:+.4f} to {change['high']:+.4f})"
                if change
                else "",
            }
        )
    return rows


def _image(name: str, file: Path) -> None:
    encoded = base64.b64encode(file.read_bytes()).decode()
    create_image_artifact(key=name, image_url=f"data:image/png;base64,{encoded}", description=name)


@task(name="gate")
def decide_gates(making: Making, evaluated: StepResult) -> tuple[gate.GateResult, ...]:
    """The project's conditions."""
    results = making.gates(evaluated)
    rows = [{"passed": one.passed, "condition": one.sentence} for one in results]
    create_markdown_artifact(key="gates", markdown=artifacts.table(rows), description="evaluation gates")
    if not gate.passed(results):
        failed = "; ".join(one.sentence for one in results if not one.passed)
        raise Stopped(f"the evaluation gate is closed: {failed}. Nothing was registered")
    return results


@task(name="package", **_RETRY)
def package_model(making: Making, processed: StepResult, trained: StepResult) -> StepResult:
    """`model.tar.gz` with recorded predictions and the parity of the compiled model."""
    done = making.package(processed, trained)
    facts = done.output
    shown = {
        "digest": facts["digest"],
        "runtime": facts["runtime"],
        "bytes": facts["bytes"],
        **facts["parity"],
    }
    create_table_artifact(
        key="package",
        table=[{"what": k, "value": str(v)} for k, v in shown.items()],
        description="model.tar.gz",
    )
    return _finished(done, f"{facts['runtime']} package {facts['digest'][:12]}")


@task(name="register", **_RETRY)
def register(
    wiring: Wiring,
    making: Making,
    steps: Mapping[str, StepResult],
    gates: tuple[gate.GateResult, ...],
    author: str,
) -> ModelVersion:
    """A version that waits for approval, with its evidence; the same build again gives the same version."""
    with tempfile.TemporaryDirectory() as folder:
        evidence = collect_evidence(making, author, steps, gates, Path(folder))
        pinned = digest_of(Path(folder) / "evidence.json")
        tags = registering.tags(making.loaded, evidence, pinned)
        tags |= {"data_digest": evidence["data_digest"], "gate": "passed"}
        run = _run_report(making, steps, tags, Path(folder))
        version = registering.enter(wiring, making.project, run, _sheet(making, steps, gates, tags))
    registering.announce(wiring, version)
    return version


def _sheet(
    making: Making,
    steps: Mapping[str, StepResult],
    gates: tuple[gate.GateResult, ...],
    tags: Mapping[str, str],
) -> registering.Sheet:
    project = making.project
    return lambda link: report.decision_sheet(
        f"{project.model}: {project.description or project.name}",
        steps["evaluate"].output,
        gates,
        facts={name: tags[name] for name in ("digest", "data_digest", "git_commit") if tags[name]},
        links={"training run": link},
        packed=steps["package"].output,
    )


def _run_report(
    making: Making, steps: Mapping[str, StepResult], tags: Mapping[str, str], folder: Path
) -> tracking.RunReport:
    project, trained, evaluated = making.project, steps["train"].output, steps["evaluate"].output
    curves = [
        tracking.Metric(name, value, step)
        for name, values in trained["curves"].items()
        for step, value in enumerate(values)
    ]
    scores = [tracking.Metric(name, one["value"]) for name, one in evaluated["metrics"].items() if one]
    seconds = [tracking.Metric(f"seconds.{name}", done.seconds) for name, done in steps.items()]
    now = utc_now()
    flat = {f"hyperparameters.{name}": str(value) for name, value in trained["hyperparameters"].items()}
    return tracking.RunReport(
        experiment=project.name,
        name=f"build {tags['digest'][:12]}",
        started=now,
        ended=now,
        params={
            "estimator": trained["estimator"],
            "seed": str(trained["seed"]),
            "rows": str(trained["rows"]),
            **flat,
        },
        metrics=[*scores, *curves, *seconds],
        dataset=tracking.DatasetInput(
            name=project.name,
            digest=tags["data_digest"],
            schema={name: about["type"] for name, about in steps["process"].output["columns"].items()},
            source=str(making.loaded.folder),
            rows=steps["process"].output["rows"],
        ),
        **registering.where(tags, steps["package"].folder / "model.tar.gz", folder),
    )


def _finished(done: StepResult, sentence: str) -> StepResult:
    """The result; when nothing was done, in a state that says so, whose data Prefect hands on."""
    if not done.cached:
        get_run_logger().info("%s (%.1f s)", sentence, done.seconds)
        return done
    get_run_logger().info("nothing changed: %s", sentence)
    cached: State[Any] = Completed(name="Cached", message=f"nothing changed: {sentence}", data=done)
    return cast("StepResult", cached)
