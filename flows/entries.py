"""What the registry is told of an archive that was not built here, and what is said of its baseline."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.load import LoadedHosting, dump
from configs.project import Hosting
from flows.dossier import SAMPLES_TAG
from flows.evidence import write_evidence, write_project
from steps.archive import Gathered
from steps.baseline import QUALITY
from steps.baseline_folder import ATTRIBUTIONS, BIAS, FOLDER
from steps.samples import FILE as SAMPLES_FILE
from steps.samples import Sample
from steps.samples import write as write_samples
from steps.trial import Tried

BASELINE_FILES = {
    "ModelQuality": QUALITY,
    "ModelBias": BIAS,
    "ModelExplainability": ATTRIBUTIONS,
}
"""What other kinds of monitor compare with; only a build can make it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Everything the registry is told."""

    loaded: LoadedHosting
    gathered: Gathered
    samples: tuple[Sample, ...]
    tried: tuple[Tried, ...]
    """Empty when nothing was tried here."""
    author: str


def watched_with(project: Hosting, gathered: Gathered) -> Iterator[str]:
    """What is to be said of the baseline, one sentence each; nothing when nobody watches."""
    brought = gathered.baseline
    yield from (f"baseline: {note}" for note in (brought.notes if brought else ()))
    if project.monitor is None:
        return
    if project.monitor.data_quality and brought is None:
        yield (
            "monitor.data_quality has nothing to compare with: give training data, or a folder with "
            "statistics.json and constraints.json, as --baseline"
        )
    inside = gathered.folder / FOLDER
    for kind, name in BASELINE_FILES.items():
        if kind in project.monitor.kinds and not (inside / name).is_file():
            yield f"{kind} is watched and not compared: the archive has no {FOLDER}/{name}"


def evidence(entry: Entry, out: Path) -> dict[str, Any]:
    """Write `evidence.json`, `project.json` and `samples.json` into `out`; returns the first."""
    content = write_samples(entry.samples)
    (out / SAMPLES_FILE).write_bytes(content)
    contents = entry.gathered.contents
    kinds: dict[str, Any] = {
        "package": {"passed": True, "kind": contents.kind, "parts": dict(contents.parts)},
    }
    brought = entry.gathered.baseline
    if brought and brought.source:
        kinds["package"]["baseline"] = brought.record()
    if entry.tried:
        compared = sum(one.expected for one in entry.tried)
        kinds["samples"] = {"passed": True, "requests": len(entry.tried), "expected_answers": compared}
    found = {
        "kinds": kinds,
        "metrics": {},
        "author": entry.author,
        "digest": entry.gathered.digest,
        SAMPLES_TAG: hashlib.sha256(content).hexdigest(),
        "project_digest": write_project(out, dump(entry.loaded.project)),
    }
    write_evidence(out, found)
    return found
