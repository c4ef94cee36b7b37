"""What Seaway needs of a model registry, in five calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

STATUS = "approval_status"
"""The tag that people set: PendingManualApproval, Approved or Rejected."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version as the registry shows it."""

    model: str
    version: str
    run_id: str = ""
    source: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the build flow registers."""

    model: str
    run_id: str
    """The tracking run that holds `package/model.tar.gz` and `evidence/` as artifacts."""
    tags: Mapping[str, str]
    description: str = ""
    """The decision sheet, in Markdown."""


class ModelRegistry(Protocol):
    """MLflow in production, memory in tests."""

    def register(self, candidate: Candidate) -> ModelVersion:
        """Add a version; the same `digest` tag and run id again give the version that is there."""
        ...

    def versions(self, model: str | None = None) -> tuple[ModelVersion, ...]:
        """All versions of a model, or of every model, newest first, with tags and aliases.

        Raises:
            registry.errors.NotFound: the model does not exist.
        """
        ...

    def annotate(
        self, model: str, version: str, tags: Mapping[str, str | None], description: str | None = None
    ) -> None:
        """Set tags (None removes one) and, when given, the description."""
        ...

    def set_alias(self, model: str, alias: str, version: str | None) -> None:
        """Point an alias at a version; None removes it. Repeating it changes nothing."""
        ...

    def download(self, version: ModelVersion, path: str, folder: Path) -> Path:
        """Fetch the artifact `path` of the version's run (`package/model.tar.gz`) into a local folder.

        Raises:
            registry.errors.NotFound: there is no such artifact.
        """
        ...
