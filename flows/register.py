"""The register flow: an archive that no build of ours made becomes a version like any other.

A pipeline, many models behind one server, a user's own code, or a package built elsewhere: it is checked,
tried with real requests in a real model server, and registered with what was found. Approval, staging,
endpoint tests, canary and rollback are then the same as for what a build makes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from configs.load import LoadedHosting, ProjectError, load_hosting
from configs.project import Project
from configs.samples import SampleFile
from deploy.errors import Permanent as DeployPermanent
from deploy.plan import check_serving
from flows import registering
from flows.dossier import SAMPLES_TAG
from flows.entries import Entry, evidence, watched_with
from flows.evidence import resting_on_samples
from flows.retrying import is_temporary
from flows.wiring import Wiring, connect, operating_system_user, utc_now
from registry import tracking
from registry.errors import Permanent as RegistryPermanent
from registry.port import ModelVersion
from steps import archive, sheet, trial
from steps.archive import Gathered, Given
from steps.errors import Permanent as StepPermanent
from steps.job import digest_of
from steps.samples import Sample, choose
from steps.trial import Tried


@flow(name="register", flow_run_name="register-{archive}")
def register(
    archive: str,
    project: str,
    samples: list[dict[str, Any]],
    author: str = "",
    untried: bool = False,  # noqa: FBT001, FBT002 - Prefect's parameters go by name
    baseline: str = "",
) -> State[Any]:
    """Check, try and register an archive as a version of the project's model.

    Args:
        archive: path of an archive or a folder.
        project: path of the project file; data, process and train are not needed in it.
        samples: entries of a samples file with absolute paths; the archive's own samples when empty.
        author: who registers; the operating-system user when empty.
        untried: run nothing here; the endpoint tests on staging are then the first to ask.
        baseline: path of training data, or of a folder with `statistics.json` and `constraints.json`, that
            monitors compare with; the archive's own when empty.
    """
    wiring = connect()
    try:
        loaded = resting_on_samples(load_hosting(Path(project)))
        with tempfile.TemporaryDirectory(dir=_passing(wiring), prefix="tmp-register-") as place:
            given = _given(loaded, baseline)
            gathered = check(loaded, wiring.settings.target, Path(archive), Path(place), given)
            files = [SampleFile.model_validate(one) for one in samples]
            asked = choose(files, gathered.samples, many=gathered.contents.kind == "multi-model")
            skip = untried or bool(loaded.project.container.image)
            tried = () if skip else try_out(loaded, gathered, asked, Path(place) / "server.log")
            known = tuple(one.sample for one in tried) or asked
            author = author or operating_system_user()
            version = enter(wiring, Entry(loaded, gathered, known, tried, author))
    except (ProjectError, StepPermanent, DeployPermanent, RegistryPermanent) as stop:
        return Failed(name="Stopped", message=str(stop))
    return Completed(
        message=f"{version.model} version {version.version} waits for approval",
        data={"model": version.model, "version": version.version},
    )


def _given(loaded: LoadedHosting, baseline: str) -> Given | None:
    project = loaded.project
    target = project.data.target if isinstance(project, Project) else ""
    return Given(Path(baseline), target) if baseline else None


def _passing(wiring: Wiring) -> Path:
    """Where what a killed run leaves is removed in time."""
    folder = wiring.settings.home / "packages"
    folder.mkdir(exist_ok=True)
    return folder


@task(name="check archive")
def check(
    loaded: LoadedHosting, target: str, source: Path, place: Path, given: Given | None = None
) -> Gathered:
    """What is in the archive, and whether it fits the project."""
    project = loaded.project
    gathered = archive.gather(source, place, own_image=bool(project.container.image), given=given)
    stated = gathered.contents.model
    if stated and stated != project.model:
        raise archive.ArchiveRefused(
            f"the archive holds the model {stated} and the project is about {project.model}; name them alike"
        )
    if project.production.explain and gathered.contents.kind != "package":
        raise archive.ArchiveRefused(
            f"{archive.described(gathered.contents)} cannot be explained; remove production.explain"
        )
    kind = gathered.contents.kind
    check_serving(project, project.target or target, kind if kind in {"pipeline", "multi-model"} else "")
    rows = [{"part": name, "is": what} for name, what in gathered.contents.parts]
    whole = {"part": "archive", "is": archive.described(gathered.contents)}
    create_table_artifact(key="archive", table=[whole, *rows], description=f"digest {gathered.digest}")
    get_run_logger().info("%s, digest %s", archive.described(gathered.contents), gathered.digest[:12])
    for told in watched_with(project, gathered):
        get_run_logger().warning("%s", told)
    return gathered


@task(name="try samples", timeout_seconds=3600)
def try_out(
    loaded: LoadedHosting, gathered: Gathered, asked: Sequence[Sample], log: Path
) -> tuple[Tried, ...]:
    """Every sample twice, in a model server of this machine."""
    project = loaded.project
    tolerance = project.staging.tests.tolerance
    tried = trial.run(gathered.folder, asked, log, tolerance=tolerance, environment=project.environment)
    create_table_artifact(key="samples", table=sheet.tried_rows(tried), description="answers to the samples")
    get_run_logger().info("%d samples answered", len(tried))
    return tried


@task(name="register", retries=3, retry_delay_seconds=[1, 5, 15], retry_condition_fn=is_temporary)
def enter(wiring: Wiring, entry: Entry) -> ModelVersion:
    """A version that waits for approval; the same archive, project and samples give the same version."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = evidence(entry, folder)
        tags = registering.tags(entry.loaded, found, digest_of(folder / "evidence.json"))
        tags |= {SAMPLES_TAG: found[SAMPLES_TAG], "kind": entry.gathered.contents.kind}
        version = registering.enter(
            wiring, entry.loaded.project, _report(entry, tags, folder), _sheet(entry, tags)
        )
    registering.announce(wiring, version)
    wanted = set(entry.loaded.project.approval.required_evidence)
    if lacking := sorted(wanted - set(found["kinds"])):
        get_run_logger().warning(
            "approval asks for evidence that an archive does not bring: %s; attach it, or list what is "
            "wanted in approval.required_evidence",
            ", ".join(lacking),
        )
    return version


def _report(entry: Entry, tags: Mapping[str, str], folder: Path) -> tracking.RunReport:
    now, contents = utc_now(), entry.gathered.contents
    return tracking.RunReport(
        experiment=entry.loaded.project.name,
        name=f"register {tags['digest'][:12]}",
        started=now,
        ended=now,
        params={"kind": contents.kind, "parts": ", ".join(name for name, _ in contents.parts)},
        metrics=[tracking.Metric("bytes", entry.gathered.archive.stat().st_size)],
        **registering.where(tags, entry.gathered.archive, folder),
    )


def _sheet(entry: Entry, tags: Mapping[str, str]) -> registering.Sheet:
    project, brought = entry.loaded.project, entry.gathered.baseline
    facts = {name: tags[name] for name in ("digest", "author", "git_commit") if tags[name]}
    if brought:
        facts["baseline"] = f"{brought.rows:,} rows of {brought.source or 'the archive itself'}"
    return lambda link: sheet.archive_sheet(
        f"{project.model}: {project.description or project.name}",
        entry.gathered.contents,
        entry.samples,
        entry.tried,
        facts=facts,
        link=link,
    )
