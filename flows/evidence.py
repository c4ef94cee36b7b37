"""The files that a version's evidence is made of; written without Prefect."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.load import LoadedHosting
from configs.project import Project


def write_evidence(out: Path, evidence: Mapping[str, Any]) -> None:
    """`evidence.json`; equal evidence gives equal bytes."""
    (out / "evidence.json").write_text(json.dumps(evidence, indent=2, sort_keys=True) + "\n")


def write_project(out: Path, settings: Mapping[str, Any]) -> str:
    """`project.json`, by which the version will be deployed; returns its digest."""
    content = (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()
    (out / "project.json").write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def resting_on_samples(loaded: LoadedHosting) -> LoadedHosting:
    """The project, whose approval rests on what an archive brings unless it says what it rests on.

    A whole project keeps its policy: what its builds must show, no archive gets around.
    """
    project = loaded.project
    if isinstance(project, Project) or "required_evidence" in project.approval.model_fields_set:
        return loaded
    kinds = ("package",) if project.container.image else ("package", "samples")
    approval = project.approval.model_copy(update={"required_evidence": kinds})
    return LoadedHosting(project.model_copy(update={"approval": approval}), loaded.file, loaded.text)
