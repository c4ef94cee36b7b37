"""Quality without labels: CBPE for classifiers, DLE (direct loss estimation) for regressions.

What is learned from labelled reference rows is an `Estimator`, kept as JSON; `estimate` applies it to live
rows. Both assume that inputs still mean what they meant: they see changed inputs, not a changed world.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality import calibration, expected, reading, trees
from monitoring.quality.calibration import Calibration
from monitoring.quality.expected import Estimate, banded
from monitoring.quality.metric import Task
from monitoring.quality.resample import Floats
from monitoring.quality.trees import Trees
from monitoring.rows import META

if TYPE_CHECKING:
    import polars as pl

FEWEST = 100
"""Labelled reference rows that an estimator is learned from."""
_CATEGORIES = 254


@dataclass(frozen=True, slots=True)
class Column:
    """How an input becomes a number."""

    name: str
    values: tuple[str, ...] | None = None
    """Texts in order of frequency, which are their numbers; None for a column of numbers."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Expected errors of a regression."""

    columns: tuple[Column, ...]
    """The inputs, after the prediction itself."""
    absolute: Trees
    squared: Trees
    deviation: tuple[float, float]
    """Standard deviation of both errors in the reference, for the band."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """What is known from labelled reference rows."""

    task: Task
    classes: tuple[str, ...] = ()
    calibrations: tuple[Calibration, ...] = ()
    """Binary: one. Multiclass: one for each class."""
    losses: Losses | None = None
    rows: int = 0
    """Reference rows behind it."""

    def record(self) -> dict[str, Any]:
        """`estimator.json`."""
        found: dict[str, Any] = {"version": 1, "task": self.task, "rows": self.rows}
        if self.task != "regression":
            found["classes"] = list(self.classes)
            found["calibrations"] = [one.record() for one in self.calibrations]
        if self.losses is not None:
            found["losses"] = {
                "columns": [{"name": one.name, "values": one.values} for one in self.losses.columns],
                "absolute": self.losses.absolute.record(),
                "squared": self.losses.squared.record(),
                "deviation": list(self.losses.deviation),
            }
        return found


def read(record: Mapping[str, Any]) -> Estimator:
    """The estimator of an `estimator.json`.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return Estimator(
            record["task"],
            tuple(record.get("classes", ())),
            tuple(calibration.read(one) for one in record.get("calibrations", ())),
            _losses(record["losses"]) if record.get("losses") else None,
            int(record["rows"]),
        )
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"the estimator cannot be read ({problem!r}); build the package again") from problem


def learn(
    rows: pl.DataFrame, task: Task, classes: Sequence[Any] | None, features: Sequence[str] = (), *, seed: int
) -> tuple[Estimator | None, tuple[str, ...]]:
    """Learn from labelled rows that the model was not trained on; None, and why, when that is not possible.

    Args:
        rows: with predictions, scores and labels; for a regression with the inputs.
        task: of the model.
        classes: of the model, the positive one last.
        features: inputs that may tell how large an error is; all inputs when empty.
        seed: of folds and trees.
    """
    if task == "regression":
        return _learn_losses(rows, features, seed)
    given = reading.classified(rows, classes, binary=task == "binary")
    if given.scores is None:
        return None, ("There are no scores; quality without labels cannot be estimated.",)
    plain = given.scores if task == "binary" else given.scores[:, 0]
    known = (given.truth >= 0) & ~np.isnan(plain)
    if known.sum() < FEWEST:
        return None, (_too_few(int(known.sum())),)
    truth, scores = given.truth[known], given.scores[known]
    columns = (
        [(scores, truth == 1)]
        if task == "binary"
        else [(scores[:, place], truth == place) for place in range(scores.shape[1])]
    )
    fitted = tuple(calibration.calibrate(column, hit, seed=seed) for column, hit in columns)
    return Estimator(task, given.classes, fitted, None, int(known.sum())), given.notes


def estimate(
    rows: pl.DataFrame, estimator: Estimator, *, seed: int
) -> tuple[dict[str, Estimate], tuple[str, ...]]:
    """Metrics of rows without labels, and notes; labels that are there are not looked at.

    Binary: accuracy, precision, recall, specificity, f1, roc_auc, average_precision. Multiclass: accuracy and
    the weighted metrics. Regression: mae, mse, rmse.
    """
    if estimator.task == "regression":
        return _estimate_losses(rows, estimator)
    binary = estimator.task == "binary"
    given = reading.classified(rows, estimator.classes, binary=binary)
    if given.scores is None:
        return {}, ("There are no scores; quality without labels is not estimated.",)
    plain = given.scores if binary else given.scores[:, 0]
    known = (given.predicted >= 0) & ~np.isnan(plain)
    scores, predicted = given.scores[known], given.predicted[known]
    if binary:
        return expected.binary(estimator.calibrations[0](scores), predicted, seed=seed), ()
    shares = np.stack([fit(scores[:, place]) for place, fit in enumerate(estimator.calibrations)], axis=1)
    total = shares.sum(axis=1, keepdims=True)
    even = np.full(shares.shape, 1 / shares.shape[1])
    shares = np.divide(shares, total, out=even, where=total > 0)
    return expected.multiclass(shares, predicted, seed=seed), ()


def _learn_losses(
    rows: pl.DataFrame, features: Sequence[str], seed: int
) -> tuple[Estimator | None, tuple[str, ...]]:
    given = reading.numbers(rows)
    known = ~(np.isnan(given.truth) | np.isnan(given.predicted))
    if known.sum() < FEWEST:
        return None, (_too_few(int(known.sum())),)
    inputs = [name for name in features or rows.columns if name in rows.columns and name not in META]
    columns = tuple(_column(rows, name) for name in inputs)
    matrix = _matrix(rows, columns, given.predicted)[known]
    off = np.abs(given.predicted[known] - given.truth[known])
    deviation = (float(np.std(off)), float(np.std(off**2)))
    learned = Losses(
        columns, trees.grow(matrix, off, seed=seed), trees.grow(matrix, off**2, seed=seed), deviation
    )
    return Estimator("regression", (), (), learned, int(known.sum())), given.notes


def _estimate_losses(rows: pl.DataFrame, estimator: Estimator) -> tuple[dict[str, Estimate], tuple[str, ...]]:
    losses = estimator.losses
    given = reading.numbers(rows)
    known = ~np.isnan(given.predicted)
    if losses is None or not known.any():
        return {}, ("There are no predictions; quality without labels is not estimated.",)
    lacking = [one.name for one in losses.columns if one.name not in rows.columns]
    notes = (f"Inputs are missing, the estimated error takes them as unknown: {', '.join(lacking)}.",)
    matrix = _matrix(rows, losses.columns, given.predicted)[known]
    root = math.sqrt(len(matrix))
    mae = float(np.maximum(losses.absolute(matrix), 0.0).mean())
    mse = float(np.maximum(losses.squared(matrix), 0.0).mean())
    error = losses.deviation[1] / root
    found = {"mae": banded(mae, losses.deviation[0] / root), "mse": banded(mse, error)}
    if mse > 0:
        found["rmse"] = banded(math.sqrt(mse), error / (2 * math.sqrt(mse)))
    return found, notes if lacking else ()


def _column(rows: pl.DataFrame, name: str) -> Column:
    import polars as pl

    column = rows[name]
    if column.dtype.is_numeric() or column.dtype == pl.Boolean or column.dtype.is_temporal():
        return Column(name)
    counts = Counter(value for value in _texts(column) if value is not None)
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    return Column(name, tuple(ordered[:_CATEGORIES]))


def _matrix(rows: pl.DataFrame, columns: Sequence[Column], predicted: Floats) -> Floats:
    """The prediction and the inputs as numbers; unknown texts and missing values are NaN."""
    made = np.full((rows.height, len(columns) + 1), np.nan)
    made[:, 0] = predicted
    for place, column in enumerate(columns, start=1):
        if column.name in rows.columns:
            made[:, place] = _numbers(rows[column.name], column)
    made[~np.isfinite(made)] = np.nan
    return made


def _numbers(series: pl.Series, column: Column) -> NDArray[np.float64]:
    import polars as pl

    if column.values is None:
        if series.dtype.is_temporal():
            series = series.to_physical()
        try:
            return np.asarray(series.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy())
        except pl.exceptions.PolarsError:
            return np.full(len(series), np.nan)
    texts = pl.Series(_texts(series), dtype=pl.String)
    numbers = [float(place) for place in range(len(column.values))]
    coded = texts.replace_strict(list(column.values), numbers, default=None, return_dtype=pl.Float64)
    return np.asarray(coded.fill_null(np.nan).to_numpy())


def _texts(series: pl.Series) -> list[str | None]:
    return [None if value is None else str(value) for value in series.to_list()]


def _losses(record: Mapping[str, Any]) -> Losses:
    columns = tuple(
        Column(one["name"], None if one["values"] is None else tuple(one["values"]))
        for one in record["columns"]
    )
    absolute, squared = record["deviation"]
    asked = len(columns) + 1
    return Losses(
        columns,
        trees.read(record["absolute"], asked),
        trees.read(record["squared"], asked),
        (float(absolute), float(squared)),
    )


def _too_few(rows: int) -> str:
    return (
        f"Only {rows} reference rows have prediction and label; "
        f"{FEWEST} are needed to estimate quality without labels."
    )
