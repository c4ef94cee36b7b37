"""Bias of a window of rows: counted once, measured with intervals, held against a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from monitoring.bias import drift, intervals
from monitoring.bias.catalogue import ALL, BY_NAME, POST, PRE, UNGROUPED, Metric
from monitoring.bias.choice import Choice
from monitoring.bias.counts import Counts, FacetCounts, combined, count
from monitoring.bias.facets import MOST_VALUES, Plan, plan
from monitoring.bias.features import MOST_TEXTS
from monitoring.bias.fliptest import Flips, flip_test
from monitoring.bias.metrics import Side
from monitoring.bias.performance import performance
from monitoring.bias.report import Bias, Measure, read
from monitoring.bias.settings import BiasConfig, BiasRefused, Mode
from monitoring.findings import Figure, Finding

if TYPE_CHECKING:
    import polars as pl

INFINITE = 2.348543e108
"""What SageMaker publishes for an infinite figure."""
Asked = Mapping[tuple[str, str], Flips | str]
"""Flip tests by facet and group, or why there is none."""


def analyse(
    frame: pl.DataFrame,
    config: BiasConfig,
    baseline: Mapping[str, Any] | None,
    *,
    mode: Mode = "exact",
    seed: int,
) -> Finding:
    """Judge rows with labels; what cannot be judged becomes a note, and a metric that fails an error.

    Rows without a label, or without the facet, are left out and counted. Rows without a prediction count for
    the pre-training metrics only.

    Args:
        frame: rows with label, facets, and optionally predictions and features.
        config: what to look at.
        baseline: an `analysis.json` to compare with; None compares with nothing.
        mode: `clarify` repeats SageMaker Clarify's figures.
        seed: of resamples and samples.
    """
    try:
        how = plan(frame, config, mode)
    except BiasRefused as error:
        return Finding("ModelBias", 0, notes=(f"Nothing was measured: {error}.",))
    counts = count(frame, how)
    rng = np.random.default_rng([seed, 1])
    asked = _flips(frame, how, counts, config, mode, rng) if _wanted(config, how, "FT") else {}
    return of_counts(counts, how, config, baseline, mode=mode, seed=seed, flips=asked)


def of_counts(
    counts: Counts,
    how: Plan,
    config: BiasConfig,
    baseline: Mapping[str, Any] | None,
    *,
    mode: Mode = "exact",
    seed: int,
    flips: Asked | None = None,
) -> Finding:
    """The same from counts, for example those of many hours merged; flip tests need rows and are given."""
    rng = np.random.default_rng([seed, 0])
    measures: list[Measure] = []
    notes = [*how.notes, *_told(counts, config)]
    for name, table in counts.facets.items():
        if len(table.keys) > MOST_VALUES:
            notes.append(f"{name} was left out: it has {len(table.keys):,} values; give those of the group.")
            continue
        measures += _measures(name, table, how, config, mode, rng, flips or {})
    notes += _flip_notes(flips or {}, config)
    details = Bias(
        config.called,
        how.label.title(counts.highest),
        tuple(measures),
        mode,
        counts,
        performance(config.called, counts.outcomes, counts.confusion) if how.predicted else None,
    )
    try:
        before = read(baseline) if baseline is not None else ()
    except ValueError as error:
        before = ()
        notes.append(f"Nothing was compared: {error}.")
    violations, told = drift.check(measures, before, config, mode)
    return Finding(
        "ModelBias",
        counts.rows - counts.unlabelled,
        violations,
        tuple(_figures(details)),
        {"analysis.json": details.document()},
        (*notes, *told),
        details,
    )


def _wanted(config: BiasConfig, how: Plan, name: str) -> bool:
    metric = BY_NAME[name]
    if metric.stage == POST and how.predicted is None:
        return False
    return not config.methods or name in config.methods


def _measures(
    name: str,
    table: FacetCounts,
    how: Plan,
    config: BiasConfig,
    mode: Mode,
    rng: np.random.Generator,
    flips: Asked,
) -> Iterator[Measure]:
    keys = [place for place, key in enumerate(table.keys) if key is not None]
    metrics = [metric for metric in ALL if _wanted(config, how, metric.name)]
    usable = [one for one in metrics if how.group or not one.grouped]
    spread = intervals.spreads(table.cells, keys, usable, mode, rng, config.resamples)
    everybody = table.cells.sum(0)
    for key in keys:
        d, a = Side(table.cells[key]), Side(everybody - table.cells[key])
        group = str(table.keys[key])
        value = _title(how, name, group, table)
        for metric in metrics:
            sides = (d, a) if metric.stage == PRE else (d.known, a.known)
            if metric.formula is None:
                found, error, wide = _flipped(flips.get((name, group), ""))
            else:
                found, error = _value(metric, *sides, how, mode)
                wide = spread.get((key, metric.name))
            low, high = intervals.interval(found, wide, config.z) or (None, None)
            rows = int(sides[0].n + sides[1].n)
            yield Measure(name, value, metric.name, metric.stage, found, error, low, high, rows)


def _value(metric: Metric, d: Side, a: Side, how: Plan, mode: Mode) -> tuple[float | None, str]:
    if metric.stage == POST and how.mismatch:
        return None, how.mismatch
    if metric.grouped and how.group is None:
        return None, UNGROUPED
    if metric.formula is None or (trouble := metric.trouble(d, a, mode)):
        return None, trouble or ""
    value = float(metric.formula(d, a, mode))
    return (None, metric.undefined()) if math.isnan(value) else (value, "")


def _flipped(found: Flips | str) -> tuple[float | None, str, float | None]:
    if isinstance(found, str):
        return None, found or "FlipTest needs rows, and was given counts", None
    return found.value, "", found.spread


def _title(how: Plan, name: str, group: str, table: FacetCounts) -> str:
    """The group as the report names it."""
    choices = how.facets[name]
    return group if len(choices) > 1 or choices[0].open else choices[0].title(table.highest)


def _flips(
    frame: pl.DataFrame,
    how: Plan,
    counts: Counts,
    config: BiasConfig,
    mode: Mode,
    rng: np.random.Generator,
) -> Asked:
    """Flip tests of every group of every facet."""
    found: dict[tuple[str, str], Flips | str] = {}
    for name, choices in how.facets.items():
        taken = {choice.column for choice in choices}
        columns = [one for one in config.columns(frame.columns) if one not in taken]
        groups = [key for key in counts.facets[name].keys if key is not None]
        for group, sides, said in _sides(frame, how, choices, groups):
            try:
                made = flip_test(frame, columns, sides, said, config=config, mode=mode, rng=rng)
            except BiasRefused as error:
                found[name, group] = str(error)
            else:
                found[name, group] = made
    return found


def _sides(
    frame: pl.DataFrame, how: Plan, choices: tuple[Choice, ...], groups: list[str]
) -> Iterator[tuple[str, tuple[NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.bool_]]]:
    """For each group its rows, those of everybody else, and which predictions are positive."""
    import polars as pl

    if how.predicted is None:
        return
    key, present = combined(choices)
    usable = present & how.label.present() & how.predicted.present()
    seen = frame.select(key.alias("key"), usable.alias("usable"), how.predicted.chosen().alias("said"))
    kept, said = (seen[name].fill_null(value=False).to_numpy() for name in ("usable", "said"))
    for group in groups:
        inside = kept & seen.select((pl.col("key") == group).fill_null(value=False)).to_series().to_numpy()
        yield group, (inside, kept & ~inside), said


def _figures(details: Bias) -> Iterator[Figure]:
    """Every metric that could be computed, with SageMaker's dimensions."""
    for one in details.measures:
        if one.value is None:
            continue
        dimensions = (
            ("BiasStage", one.stage),
            ("Label", details.label),
            ("LabelValue", details.label_value),
            ("Facet", one.facet),
            ("FacetValue", one.facet_value),
        )
        value = max(-INFINITE, min(INFINITE, one.value))
        yield Figure(f"bias_metric_{one.metric}", value, one.low, one.high, one.rows, dimensions=dimensions)


def _told(counts: Counts, config: BiasConfig) -> Iterator[str]:
    """What was left out, and what makes figures say little."""
    if unknown := [name for name in config.methods if name not in BY_NAME]:
        yield f"There is no metric {', '.join(unknown)}; known are {', '.join(BY_NAME)}."
    if not counts.rows:
        yield "There are no rows."
        return
    if counts.unlabelled:
        yield f"{counts.unlabelled:,} of {counts.rows:,} rows have no label and were left out."
    for name, table in counts.facets.items():
        if table.dropped:
            yield f"{table.dropped:,} rows without {name} were left out of its report."
        if not any(key is not None for key in table.keys):
            yield f"No row with a label has a value of {name}; nothing was measured."
    labelled = counts.outcomes.sum()
    if labelled and not counts.outcomes.sum(1).all():
        word = "favourable" if not counts.outcomes[1].sum() else "unfavourable"
        yield f"No label is {word}; check label_values_or_threshold."
    unanswered = int(counts.outcomes[:, 2].sum())
    if unanswered and unanswered < labelled:
        yield f"{unanswered:,} rows have no prediction and count for pre-training metrics only."


def _flip_notes(flips: Asked, config: BiasConfig) -> Iterator[str]:
    made = [one for one in flips.values() if isinstance(one, Flips)]
    if any(one.partly for one in made):
        yield f"FT looked at no more than {config.flip_rows:,} complete rows of each side."
    if left := {name: None for one in made for name in one.left_out}:
        yield f"FT left out {', '.join(left)}: neither numbers nor texts of at most {MOST_TEXTS} values."
