"""Decoded rows as arrays: the class or number that was predicted, the score, and what really happened.

Nothing here fails on bad rows. What cannot be used is counted, and told in a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from monitoring import rows as names
from monitoring.payloads import plain_label
from monitoring.quality.resample import Floats

if TYPE_CHECKING:
    import polars as pl

MISSING, UNKNOWN = -1, -2
"""Codes of a class that is not there, and of one that the model does not know."""
_NOTHING = frozenset({"", "nan", "null", "none"})
_SHOWN = 5

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Classified:
    """Rows of a classifier; all arrays have one entry a row."""

    classes: tuple[str, ...]
    truth: Codes
    """Index of the class, or `MISSING` or `UNKNOWN`."""
    predicted: Codes
    scores: Floats | None
    """Binary: probability of the positive class, NaN where there is none. Multiclass: one column a class."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Numbers:
    """Rows of a regression; NaN where something is missing."""

    truth: Floats
    predicted: Floats
    notes: tuple[str, ...] = ()


def numbers(rows: pl.DataFrame) -> Numbers:
    """The predicted and true numbers of the rows."""
    notes: list[str] = []
    predicted = _numeric(rows, names.PREDICTED, notes)
    if np.isnan(predicted).all() and names.SCORE in rows.columns:
        predicted = _numeric(rows, names.SCORE, notes)
    return Numbers(_numeric(rows, names.LABEL, notes), predicted, tuple(notes))


def classified(
    rows: pl.DataFrame, classes: Sequence[Any] | None, *, binary: bool, threshold: float | None = None
) -> Classified:
    """The predicted and true classes of the rows.

    Args:
        rows: decoded rows.
        classes: of the model, the positive one last; None takes those that occur, in their order.
        binary: the model has two classes and one score.
        threshold: a score above it is the positive class. None: the predicted label says it, and 0.5 is the
            threshold where there is a score and no label.
    """
    notes: list[str] = []
    known = _classes(rows, classes, binary=binary, notes=notes)
    truth = _codes(rows, names.LABEL, known, "label", notes)
    predicted = _codes(rows, names.PREDICTED, known, "predicted label", notes)
    scores = _scores(rows, notes) if binary else _tables(rows, len(known), notes)
    if scores is not None:
        asked = ~np.isnan(scores if binary else scores[:, 0])
        if threshold is None or not binary:
            asked &= predicted == MISSING
        if asked.any():
            by_score = scores > (0.5 if threshold is None else threshold) if binary else scores.argmax(1)
            predicted = np.where(asked, by_score, predicted).astype(np.int64)
    return Classified(known, truth, predicted, scores, tuple(notes))


def _classes(
    rows: pl.DataFrame, classes: Sequence[Any] | None, *, binary: bool, notes: list[str]
) -> tuple[str, ...]:
    if classes is not None:
        known = tuple(dict.fromkeys(plain_label(one) for one in classes))
    else:
        seen = {
            plain_label(value)
            for name in (names.LABEL, names.PREDICTED)
            for value in _text(rows, name).unique().to_list()
            if value is not None and value.strip().casefold() not in _NOTHING
        }
        known = tuple(sorted(seen, key=_order))
    return _two(known, notes) if binary and len(known) != 2 else known or ("0",)


def _two(known: tuple[str, ...], notes: list[str]) -> tuple[str, ...]:
    """Two classes for a binary model of which another number is known."""
    shown = ", ".join(known[:_SHOWN]) or "none"
    if len(known) > 2:
        notes.append(f"A binary model has two classes, but these occur: {shown}; the first two are used.")
        return known[:2]
    notes.append(f"Only these classes are known: {shown}; name both classes of the model.")
    return ("0", "1") if set(known) <= {"0", "1"} else (*known, "(other)")


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count} rows have"


def _order(text: str) -> tuple[int, float, str]:
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)


def _codes(rows: pl.DataFrame, name: str, classes: Sequence[str], what: str, notes: list[str]) -> Codes:
    import polars as pl

    text = _text(rows, name)
    found = text.unique().drop_nulls().to_list()
    index = {one: place for place, one in enumerate(classes)}
    codes = [
        MISSING
        if value.strip().casefold() in _NOTHING and plain_label(value) not in index
        else index.get(plain_label(value), UNKNOWN)
        for value in found
    ]
    coded = (
        text.replace_strict(found, codes, default=None, return_dtype=pl.Int64)
        if found
        else text.cast(pl.Int64)
    )
    made = np.asarray(coded.fill_null(MISSING).to_numpy(), dtype=np.int64)
    if strange := int((made == UNKNOWN).sum()):
        shown = sorted(value for value, code in zip(found, codes, strict=True) if code == UNKNOWN)[:_SHOWN]
        notes.append(f"{_rows(strange)} a {what} that the model does not know: {', '.join(shown)}.")
    return made


def _scores(rows: pl.DataFrame, notes: list[str]) -> Floats | None:
    import polars as pl

    if names.SCORE not in rows.columns:
        return None
    column = rows[names.SCORE]
    if column.dtype in (pl.List, pl.Array):
        column = column.cast(pl.List(pl.Float64), strict=False).list.last()
    made = _floats(column)
    if bad := int((~np.isfinite(made)).sum()) - column.null_count():
        notes.append(f"{_rows(bad)} a score that is no finite number; curves and areas leave them out.")
    made = np.where(np.isfinite(made), made, np.nan)
    seen = made[~np.isnan(made)]
    if len(seen) > 1 and (seen == seen[0]).all():
        notes.append(f"All scores are {seen[0]:g}; they do not order the rows.")
    return made if len(seen) else None


def _tables(rows: pl.DataFrame, classes: int, notes: list[str]) -> Floats | None:
    """One column a class; a row of NaN where the list has another length or holds something else."""
    import polars as pl

    if names.SCORE not in rows.columns or rows[names.SCORE].dtype not in (pl.List, pl.Array):
        return None
    column = rows[names.SCORE]
    try:
        lists = column.cast(pl.List(pl.Float64), strict=False)
    except pl.exceptions.PolarsError:
        return None
    fits = lists.list.len().fill_null(0).to_numpy() == classes
    made = np.full((len(lists), classes), np.nan)
    if fits.any():
        values = lists.filter(pl.Series(fits)).explode(empty_as_null=True, keep_nulls=True).fill_null(np.nan)
        made[fits] = values.to_numpy().reshape(-1, classes)
    made[~np.isfinite(made).all(axis=1)] = np.nan
    bad = int(np.isnan(made[:, 0]).sum()) - column.null_count()
    if bad:
        notes.append(f"{_rows(bad)} no list of {classes} finite scores, one for each class.")
    return made if not np.isnan(made).all() else None


def _numeric(rows: pl.DataFrame, name: str, notes: list[str]) -> Floats:
    if name not in rows.columns:
        return np.full(rows.height, np.nan)
    made = _floats(rows[name])
    lost = int((~np.isfinite(made)).sum()) - rows[name].null_count()
    if lost:
        what = {names.LABEL: "label", names.PREDICTED: "prediction"}.get(name, "score")
        notes.append(f"{_rows(lost)} a {what} that is no finite number; they are left out.")
    return np.where(np.isfinite(made), made, np.nan)


def _floats(column: pl.Series) -> Floats:
    """Numbers of a column of any type, NaN for whatever is none."""
    import polars as pl

    if column.dtype.is_nested() or column.dtype == pl.Object:
        column = pl.Series(column.name, [_number(one) for one in column.to_list()], dtype=pl.Float64)
    try:
        cast = column.cast(pl.Float64, strict=False)
    except pl.exceptions.PolarsError:
        return np.full(len(column), np.nan)
    return np.array(cast.fill_null(np.nan).to_numpy(), dtype=np.float64)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _text(rows: pl.DataFrame, name: str) -> pl.Series:
    """A column as text; all null when it is absent or holds lists and the like."""
    import polars as pl

    nothing = pl.Series(name, [None] * rows.height, dtype=pl.String)
    if name not in rows.columns:
        return nothing
    column = rows[name]
    if column.dtype.is_nested():
        return nothing
    if column.dtype == pl.Object:
        told = [None if value is None else str(value) for value in column.to_list()]
        return pl.Series(name, told, dtype=pl.String)
    try:
        return column.cast(pl.String, strict=False)
    except pl.exceptions.PolarsError:
        return nothing
