"""The four kinds of monitor: what each compares with which part of the baseline."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.monitor import DataQuality, Kind, Monitor
from flows.monitoring import overlay
from flows.monitoring.hours import Stretch
from flows.monitoring.subject import Subject
from flows.monitoring.windows import Window
from monitoring.findings import Finding
from serving.package import MANIFEST, load_manifest
from steps.archive_baseline import requests
from steps.baseline_files import Known, edited
from steps.hours import kinds_of

if TYPE_CHECKING:
    import polars as pl

    from monitoring.profiles import Kind as ColumnKind
    from monitoring.profiles import Profile
    from serving.manifest import Manifest

SEED = 7
"""Of everything random: the same window always gives the same report."""
PROFILE, CONSTRAINTS, FOREST, COMPONENTS = "profile.bin", "constraints.json", "forest.json", "components.json"
BROKEN = (ArithmeticError, LookupError, TypeError, ValueError)
"""What columns that are unlike any other may raise; everything else stands without them."""
QUALITY, BIAS, ATTRIBUTIONS, ESTIMATOR = (
    "model_quality.json",
    "bias.json",
    "attributions.json",
    "estimator.json",
)


_STATED = frozenset({"ModelQuality", "ModelBias"})
"""Kinds that must know what the model predicts."""


@dataclass(frozen=True)
class Material:
    """What an analysis works on."""

    subject: Subject
    stretch: Stretch
    settings: Monitor
    target: str = ""
    """Name of the label, where the project says it."""

    @cached_property
    def manifest(self) -> Manifest:
        """What the package says of its model."""
        return load_manifest(self.subject.package)

    @cached_property
    def kinds(self) -> dict[str, ColumnKind]:
        """How inputs are to be read: as the manifest says, or the baseline of an archive without one."""
        return kinds_of(requests(self.subject.package))

    @cached_property
    def rows(self) -> pl.DataFrame:
        """Every row of the window."""
        return self.stretch.rows()

    @cached_property
    def profile(self) -> Profile:
        """Of the window's inputs, predicted labels and scores."""
        return self.stretch.profile(self.kinds)

    def profile_of(self, window: Window) -> Profile:
        """The same of a part of the window."""
        if window == self.stretch.window:
            return self.profile
        return replace(self.stretch, window=window).profile(self.kinds)

    def part(self, name: str) -> Path | None:
        """A file of the baseline; None when the package has none."""
        file = self.subject.baseline / name
        return file if file.is_file() else None

    def document(self, name: str) -> Any:
        """The same as JSON."""
        file = self.part(name)
        return json.loads(file.read_bytes()) if file else None


def analyse(kind: Kind, material: Material) -> Finding:
    """Compare a window with the baseline of the version that answered.

    A part that the package does not have is a note, and not a failure.
    """
    if kind in _STATED and not (material.subject.package / MANIFEST).is_file():
        note = f"nothing was judged: the archive has no {MANIFEST}, which says what its model predicts"
        return Finding(kind, 0, notes=(note,))
    return _ANALYSES[kind](material)


def data_quality(material: Material) -> Finding:
    """Inputs, predicted labels and scores against their profile in the baseline."""
    from monitoring.drift import constraints
    from monitoring.drift.analysis import analyse as drift
    from monitoring.profiles import Profile

    settings = material.settings.data_quality
    window = material.profile
    known, rules = material.part(PROFILE), material.document(CONSTRAINTS)
    if settings is None or known is None or rules is None:
        return _uncompared("DataQuality", window.rows, PROFILE)
    baseline = Profile.from_bytes(known.read_bytes())
    wanted = constraints.read(overlay.data_quality(rules, settings))
    found = drift(
        baseline.without(*settings.exclude),
        wanted,
        window.without(*settings.exclude),
        rule=overlay.rule(settings, edited(Known(baseline, constraints.read(rules)))),
    )
    return _with_rows(found, material, settings)


def _with_rows(finding: Finding, material: Material, settings: DataQuality) -> Finding:
    """What whole rows say too, where the package has what they are held against."""
    from monitoring.drift import components, forest, isolation

    sample = cache(lambda: material.stretch.some(isolation.MOST))
    for part, wanted, read, test in (
        (FOREST, settings.row_outliers, forest.read, isolation),
        (COMPONENTS, settings.multivariate, components.read, components),
    ):
        known = material.document(part) if wanted and finding.rows else None
        if known is None:
            continue
        try:
            found = test.judge(read(known), sample(), settings.alpha / 4)
        except BROKEN as error:
            note = f"rows were not held against {part}: {type(error).__name__}: {error}"
            finding = replace(finding, notes=(*finding.notes, note))
        else:
            finding = test.told(finding, found) if found else finding
    return finding


def model_quality(material: Material) -> Finding:
    """Predictions against labels, and an estimate where labels are missing."""
    from monitoring.quality import constraints, estimate
    from monitoring.quality.analysis import Rules
    from monitoring.quality.analysis import analyse as judge

    settings = material.settings.model_quality
    known, learned = material.document(QUALITY), material.document(ESTIMATOR)
    manifest = material.manifest
    wanted = known and settings and constraints.read(overlay.model_quality(known["constraints"], settings))
    found = judge(
        material.rows,
        manifest.task,
        manifest.classes,
        wanted or None,
        seed=SEED,
        estimator=estimate.read(learned) if learned else None,
        rules=Rules(mode=settings.mode, constant_class=settings.constant_class or None)
        if settings
        else Rules(),
        at=material.stretch.window.end,
    )
    if not known:
        return replace(found, notes=(*found.notes, *_uncompared("ModelQuality", 0, QUALITY).notes))
    return _with_coverage(found, settings.minimum_coverage if settings else 0.0)


def _with_coverage(found: Finding, least: float) -> Finding:
    """A window with too few labels is measured, but not judged."""
    coverage: float = found.details.coverage if found.details else 1.0
    if coverage >= least:
        return found
    note = f"only {coverage:.0%} of the rows have a label, less than minimum_coverage {least:.0%}: not judged"
    return replace(found, violations=(), rows=0, notes=(*found.notes, note))


def bias(material: Material) -> Finding:
    """Differences between groups in rows whose label is known, against those of the hold-out."""
    from monitoring.bias.analysis import analyse as judge
    from monitoring.bias.report import label_of
    from monitoring.bias.settings import BiasConfig, outcome_of
    from monitoring.records.columns import whole_columns

    settings, known = material.settings.bias, material.document(BIAS)
    if settings is None:
        return _uncompared("ModelBias", 0, BIAS)
    config = BiasConfig.of(
        settings.model_dump(),
        inputs=[one.name for one in material.manifest.inputs],
        allowed=settings.allowed,
        alpha=settings.alpha,
        outcome=outcome_of(material.manifest.task),
        label_name=label_of(known) or material.target,
    )
    found = judge(whole_columns(material.rows), config, known, mode=settings.mode, seed=SEED)
    return found if known else replace(found, notes=(*found.notes, *_uncompared("ModelBias", 0, BIAS).notes))


def explainability(material: Material) -> Finding:
    """What the model relies on in a sample of the window, against what it relied on in the hold-out."""
    from monitoring.explain import attributions
    from monitoring.explain.analysis import analyse as compare
    from steps.attributions import Wish
    from steps.attributions import attributions as explain
    from steps.explained_rows import sampled

    settings = material.settings.explainability
    known = material.document(ATTRIBUTIONS)
    if settings is None or known is None:
        return _uncompared("ModelExplainability", material.stretch.count(), ATTRIBUTIONS)
    baseline = attributions.read(known)
    wish = Wish(rows=settings.rows, method=settings.method, seed=SEED).like(baseline)
    rows, notes = sampled(material.stretch.lazy(), material.manifest, settings.rows, SEED)
    live = explain(material.subject.package, rows, wish)
    found = compare(baseline, live, threshold=settings.threshold)
    return replace(found, notes=(*found.notes, *notes))


def _uncompared(kind: Kind, rows: int, part: str) -> Finding:
    note = (
        f"nothing was compared: the package has no baseline/{part}; build the version again, or register its "
        "archive with --baseline, to get one"
        if part == PROFILE
        else f"nothing was compared: the package has no baseline/{part}; build the version again to get one"
    )
    return Finding(kind, rows, notes=(note,))


_ANALYSES: dict[Kind, Callable[[Material], Finding]] = {
    "DataQuality": data_quality,
    "ModelQuality": model_quality,
    "ModelBias": bias,
    "ModelExplainability": explainability,
}
