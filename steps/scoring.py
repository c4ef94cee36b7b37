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


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer for each row, as monitoring keeps predictions: a class as text, or a number."""

    task: Task
    values: NDArray[Any]


def predictions(loaded: Predictor, rows: pl.DataFrame) -> Predictions:
    """What a loaded model says of rows; columns it does not know are ignored.

    Raises:
        DataRefused: a column is missing.
    """
    if missing := lacking(loaded, rows):
        raise DataRefused(f"the model needs the columns {', '.join(missing)}, which the rows do not have")
    number = loaded.manifest.number_type
    return loaded.predict(
        {one.name: _column(rows, one.name, one.type, number) for one in loaded.manifest.inputs}
    )


def lacking(loaded: Predictor, rows: pl.DataFrame) -> list[str]:
    """Inputs of the model that the rows do not have."""
    return [one.name for one in loaded.manifest.inputs if one.name not in rows.columns]


def _column(rows: pl.DataFrame, name: str, kind: str, number: str) -> NDArray[Any]:
    if kind == "double":
        numbers = rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return numbers.astype(number).reshape(-1, 1)
    made: NDArray[np.object_] = np.empty((rows.height, 1), dtype=object)
    made[:, 0] = rows[name].cast(pl.String).fill_null("").to_list()
    return made


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
