"""Bias reports of data files, and of the hold-out of a build."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.project import Project
from monitoring.bias.analysis import analyse
from monitoring.bias.settings import BiasConfig
from monitoring.findings import Finding
from monitoring.rows import PREDICTED
from steps import metrics
from steps import table as tables
from steps.errors import DataRefused
from steps.metrics import Scored

if TYPE_CHECKING:
    import polars as pl

ANALYSIS = "analysis.json"


def of_holdout(
    rows: pl.DataFrame, project: Project, classes: Sequence[Any] | None, scored: Scored
) -> Finding:
    """Compare the groups of `evaluate.bias` on hold-out rows.

    Args:
        rows: the hold-out, with the target and all facets.
        project: has a section `evaluate.bias`.
        classes: of the model, the positive one last; None for a regression.
        scored: the model's scores of these rows.
    """
    import polars as pl

    groups = project.evaluate.bias
    if groups is None:
        raise ValueError("evaluate.bias is not given; name facets and favourable outcomes there")
    said = scored.scores if classes is None else np.asarray(classes)[metrics.chosen(scored)]
    config = BiasConfig.of(
        groups.model_dump(),
        label=project.data.target,
        predicted=PREDICTED,
        inputs=tables.columns(project.data.features),
    )
    answered = rows.with_columns(pl.Series(PREDICTED, said.tolist()))
    return analyse(answered, config, None, mode=groups.mode, seed=project.train.seed)


def of_file(
    file: Path, config: BiasConfig, baseline_file: Path | None, *, mode: str = "exact", seed: int = 7
) -> Finding:
    """Bias in a file of labelled rows, with or without predictions.

    Raises:
        DataRefused: a file cannot be read, or lacks the label.
    """
    rows = read(file)
    if config.label not in rows.columns:
        raise DataRefused(
            f"{file.name} has no label column {config.label!r}; the columns are {', '.join(rows.columns)}"
        )
    before = read_analysis(baseline_file) if baseline_file else None
    return analyse(rows, config, before, mode="clarify" if mode == "clarify" else "exact", seed=seed)


def read(file: Path) -> pl.DataFrame:
    """A table from a CSV, Parquet or JSON Lines file.

    Raises:
        DataRefused: it cannot be read.
    """
    import polars as pl

    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".csv": lambda one: pl.read_csv(one, infer_schema_length=100_000),
        ".parquet": pl.read_parquet,
        ".jsonl": lambda one: pl.read_ndjson(one, infer_schema_length=100_000),
        ".ndjson": lambda one: pl.read_ndjson(one, infer_schema_length=100_000),
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise DataRefused(f"{file.name}: rows are read from .csv, .parquet or .jsonl files; convert it")
    try:
        return reader(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataRefused(f"{file.name} cannot be read: {error}") from error


def read_analysis(file: Path) -> dict[str, Any]:
    """An `analysis.json`.

    Raises:
        DataRefused: it is none.
    """
    from monitoring.bias.report import read as measures

    try:
        found = json.loads(file.read_bytes())
        measures(found)
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise DataRefused(f"{file.name} is no analysis.json: {error}") from error
    return dict(found)


def write(analysis: Mapping[str, Any], out: Path) -> Path:
    """Leave `analysis.json` in a folder."""
    file = out / ANALYSIS
    file.write_text(json.dumps(analysis, indent=1, allow_nan=False) + "\n")
    return file
