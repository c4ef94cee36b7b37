"""Rows through a packed model: what another version would have answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitoring.payloads import plain_label
from serving import predictor
from serving.manifest import Task
from serving.predictions import Predictions
from serving.predictor import Predictor
from steps.errors import DataRefused
from steps.explained_rows import columns_of


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer for each row, as monitoring keeps predictions: a class as text, or a number."""

    task: Task
    values: NDArray[Any]


def predictions(loaded: Predictor, rows: pl.DataFrame) -> Predictions:
    """What a loaded model says of rows; columns it does not know are ignored, no number is a missing one.

    Raises:
        DataRefused: a column is missing.
    """
    if missing := lacking(loaded, rows):
        raise DataRefused(f"the model needs the columns {', '.join(missing)}, which the rows do not have")
    return loaded.predict(columns_of(rows, loaded.manifest))


def lacking(loaded: Predictor, rows: pl.DataFrame) -> list[str]:
    """Inputs of the model that the rows do not have."""
    return [one.name for one in loaded.manifest.inputs if one.name not in rows.columns]


def predicted(package: Path, rows: pl.DataFrame) -> Answered:
    """The answers of an unpacked package to rows.

    Raises:
        DataRefused: a column is missing.
        serving.errors.ServingError: the package cannot be loaded.
    """
    loaded = predictor.load(package)
    found = predictions(loaded, rows)
    if found.labels is None:
        return Answered(loaded.manifest.task, np.asarray(found.scores, dtype=np.float64))
    labels = np.array([plain_label(one) for one in found.labels], dtype=object)
    return Answered(loaded.manifest.task, labels)
