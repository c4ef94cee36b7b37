"""Into the registry: one run with package and evidence, one version that waits, one page that says so.

The build and `seaway register` end here, so that versions of any origin are approved and rolled out alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact

from configs.load import LoadedHosting
from configs.project import Hosting
from flows import origin
from flows.dossier import ARCHIVE
from flows.wiring import Wiring, utc_now
from registry import tracking
from registry.approvals import register as register_version
from registry.port import Candidate, ModelVersion

Sheet = Callable[[str], str]
"""Makes the decision sheet, given the address of the run."""


def tags(loaded: LoadedHosting, evidence: Mapping[str, Any], pinned: str) -> dict[str, str]:
    """The tags that every version carries.

    Args:
        loaded: the project file.
        evidence: content of `evidence.json`.
        pinned: sha256 of its bytes.
    """
    return {
        "digest": evidence["digest"],
        "project": loaded.project.name,
        "project_file": str(loaded.file),
        "project_digest": evidence["project_digest"],
        "author": evidence["author"],
        "evidence": pinned,
        "git_commit": origin.git_commit(loaded.folder),
        "lock_hash": origin.lock_hash(loaded.folder),
    }


def where(tags: Mapping[str, str], archive: Path, folder: Path) -> dict[str, Any]:
    """How a run is called, what it holds, and the key that makes logging it again do nothing."""
    return {
        "tags": tags,
        "artifacts": {ARCHIVE: archive, "evidence": folder},
        "key": f"{tags['digest'][:32]}-{tags['evidence'][:32]}",
    }


def enter(wiring: Wiring, project: Hosting, report: tracking.RunReport, sheet: Sheet) -> ModelVersion:
    """Log the run and register its version, waiting for approval; repeating it changes nothing.

    Raises:
        registry.errors.Permanent: the registry refuses.
        registry.errors.Temporary: it does not answer; call it again.
    """
    url = wiring.settings.url("mlflow")
    wiring.log_in()
    run_id = tracking.log_run(url, report)
    link = tracking.run_url(url, tracking.experiment_of(url, run_id), run_id)
    candidate = Candidate(project.model, run_id, report.tags, sheet(link))
    return register_version(wiring.registry, wiring.desk.ledger, candidate, project.approval, utc_now())


def announce(wiring: Wiring, version: ModelVersion) -> None:
    """Say in the Prefect UI where the version waits."""
    page = tracking.version_url(wiring.settings.url("mlflow"), version.model, version.version)
    create_markdown_artifact(
        key="version",
        markdown=f"**[{version.model} version {version.version}]({page})** waits for approval: set its tag "
        f"`approval_status` to `Approved` or `Rejected`, or run\n\n"
        f"    seaway approve {version.model} {version.version}\n\n{version.description}",
        description=f"{version.model} version {version.version}",
    )
    get_run_logger().info("%s version %s waits for approval: %s", version.model, version.version, page)
