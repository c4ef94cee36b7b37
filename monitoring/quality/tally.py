"""What an hour of labelled rows leaves, so that the quality of any window is a merge of hours.

Confusion matrices are counts: every metric of decisions is exact after any merge. The area under the ROC
curve comes from score bins, and `Ranked.bound` says how far off it may be. Sums of errors are exact but for
rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from monitoring.quality import binary, confusion, multiclass, ranking, reading, regression
from monitoring.quality.metric import Measured, Task
from monitoring.quality.ranking import Ranked
from monitoring.quality.reading import MISSING, UNKNOWN
from monitoring.quality.regression import Errors
from monitoring.quality.resample import Ints

if TYPE_CHECKING:
    import polars as pl

NEW_CLASS = "(unknown label)"
NO_CLASS = "(unknown prediction)"
"""Rows and columns of what the model does not know; such rows count as wrong."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Labelled rows in counts."""

    task: Task
    classes: tuple[str, ...] = ()
    """Of the model; empty for a regression."""
    rows: int = 0
    """Labelled and predicted."""
    table: Ints | None = None
    """Confusion matrix over the classes; several classes have `NEW_CLASS` and `NO_CLASS` at the end."""
    ranked: Ranked | None = None
    """Binary: rows by score."""
    errors: Errors | None = None
    """Regression: sums."""

    def record(self) -> dict[str, Any]:
        """Values that JSON can hold; `read` makes a tally of them again."""
        found: dict[str, Any] = {"task": self.task, "classes": list(self.classes), "rows": self.rows}
        if self.table is not None:
            found["table"] = self.table.tolist()
        if self.ranked is not None:
            bins = ranking.binned(self.ranked)
            found["scores"] = bins.scores.tolist()
            found["positive"], found["negative"] = bins.positive.tolist(), bins.negative.tolist()
        if self.errors is not None:
            kept = self.errors
            found["errors"] = [kept.n, kept.absolute, kept.squared, kept.fourth, kept.mean, kept.m2]
        return found


def read(record: Mapping[str, Any]) -> Tally:
    """The tally of a record that `Tally.record` made."""
    bins = None
    if "scores" in record:
        positive, negative = (np.array(record[name], dtype=np.int64) for name in ("positive", "negative"))
        bins = Ranked(np.array(record["scores"], dtype=np.float64), positive, negative, exact=False)
    return Tally(
        record["task"],
        tuple(record["classes"]),
        record["rows"],
        np.array(record["table"], dtype=np.int64) if "table" in record else None,
        bins,
        Errors(*record["errors"]) if "errors" in record else None,
    )


def merge(one: Tally, other: Tally) -> Tally:
    """The rows of both.

    Raises:
        ValueError: they are of models with different tasks or classes.
    """
    if (one.task, one.classes) != (other.task, other.classes):
        raise ValueError(
            "tallies of different tasks or classes cannot be merged; tally each model on its own"
        )
    return Tally(
        one.task,
        one.classes,
        one.rows + other.rows,
        _either(one.table, other.table, np.add),
        _either(one.ranked, other.ranked, ranking.merge),
        _either(one.errors, other.errors, regression.merge),
    )


def tally(
    rows: pl.DataFrame, task: Task, classes: Sequence[Any] | None, *, threshold: float | None = None
) -> Tally:
    """Count the labelled rows; see `reading.classified` for classes and threshold."""
    if task == "regression":
        return of_numbers(reading.numbers(rows))
    binary = task == "binary"
    return of_classes(reading.classified(rows, classes, binary=binary, threshold=threshold), binary=binary)


def of_numbers(given: reading.Numbers) -> Tally:
    """Sums of the rows that have a prediction and a label."""
    known = ~(np.isnan(given.truth) | np.isnan(given.predicted))
    kept = regression.errors(given.truth[known], given.predicted[known])
    return Tally("regression", (), kept.n, None, None, kept)


def of_classes(given: reading.Classified, *, binary: bool) -> Tally:
    """Counts of the rows that have a prediction and a label.

    Two classes leave out rows with an unknown label or prediction: no rate has a place for them. Several
    classes count them as wrong.
    """
    count = len(given.classes)
    if binary:
        known = (given.truth >= 0) & (given.predicted >= 0)
        table = confusion.cells(given.truth[known], given.predicted[known], count)
        return Tally("binary", given.classes, int(known.sum()), table, _ranked(given))
    known = (given.truth != MISSING) & (given.predicted != MISSING)
    truth = np.where(given.truth[known] == UNKNOWN, count, given.truth[known])
    predicted = np.where(given.predicted[known] == UNKNOWN, count + 1, given.predicted[known])
    return Tally("multiclass", given.classes, int(known.sum()), confusion.cells(truth, predicted, count + 2))


def measure(given: Tally, rng: np.random.Generator, *, constant_class: str | None = None) -> Measured:
    """The metrics of the tallied rows; see `regression.of_errors` for what sums cannot tell."""
    if given.errors is not None:
        return regression.of_errors(given.errors)
    table = np.zeros((2, 2), np.int64) if given.table is None else given.table
    if given.task == "binary":
        return binary.measure(table, given.ranked, given.classes, rng, constant_class=constant_class)
    named = (*given.classes, NEW_CLASS, NO_CLASS)
    last = len(given.classes)
    strange = [place for place in (last, last + 1) if table[place].any() or table[:, place].any()]
    used = [*range(last), *strange]
    shown = table[np.ix_(used, used)]
    return multiclass.measure(shown, [named[place] for place in used], rng, constant_class=constant_class)


def _ranked(given: reading.Classified) -> Ranked | None:
    if given.scores is None:
        return None
    known = (given.truth >= 0) & ~np.isnan(given.scores)
    return ranking.ranked(given.scores[known], given.truth[known])


def _either(one: Any, other: Any, both: Any) -> Any:
    return other if one is None else one if other is None else both(one, other)
