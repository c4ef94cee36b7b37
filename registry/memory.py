"""A model registry in memory, with artifacts in a local folder: for tests, trials and simulations."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from registry.errors import NotFound
from registry.port import Candidate, ModelVersion


class MemoryRegistry:
    """Versions in a dictionary; the artifacts of run `r` are the files under `artifacts/r/`."""

    def __init__(self, artifacts: Path) -> None:
        self._artifacts = artifacts
        self._versions: dict[str, list[ModelVersion]] = {}
        self._aliases: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def register(self, candidate: Candidate) -> ModelVersion:
        """Add a version, or return the one with the same digest and run."""
        with self._lock:
            versions = self._versions.setdefault(candidate.model, [])
            for version in versions:
                same = version.run_id == candidate.run_id
                if same and version.tags.get("digest") == candidate.tags.get("digest"):
                    return self._shown(version)
            version = ModelVersion(
                model=candidate.model,
                version=str(len(versions) + 1),
                run_id=candidate.run_id,
                source=str(self._artifacts / candidate.run_id / "package"),
                description=candidate.description,
                tags=dict(candidate.tags),
            )
            versions.append(version)
            return version

    def versions(self, model: str | None = None) -> tuple[ModelVersion, ...]:
        """All versions, newest first."""
        with self._lock:
            if model is not None and model not in self._versions:
                raise NotFound(f"there is no registered model {model!r}")
            named = [model] if model is not None else sorted(self._versions)
            return tuple(self._shown(v) for name in named for v in reversed(self._versions[name]))

    def annotate(
        self, model: str, version: str, tags: Mapping[str, str | None], description: str | None = None
    ) -> None:
        """Set tags (None removes one) and, when given, the description."""
        with self._lock:
            place = self._place(model, version)
            old = self._versions[model][place]
            merged = {**old.tags, **tags}
            self._versions[model][place] = replace(
                old,
                tags={name: value for name, value in merged.items() if value is not None},
                description=old.description if description is None else description,
            )

    def set_alias(self, model: str, alias: str, version: str | None) -> None:
        """Point an alias at a version; None removes it."""
        with self._lock:
            if version is None:
                self._aliases.get(model, {}).pop(alias, None)
                return
            self._place(model, version)
            self._aliases.setdefault(model, {})[alias] = version

    def download(self, version: ModelVersion, path: str, folder: Path) -> Path:
        """Copy an artifact of the version's run."""
        source = self._artifacts / version.run_id / path
        if ".." in Path(path).parts or not source.is_file():
            raise NotFound(f"version {version.version} of {version.model} has no artifact {path!r}")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(source, folder / source.name))

    def _place(self, model: str, version: str) -> int:
        count = len(self._versions.get(model, ()))
        if not version.isdigit() or not 1 <= int(version) <= count:
            raise NotFound(f"there is no version {version} of a registered model {model!r}")
        return int(version) - 1

    def _shown(self, version: ModelVersion) -> ModelVersion:
        aliases = self._aliases.get(version.model, {})
        pointing = sorted(alias for alias, target in aliases.items() if target == version.version)
        return replace(version, tags=dict(version.tags), aliases=tuple(pointing))
