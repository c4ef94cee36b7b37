"""The folder `baseline/` of a package: what live traffic is held against, made when the model is packed.

Inputs are described as the model sees them, over the rows it was trained on; predictions, quality and
attributions over the hold-out, which it never saw. The same rows give the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from configs.bias import Groups
from configs.monitor import Monitor
from monitoring.payloads import plain_label
from monitoring.rows import LABEL, PREDICTED, SCORE
from serving.manifest import Manifest
from serving.predictions import Predictions
from steps.baseline import Part, encoded, quality_baseline
from steps.errors import StepError

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)

FOLDER = "baseline"
PROFILE, STATISTICS, CONSTRAINTS, NOTES = (
    "profile.bin",
    "statistics.json",
    "constraints.json",
    "notes.json",
)
BIAS, ATTRIBUTIONS, PREPROCESS = "bias.json", "attributions.json", "preprocess.py"
FOREST, COMPONENTS = "forest.json", "components.json"
LEAST = 200
"""Training rows from which a forest is grown."""
SEED = 7
"""Of subsamples, folds and trees."""
BROKEN = (ArithmeticError, LookupError, TypeError, ValueError, StepError)
"""What data that are unlike any other may raise: one part is left out, the package is made."""


@dataclass(frozen=True)
class Ground:
    """What a baseline is made from."""

    manifest: Manifest
    seen: pl.DataFrame
    """Training rows with the model's inputs."""
    held: pl.DataFrame
    """Hold-out rows with the inputs and the target."""
    target: str
    predictions: Predictions
    """Of the packed model on the hold-out."""
    package: Mapping[str, bytes] = field(default_factory=dict)
    """The files of the package without this folder."""
    monitor: Monitor | None = None
    script: bytes = b""
    """The project's `preprocess`."""

    def rows(self) -> pl.DataFrame:
        """The hold-out as live rows look: inputs, prediction and label."""
        import polars as pl

        inputs = self.inputs(self.held)
        labels = [plain_label(value) for value in self.held[self.target].to_list()]
        return inputs.with_columns(*self._predicted(), pl.Series(LABEL, labels, pl.String))

    def inputs(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The inputs as the model takes them: numbers, and texts."""
        import polars as pl

        return rows.select(
            pl.col(one.name).cast(pl.Float64 if one.type == "double" else pl.String)
            for one in self.manifest.inputs
        )

    def _predicted(self) -> Iterator[pl.Series]:
        import polars as pl

        scores, labels = self.predictions.scores, self.predictions.labels
        if labels is None:
            yield pl.Series(PREDICTED, scores.tolist(), pl.Float64)
            return
        yield pl.Series(PREDICTED, [plain_label(one) for one in labels], pl.String)
        kind = pl.List(pl.Float64) if scores.ndim > 1 else pl.Float64
        yield pl.Series(SCORE, scores.tolist(), kind)


def files(ground: Ground) -> dict[str, bytes]:
    """Every file of the folder, by its path in the package.

    A part that cannot be made for these data is left out, and `notes.json` says why.
    """
    made: dict[str, bytes] = {}
    notes: dict[str, Sequence[str]] = {}
    for name, part in PARTS.items():
        try:
            files, told = part(ground)
        except BROKEN as error:
            log.warning("the baseline has no %s: %s", name, error)
            files, told = {}, (f"left out: {type(error).__name__}: {error}",)
        made |= files
        if told:
            notes[name] = list(told)
    if ground.script:
        made[PREPROCESS] = ground.script
    made[NOTES] = encoded(notes)
    return {f"{FOLDER}/{name}": content for name, content in made.items()}


Made = tuple[dict[str, bytes], Sequence[str]]


def _data_quality(ground: Ground) -> Made:
    """Profile, statistics and constraints of inputs, predicted labels and scores."""
    from monitoring.drift import constraints
    from monitoring.profiles import Profile, statistics
    from monitoring.records import layout_of
    from steps.hour import profiled
    from steps.hours import kinds_of

    kinds = kinds_of(layout_of(ground.manifest))
    inputs = profiled(iter([ground.inputs(ground.seen)]), kinds)
    answers = profiled(iter([ground.rows()]), kinds)
    ours = {name: column for name, column in answers.columns.items() if name in {PREDICTED, SCORE}}
    profile = Profile(inputs.rows, {**inputs.columns, **ours})
    return {
        PROFILE: profile.to_bytes(),
        STATISTICS: encoded(statistics.document(profile)),
        CONSTRAINTS: encoded(constraints.document(constraints.suggest(profile))),
    }, ()


def _row_outliers(ground: Ground) -> Made:
    """An isolation forest of the rows that the model was trained on."""
    from monitoring.drift import forest

    if ground.seen.height < LEAST:
        return {}, (f"fewer than {LEAST} training rows say too little about which rows are unusual",)
    names = [one.name for one in ground.manifest.inputs]
    grown = forest.fit(ground.inputs(ground.seen), names, seed=SEED)
    return {FOREST: encoded(forest.document(grown))}, ()


def _multivariate(ground: Ground) -> Made:
    """Principal components of the rows that the model was trained on."""
    from monitoring.drift import components

    names = [one.name for one in ground.manifest.inputs]
    if ground.seen.height < LEAST or len(names) < 2:
        return {}, (
            f"fewer than {LEAST} training rows, or one column, say too little about what goes together",
        )
    return {COMPONENTS: encoded(components.document(components.fit(ground.inputs(ground.seen), names)))}, ()


def _model_quality(ground: Ground) -> Made:
    """Metrics of the hold-out, and what estimates them without labels."""
    manifest = ground.manifest
    features = [one.name for one in manifest.inputs]
    return _of(quality_baseline(ground.rows(), manifest.task, manifest.classes, features=features, seed=SEED))


def _of(part: Part) -> Made:
    return part.files(), part.notes


def _bias(ground: Ground) -> Made:
    """Differences between groups in the hold-out, where the project wants them watched."""
    from monitoring.bias.analysis import analyse
    from monitoring.bias.settings import BiasConfig, outcome_of
    from monitoring.records.columns import whole_columns

    wanted = ground.monitor.bias if ground.monitor else None
    if wanted is None:
        return {}, ()
    inputs = [one.name for one in ground.manifest.inputs]
    outcome = outcome_of(ground.manifest.task)
    config = BiasConfig.of(wanted.model_dump(), inputs=inputs, outcome=outcome, label_name=ground.target)
    rows = whole_columns(ground.rows())
    found = analyse(rows, config, None, mode=wanted.mode, seed=SEED)
    analysis = found.documents.get("analysis.json")
    return {BIAS: encoded(analysis)} if analysis else {}, found.notes


def _explainability(ground: Ground) -> Made:
    """What the packed model relies on, where the project wants that watched."""
    from steps.attributions import Wish, attributions_of_files

    wanted = ground.monitor.explainability if ground.monitor else None
    if wanted is None:
        return {}, ()
    wish = Wish(rows=wanted.rows, method=wanted.method, seed=SEED)
    found = attributions_of_files(ground.package, ground.inputs(ground.held), wish)
    return {ATTRIBUTIONS: encoded(found.document())}, found.notes


PARTS: Mapping[str, Callable[[Ground], Made]] = {
    "data quality": _data_quality,
    "row outliers": _row_outliers,
    "multivariate drift": _multivariate,
    "model quality": _model_quality,
    "bias": _bias,
    "explainability": _explainability,
}


def relevant(monitor: Monitor | None) -> dict[str, Any]:
    """The part of the project's settings that the folder depends on; thresholds are laid over it later."""
    if monitor is None:
        return {}
    measured = set(Groups.model_fields) - {"rule", "alpha"}
    bias = monitor.bias.model_dump(mode="json", include=measured) if monitor.bias else None
    explain = monitor.explainability
    return {
        "bias": bias,
        "explainability": {"rows": explain.rows, "method": explain.method} if explain else None,
        "preprocess": monitor.preprocess,
    }
