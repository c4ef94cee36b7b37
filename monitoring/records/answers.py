"""Rows of answers to a predicted label and a score, whoever answered.

A package's answers name both. Others are understood by their usual names, by the names that somebody gives
(`InferenceAttribute`, `ProbabilityAttribute`), or by their place: a label before scores, or scores alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from monitoring.payloads import plain_label
from monitoring.records.columns import RECORD
from monitoring.records.layout import Layout
from monitoring.rows import PREDICTED, SCORE

if TYPE_CHECKING:
    import polars as pl

_LABELS = ("predicted_label", "label", "predicted_class")
_SCORES = ("score", "scores", "probabilities", "probability")


def mapped(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """The columns `RECORD`, `PREDICTED` and `SCORE` of the rows of answers."""
    label, scores = _found(rows, layout)
    if layout.task == "regression" or (layout.task is None and label is None and _one_number(scores)):
        value = scores[0] if scores else label
        return _made(rows, _number(value, rows.height), None)
    score = _score(scores, layout)
    named = _derived(score, layout) if label is None else plain(label)
    if named is not None and score is not None and label is not None and named.null_count():
        named = named.fill_null(_derived(score, layout)) if layout.classes else named
    return _made(rows, named, score)


def nothing(layout: Layout) -> pl.DataFrame:
    """The same columns without rows."""
    import polars as pl

    return mapped(pl.DataFrame({RECORD: []}, {RECORD: pl.Int64}), layout)


def _made(rows: pl.DataFrame, predicted: pl.Series | None, score: pl.Series | None) -> pl.DataFrame:
    import polars as pl

    empty = pl.Series(values=[None] * rows.height, dtype=pl.Null)  # fits beside whatever other answers have
    predicted = empty if predicted is None else predicted
    score = empty if score is None else score
    return pl.DataFrame([rows[RECORD], predicted.alias(PREDICTED), score.alias(SCORE)])


def _found(rows: pl.DataFrame, layout: Layout) -> tuple[pl.Series | None, list[pl.Series]]:
    """The column of labels, if any, and those of scores."""
    names = [name for name in rows.columns if name != RECORD]
    label = _named(rows, layout.predicted, _LABELS)
    score = _named(rows, layout.score, _SCORES)
    if label is not None or score is not None or layout.predicted or layout.score:
        return label, [] if score is None else [score]
    cells = [rows[name] for name in names]
    if not cells:
        return None, []
    if _is_label(cells, layout):
        return cells[0], cells[1:]
    return None, cells


def _named(rows: pl.DataFrame, wanted: str, usual: Sequence[str]) -> pl.Series | None:
    if wanted:
        wanted = f"_c{wanted}" if wanted.isdigit() else wanted
        return rows[wanted] if wanted in rows.columns else None
    return next((rows[name] for name in usual if name in rows.columns), None)


def _is_label(cells: Sequence[pl.Series], layout: Layout) -> bool:
    """Whether the first of columns without names is a label."""
    import polars as pl

    kind = cells[0].dtype
    if layout.task == "regression" or isinstance(kind, pl.List):
        return False
    if kind in (pl.String, pl.Boolean):
        return True
    if len(cells) == 1:
        return kind == pl.Int64 and layout.task is not None
    if layout.task == "binary" and len(cells) == 2 and not kind.is_integer():
        return {plain_label(one) for one in cells[0].unique().drop_nulls()} <= _classes(layout)
    return len(cells) == len(layout.classes) + 1 if layout.classes and len(cells) > 2 else kind == pl.Int64


def _classes(layout: Layout) -> set[str]:
    return {plain_label(one) for one in layout.classes}


def _one_number(scores: Sequence[pl.Series]) -> bool:
    return len(scores) == 1 and scores[0].dtype.is_numeric()


def _number(values: pl.Series | None, rows: int) -> pl.Series:
    import polars as pl

    if values is None:
        return pl.Series(values=[None] * rows, dtype=pl.Float64)
    if isinstance(values.dtype, pl.List):
        values = values.list.first()
    return values.cast(pl.Float64, strict=False)


def _score(scores: Sequence[pl.Series], layout: Layout) -> pl.Series | None:
    import polars as pl

    if not scores:
        return None
    if len(scores) > 1:
        frame = pl.DataFrame([_number(one, one.len()).alias(str(n)) for n, one in enumerate(scores)])
        found = frame.select(pl.concat_list(pl.all())).to_series()
    else:
        found = scores[0]
    if isinstance(found.dtype, pl.List):
        found = found.cast(pl.List(pl.Float64), strict=False)
        return found.list.last() if layout.task == "binary" else found
    found = found.cast(pl.Float64, strict=False)
    return found if layout.task != "multiclass" else None


def _derived(score: pl.Series | None, layout: Layout) -> pl.Series | None:
    """Labels that scores mean; None without classes or scores."""
    import polars as pl

    if score is None or not layout.classes:
        return None
    names = [plain_label(one) for one in layout.classes]
    if isinstance(score.dtype, pl.List):
        fits = score.list.len() == len(names)
        place = score.set(~fits.fill_null(value=False), None).list.arg_max()
        return pl.Series(names, dtype=pl.String).gather(place)
    if len(names) != 2:
        return None
    return pl.Series(names, dtype=pl.String).gather((score > layout.threshold).cast(pl.UInt32))


def plain(label: pl.Series) -> pl.Series:
    """Labels as `plain_label` writes them."""
    import polars as pl

    if label.dtype == pl.Null:
        return label.cast(pl.String)
    if label.dtype.is_integer():
        return label.cast(pl.String)
    if isinstance(label.dtype, pl.List):
        label = label.cast(pl.List(pl.String)).list.join(",")
    known = label.unique().drop_nulls()
    texts = [plain_label(one) for one in known.to_list()]
    return label.replace_strict(known, pl.Series(texts, dtype=pl.String), return_dtype=pl.String)
