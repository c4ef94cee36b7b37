"""The evidence of a version: what the build measured, pinned by its sha256, and reports attached later.

The build's evidence never changes: its hash is registered. What is found out afterwards, for example by a
replay of captured traffic, is a report of its own: its bytes lie on the shelf under their sha256, and an
entry of the ledger names kind, hash and findings. The policy looks at both; a kind that the build has
measured cannot be replaced.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from configs.load import restore
from configs.project import Approval
from registry.entry import Entry, Kind, Source, name
from registry.errors import NotFound, Permanent
from registry.ledger import Ledger
from registry.port import ModelRegistry, ModelVersion
from registry.standing import attached

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


@dataclass(frozen=True, slots=True)
class Finding:
    """A report about a version that is registered already."""

    kind: str
    """For example `replay`; the name under which `required_evidence` asks for it."""
    passed: bool
    summary: str
    """One sentence for people."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Figures that rules look at, as `<kind>.<name>`."""


def attach(
    ledger: Ledger,
    shelf: Shelf,
    version: ModelVersion,
    finding: Finding,
    report: bytes,
    who: tuple[str, Source],
    now: datetime,
) -> Entry:
    """Keep a report on the shelf and note it in the ledger; attaching the same bytes again changes nothing.

    Args:
        ledger: takes the entry.
        shelf: takes the bytes.
        version: what the report is about; its `digest` tag says which bytes.
        finding: what the policy will look at.
        report: the whole report, in any format.
        who: name of the person and how they came.
        now: when.
    """
    pinned = shelf.keep(report)
    return ledger.append(
        Entry(
            id=name(Kind.EVIDENCE, version.model, version.version, f"{finding.kind}:{pinned}"),
            at=now,
            kind=Kind.EVIDENCE,
            model=version.model,
            version=version.version,
            actor=who[0],
            source=who[1],
            comment=finding.summary,
            digest=version.tags.get("digest", ""),
            evidence=pinned,
            details={
                "kind": finding.kind,
                "passed": finding.passed,
                "metrics": {name: float(value) for name, value in finding.metrics.items()},
            },
        )
    )


def together(evidence: Evidence, entries: Iterable[Entry]) -> Evidence:
    """The build's evidence and what was attached to the version since; the build's own kinds stay."""
    later = attached(entries)
    kinds = {
        kind: {"passed": entry.details.get("passed") is True, "report": entry.evidence}
        for kind, entry in later.items()
    }
    metrics = {
        f"{kind}.{figure}": float(value)
        for kind, entry in later.items()
        for figure, value in entry.details.get("metrics", {}).items()
    }
    return replace(evidence, kinds={**kinds, **evidence.kinds}, metrics={**metrics, **evidence.metrics})


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

    def keep(self, report: bytes) -> str:
        """Put a report on the shelf; returns its sha256."""
        pinned = hashlib.sha256(report).hexdigest()
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(report)
        Path(file.name).replace(self._folder / f"{pinned}.report")
        return pinned

    def report(self, pinned: str) -> bytes:
        """The report with this sha256.

        Raises:
            registry.evidence.EvidenceDamaged: it is not there, or was changed.
        """
        file = self._folder / f"{pinned}.report"
        try:
            content = file.read_bytes()
        except FileNotFoundError as error:
            raise EvidenceDamaged(f"the report {pinned[:12]} is not on the shelf; make it again") from error
        if hashlib.sha256(content).hexdigest() != pinned:
            raise EvidenceDamaged(f"the report {pinned[:12]} was changed; make it again")
        return content

    def policy(self, version: ModelVersion) -> Approval:
        """The approval section of the project file that the version was built from.

        Raises:
            registry.evidence.EvidenceDamaged: missing or unreadable.
            registry.errors.Unreachable: the registry does not answer.
        """
        with tempfile.TemporaryDirectory() as folder:
            try:
                file = self._registry.download(version, PROJECT, Path(folder))
                return restore(file.read_bytes()).approval
            except (NotFound, ValueError) as error:
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
