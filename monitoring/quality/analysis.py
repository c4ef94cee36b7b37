"""The quality of a window of live rows: measured where labels are there, estimated where they are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from monitoring import rows as names
from monitoring.findings import Figure, Finding
from monitoring.quality import constraints as bounds
from monitoring.quality import estimate, missingness, ranking, reading, regression, tally
from monitoring.quality.arrival import Arrival, arrival
from monitoring.quality.constraints import Constraints, Mode
from monitoring.quality.estimate import Estimator
from monitoring.quality.expected import Estimate
from monitoring.quality.metric import Measured, Metric, Task
from monitoring.quality.missingness import Missingness
from monitoring.quality.tally import Tally

if TYPE_CHECKING:
    import polars as pl

_ALSO = {"specificity": "true_negative_rate", "roc_auc": "auc"}
"""Estimated metrics whose measured form has SageMaker's name."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be set."""

    threshold: float | None = None
    """A score above it is positive. None: the predicted label counts, and 0.5 where there is none."""
    constant_class: str | None = None
    """What the best constant classifier says: "1" as SageMaker has it; the majority when None."""
    mode: Mode = "evidence"
    """When a constraint is violated; see `constraints.check`."""
    alpha: float = 0.05
    """Share of windows of an unchanged model that may raise an alarm."""


@dataclass(frozen=True, slots=True)
class ModelQuality:
    """What is known of a window's quality."""

    task: Task
    captured: int
    labelled: int
    """Rows with a label."""
    measured: Measured
    tally: Tally
    """To be kept for the hour, and merged."""
    arrival: Arrival | None
    """How long labels take; None when times are not known."""
    missingness: Missingness | None
    """Whether labels are missing at random; None when there is nothing to compare."""
    estimates: Mapping[str, Estimate]
    """Metrics without labels, over all captured rows."""

    @property
    def coverage(self) -> float:
        """Share of the captured rows that have a label."""
        return self.labelled / self.captured if self.captured else 0.0


@dataclass(frozen=True, slots=True)
class _Read:
    """The rows, counted, with what groups them."""

    measured: Measured
    tally: Tally
    groups: NDArray[np.int64]
    names: tuple[str, ...]
    notes: tuple[str, ...]


def analyse(  # noqa: PLR0913 - the window, the model, what to hold it against, and how
    rows: pl.DataFrame,
    task: Task,
    classes: Sequence[Any] | None,
    constraints: Constraints | None,
    *,
    seed: int,
    estimator: Estimator | None = None,
    rules: Rules = Rules(),
    at: datetime | None = None,
) -> Finding:
    """Judge a window of decoded rows; whatever cannot be judged becomes a note.

    Args:
        rows: every captured row of the window, with or without a label; see `monitoring.rows`.
        task: of the model.
        classes: of the model, the positive one last; None takes those that occur.
        constraints: what the metrics must meet.
        seed: of subsamples and resamples.
        estimator: learned from the reference, to estimate quality without labels.
        rules: what may be set.
        at: the time of the analysis, for the file; rows have waited for labels until then, or until the last
            time in the rows when that is later.
    """
    rng = np.random.default_rng(seed)
    read = _regression(rows, rng) if task == "regression" else _classes(rows, task, classes, rules, rng)
    known = _present(rows, names.LABEL)
    checked = bounds.Checked((), ())
    if constraints is not None and read.measured.rows:
        checked = bounds.check(constraints, read.measured, mode=rules.mode, alpha=rules.alpha)
    estimates, told = ({}, ()) if estimator is None else estimate.estimate(rows, estimator, seed=seed)
    details = ModelQuality(
        task,
        rows.height,
        int(known.sum()),
        read.measured,
        read.tally,
        _arrival(rows, known, at),
        missingness.test(read.groups, known, _hours(rows), read.names) if rows.height else None,
        estimates,
    )
    documents: dict[str, Any] = {"statistics.json": read.measured.document(at)}
    if constraints is not None:
        documents["constraints.json"] = constraints.document()
    if estimates:
        documents["estimates.json"] = _estimates(details, task)
    return Finding(
        "ModelQuality",
        read.measured.rows,
        checked.violations,
        _figures(details),
        documents,
        (*_told(details), *read.notes, *checked.notes, *told, *_feared(constraints, estimates)),
        details,
    )


def _classes(
    rows: pl.DataFrame, task: Task, classes: Sequence[Any] | None, rules: Rules, rng: np.random.Generator
) -> _Read:
    binary = task == "binary"
    given = reading.classified(rows, classes, binary=binary, threshold=rules.threshold)
    kept = tally.of_classes(given, binary=binary)
    measured = tally.measure(kept, rng, constant_class=rules.constant_class)
    groups, named = given.predicted, tuple(f"predicted {one}" for one in given.classes)
    if binary and given.scores is not None:
        groups, named = missingness.by_quantile(given.scores)
    notes = list(given.notes)
    if measured.rows and len(np.unique(given.truth[given.truth >= 0])) == 1:
        notes.append("All labels are of one class; rates of the other class and areas are not defined.")
    if kept.ranked is not None:
        kept = replace(kept, ranked=ranking.binned(kept.ranked))
    return _Read(measured, kept, groups, named, tuple(notes))


def _regression(rows: pl.DataFrame, rng: np.random.Generator) -> _Read:
    given = reading.numbers(rows)
    known = ~(np.isnan(given.truth) | np.isnan(given.predicted))
    measured = regression.measure(given.truth[known], given.predicted[known], rng)
    return _Read(measured, tally.of_numbers(given), *missingness.by_quantile(given.predicted), given.notes)


def _present(rows: pl.DataFrame, name: str) -> NDArray[np.bool_]:
    if name not in rows.columns:
        return np.zeros(rows.height, dtype=bool)
    return np.asarray(rows[name].is_not_null().to_numpy(), dtype=bool)


def _seconds(rows: pl.DataFrame, name: str) -> NDArray[np.float64]:
    """A column of times in seconds since the epoch; NaN where there is none."""
    import polars as pl

    if name not in rows.columns or not isinstance(rows.schema[name], pl.Datetime):
        return np.full(rows.height, np.nan)
    micros = rows[name].dt.epoch("us").cast(pl.Float64).fill_null(np.nan)
    return np.asarray(micros.to_numpy(), dtype=np.float64) / 1e6


def _hours(rows: pl.DataFrame) -> NDArray[np.float64]:
    return np.floor(np.nan_to_num(_seconds(rows, names.AT), nan=0.0) / 3600)


def _arrival(rows: pl.DataFrame, known: NDArray[np.bool_], at: datetime | None) -> Arrival | None:
    asked, told = _seconds(rows, names.AT), _seconds(rows, names.LABEL_AT)
    times = np.r_[asked, told]
    times = times[~np.isnan(times)]
    if not len(times):
        return None
    now = times.max() if at is None else max(at.timestamp(), times.max())
    delays, waiting = (told - asked)[known], (now - asked)[~known]
    return arrival(delays[~np.isnan(delays)], waiting[~np.isnan(waiting)])


def _figures(details: ModelQuality) -> tuple[Figure, ...]:
    """Measured metrics, coverage and delay of labels, and estimates."""
    measured = details.measured
    everything: dict[str, Metric] = {**measured.scalars, **measured.extra}
    found = [
        Figure(name, metric.value, metric.low, metric.high, measured.rows)
        for name, metric in everything.items()
    ]
    found.append(Figure("label_coverage", details.coverage if details.captured else None, n=details.captured))
    if details.arrival is not None:
        found.append(Figure("label_delay_median_seconds", details.arrival.median, n=details.arrival.rows))
    found += [
        Figure(_ALSO.get(name, name), one.value, one.low, one.high, details.captured, estimated=True)
        for name, one in details.estimates.items()
    ]
    return tuple(found)


def _estimates(details: ModelQuality, task: Task) -> dict[str, Any]:
    shown = {
        name: {"value": one.value, "low": one.low, "high": one.high, "standard_error": one.standard_error}
        for name, one in details.estimates.items()
    }
    return {"version": 1, "estimated": True, "task": task, "item_count": details.captured, "metrics": shown}


def _told(details: ModelQuality) -> list[str]:
    if not details.captured:
        return ["The window has no rows."]
    notes = []
    if not details.labelled:
        notes.append("No row of the window has a label yet; nothing was measured.")
    elif not details.measured.rows:
        notes.append("No row of the window has both a usable prediction and a usable label.")
    test = details.missingness
    if test is not None and test.selective:
        low, high = (pick(test.groups, key=lambda one: one.coverage) for pick in (min, max))
        notes.append(
            f"Labels are not missing at random: {low.coverage:.0%} of the rows {low.name} have one, but "
            f"{high.coverage:.0%} of those {high.name} (p = {test.p_value:.2g}, e-value {test.e_value:.3g}). "
            "What was measured may not hold for all rows."
        )
    return notes


def _feared(constraints: Constraints | None, estimates: Mapping[str, Estimate]) -> list[str]:
    """Constraints that the whole band of an estimate is beyond; a warning, for nothing was measured."""
    feared = []
    for name, one in estimates.items():
        limit = None if constraints is None else constraints.metrics.get(_ALSO.get(name, name))
        if limit is None:
            continue
        low = limit.threshold if limit.low is None else limit.low
        high = limit.threshold if limit.high is None else limit.high
        if one.low > high if limit.operator == "GreaterThanThreshold" else one.high < low:
            shown = f"{one.value:.4g}, {one.low:.4g} to {one.high:.4g}"
            feared.append(f"{_ALSO.get(name, name)} ({shown}; threshold {limit.threshold:.4g})")
    return [f"Estimated without labels to be beyond the threshold: {', '.join(feared)}."] if feared else []
