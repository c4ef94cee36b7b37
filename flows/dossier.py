"""All that a deployment needs to know of one approved version, checked against what was approved."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from configs.load import restore
from configs.project import Hosting
from deploy.checks import SampleRequest
from deploy.errors import PackageDamaged, RolloutRefused
from registry.entry import Entry
from registry.errors import NotFound
from registry.ledger import Ledger
from registry.port import ModelRegistry, ModelVersion
from registry.standing import standing
from serving import package
from steps import samples

ARCHIVE = "package/model.tar.gz"
PROJECT = "evidence/project.json"
SAMPLES, SAMPLES_TAG = f"evidence/{samples.FILE}", "samples_digest"


@dataclass(frozen=True, slots=True)
class Dossier:
    """One approved version: what it is, how it was approved, its project file, where its bytes are."""

    version: ModelVersion
    approval: Entry
    project: Hosting
    archive: Path
    """The package, its digest verified."""


def fetch(registry: ModelRegistry, ledger: Ledger, archives: Path, subject: tuple[str, str, str]) -> Dossier:
    """Collect everything about `(model, version, approval id)`.

    Raises:
        RolloutRefused: the approval is not in force any more.
        PackageDamaged: package or project file are not the approved ones.
        registry.errors.NotFound: the version is gone.
    """
    model, number, approval_id = subject
    approval = _in_force(ledger, model, number, approval_id)
    version = next((v for v in registry.versions(model) if v.version == number), None)
    if version is None:
        raise NotFound(f"version {number} of {model} is not in the registry any more")
    archive = kept_archive(registry, version, archives, approval.digest)
    return Dossier(version, approval, project_of(registry, version), archive)


def _in_force(ledger: Ledger, model: str, number: str, approval_id: str) -> Entry:
    current = standing(ledger.entries(model, number))
    if current.approval is None or current.approval.id != approval_id:
        raise RolloutRefused(
            f"approval {approval_id} of {model} version {number} is not in force any more "
            f"(the version is {current.status}); approve it again to deploy it"
        )
    return current.approval


def kept_archive(registry: ModelRegistry, version: ModelVersion, archives: Path, digest: str) -> Path:
    """The package of a version on this machine, fetched if it is not here yet; its digest is verified.

    Raises:
        PackageDamaged: the registry holds another package than the one of this digest.
    """
    kept = archives / f"{digest}.tar.gz"
    if kept.exists() and package.digest(kept) == digest:
        os.utime(kept)
        return kept
    archives.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archives) as folder:
        fetched = registry.download(version, ARCHIVE, Path(folder))
        found = package.digest(fetched)
        if found != digest:
            raise PackageDamaged(
                f"the package of {version.model} version {version.version} has digest {found[:12]}, but "
                f"{digest[:12]} was registered; build the version again"
            )
        shutil.move(fetched, kept)
    return kept


def project_of(registry: ModelRegistry, version: ModelVersion) -> Hosting:
    """The project file by which a version was registered.

    Raises:
        PackageDamaged: it was changed since.
        registry.errors.NotFound: it is gone.
    """
    return restore(_pinned(registry, version, PROJECT, version.tags.get("project_digest")))


def _pinned(registry: ModelRegistry, version: ModelVersion, path: str, digest: str | None) -> bytes:
    """A piece of evidence, which must have the digest that was registered."""
    with tempfile.TemporaryDirectory() as folder:
        content = registry.download(version, path, Path(folder)).read_bytes()
    if digest and hashlib.sha256(content).hexdigest() != digest:
        raise PackageDamaged(
            f"{path} of {version.model} version {version.version} was changed; register it again"
        )
    return content


def asked_of(
    registry: ModelRegistry, dossier: Dossier, folder: Path
) -> SampleRequest | tuple[samples.Sample, ...]:
    """What the endpoint tests send: a built package's own rows, or the samples it was registered with.

    Args:
        registry: holds the samples.
        dossier: of the version.
        folder: packages are unpacked below it.

    Raises:
        PackageDamaged: the samples are not those that were registered.
    """
    if digest := dossier.version.tags.get(SAMPLES_TAG):
        return samples.read(_pinned(registry, dossier.version, SAMPLES, digest))
    return sample_request(dossier.archive, dossier.approval.digest, folder)


def sample_request(archive: Path, digest: str, folder: Path) -> SampleRequest:
    """The sample request that lies in a package, with its recorded predictions."""
    unpacked = folder / digest
    package.unpack(archive, unpacked, digest)
    manifest = package.load_manifest(unpacked)
    recorded = json.loads((unpacked / "sample.json").read_text())
    return SampleRequest(
        columns=tuple(column.name for column in manifest.inputs),
        rows=tuple(recorded["request"]["instances"]),
        predictions=tuple(recorded["predictions"]),
        required=tuple(column.name for column in manifest.inputs if column.required),
        numeric=tuple(column.name for column in manifest.inputs if column.type == "double"),
    )
