"""The evidence of a version: what the build measured, pinned by its sha256."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from configs.project import Approval, Project
from registry.errors import NotFound, Permanent
from registry.port import ModelRegistry, ModelVersion

TAG = "evidence"
"""The tag that holds the sha256 of `evidence.json`."""
FILE = "evidence/evidence.json"
PROJECT = "evidence/project.json"


class EvidenceDamaged(Permanent):
    """The evidence is missing, changed or unreadable."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an approval may rest on."""

    sha256: str
    """Hash of the file's bytes."""
    kinds: Mapping[str, Mapping[str, Any]]
    """`validation`, `evaluation`, `gate`, `package`: each with at least `passed` when it can fail."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Figures that rules look at, for example `roc_auc` and `champion.roc_auc.difference`."""
    author: str = ""
    """Who built the version."""
    digest: str = ""
    """sha256 of the package that the evidence is about."""


def parse(content: bytes) -> Evidence:
    """Evidence from the bytes of `evidence.json`.

    Raises:
        registry.evidence.EvidenceDamaged: it is not the JSON that the build writes.
    """
    try:
        document = json.loads(content)
        kinds = {str(kind): dict(found) for kind, found in document["kinds"].items()}
        metrics = {
            str(name): float(value)
            for name, value in document.get("metrics", {}).items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        author, about = str(document.get("author", "")), str(document.get("digest", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceDamaged(f"{FILE} cannot be read ({error}); build the version again") from error
    return Evidence(hashlib.sha256(content).hexdigest(), kinds, metrics, author, about)


class Shelf:
    """Evidence files fetched once and kept by their hash."""

    def __init__(self, registry: ModelRegistry, folder: Path) -> None:
        self._registry = registry
        self._folder = folder

    def evidence(self, version: ModelVersion) -> Evidence:
        """The version's evidence, whose bytes have the hash in its `evidence` tag.

        Raises:
            registry.evidence.EvidenceDamaged: missing, changed or unreadable.
            registry.errors.Unreachable: the registry does not answer.
        """
        wanted = version.tags.get(TAG, "")
        if len(wanted) != 64 or not wanted.isalnum():
            raise EvidenceDamaged(f"the version has no `{TAG}` tag; build it with Seaway")
        kept = self._folder / f"{wanted}.json"
        if not kept.exists():
            self._fetch(version, FILE, kept, wanted)
        content = kept.read_bytes()
        if hashlib.sha256(content).hexdigest() != wanted:
            kept.unlink()
            raise EvidenceDamaged("the kept evidence file was changed; it is fetched again at the next look")
        return parse(content)

    def policy(self, version: ModelVersion) -> Approval:
        """The approval section of the project file that the version was built from.

        Raises:
            registry.evidence.EvidenceDamaged: missing or unreadable.
            registry.errors.Unreachable: the registry does not answer.
        """
        with tempfile.TemporaryDirectory() as folder:
            try:
                file = self._registry.download(version, PROJECT, Path(folder))
                return Project.model_validate_json(file.read_bytes()).approval
            except (NotFound, ValidationError) as error:
                raise EvidenceDamaged(f"{PROJECT} cannot be read; build the version again") from error

    def _fetch(self, version: ModelVersion, path: str, kept: Path, wanted: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            try:
                file = self._registry.download(version, path, Path(folder))
            except NotFound as error:
                raise EvidenceDamaged(
                    f"{path} is missing from the version's run; build the version again"
                ) from error
            if hashlib.sha256(file.read_bytes()).hexdigest() != wanted:
                raise EvidenceDamaged(
                    f"{path} was changed after registration: it does not have the hash in the "
                    f"`{TAG}` tag; build the version again"
                )
            file.replace(kept)
