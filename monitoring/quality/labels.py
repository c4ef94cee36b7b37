"""What really happened, brought to the rows it is about.

A label is meant for the request whose inference id or event id it names, and for the row at its place there.
A record that comes later replaces one that came before. Labels that come late name the hours they touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from monitoring import rows as names

if TYPE_CHECKING:
    import polars as pl

SHOWN = 20
"""Ids that are listed; all are counted."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows with their labels."""

    rows: pl.DataFrame
    """As before, with `@label` and `@label_at`."""
    captured: int
    matched: int
    """Rows with a label."""
    replaced: int
    """Labels that a later one took the place of."""
    orphans: tuple[str, ...]
    """Ids that no row has, the first ones."""
    orphaned: int
    """How many such ids."""
    mismatched: tuple[str, ...]
    """Ids whose record has another number of labels than the request has rows; they are not joined."""
    touched: tuple[datetime, ...]
    """Hours (UTC) of rows whose label is new or different: what was said about them is to be said again."""
    notes: tuple[str, ...] = ()


def join(rows: pl.DataFrame, labels: pl.DataFrame) -> Joined:
    """Give rows their labels; a label that rows already have stays unless a later one came.

    Args:
        rows: decoded rows, all rows of each request among them.
        labels: tables of `truth.decode`, one below the other; of labels of one time the last one wins.
    """
    import polars as pl

    rows = _complete(rows)
    keyed, wrong = _fitting(_keys(rows), labels)
    latest = (
        keyed.drop_nulls("label")
        .sort("at", "told")
        .group_by("place")
        .agg(pl.col("label").last(), pl.col("at").last(), pl.col("label").len().alias("times"))
    )
    found = rows.with_row_index("place").join(latest, on="place", how="left", maintain_order="left")
    newer = pl.col("at").is_not_null() & (
        pl.col(names.LABEL).is_null()
        | pl.col(names.LABEL_AT).is_null()
        | (pl.col("at") >= pl.col(names.LABEL_AT))
    )
    before = pl.col(names.LABEL)
    found = found.with_columns(
        (newer & before.ne_missing(pl.col("label"))).alias("changed"),
        (newer & before.is_not_null() & before.ne_missing(pl.col("label"))).alias("overwritten"),
    )
    done = found.with_columns(
        pl.when(newer).then(pl.col("label")).otherwise(before).alias(names.LABEL),
        pl.when(newer).then(pl.col("at")).otherwise(pl.col(names.LABEL_AT)).alias(names.LABEL_AT),
    )
    lost = labels.join(_keys(rows), on="id", how="anti")["id"].unique(maintain_order=True)
    return Joined(
        rows=done.drop("place", "label", "at", "times", "changed", "overwritten"),
        captured=rows.height,
        matched=int(done[names.LABEL].is_not_null().sum()),
        replaced=int((latest["times"] - 1).sum()) + int(found["overwritten"].sum()),
        orphans=tuple(lost.head(SHOWN).to_list()),
        orphaned=len(lost),
        mismatched=tuple(wrong.head(SHOWN).to_list()),
        touched=_hours(found.filter("changed")[names.AT]),
        notes=_notes(rows, len(lost), len(wrong)),
    )


def _complete(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with every column that a join needs, in the types it needs."""
    import polars as pl

    text, time = pl.String(), pl.Datetime("us", "UTC")
    wanted: dict[str, pl.DataType] = {
        names.EVENT_ID: text,
        names.INFERENCE_ID: text,
        names.LABEL: text,
        names.AT: time,
        names.LABEL_AT: time,
    }
    nothing = [
        pl.Series(name, [None] * rows.height, dtype=kind)
        for name, kind in wanted.items()
        if name not in rows.columns
    ]
    made = rows.with_columns(nothing).with_columns(_as(rows, name, kind) for name, kind in wanted.items())
    if names.ROW in rows.columns:
        return made.with_columns(pl.col(names.ROW).cast(pl.Int64))
    return made.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).over(names.EVENT_ID).alias(names.ROW))


def _as(rows: pl.DataFrame, name: str, kind: pl.DataType) -> pl.Expr:
    import polars as pl

    column, given = pl.col(name), rows.schema.get(name)
    if isinstance(kind, pl.Datetime) and isinstance(given, pl.Datetime):
        zoned = column.dt.replace_time_zone("UTC") if given.time_zone is None else column
        return zoned.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return column.cast(kind, strict=False)


def _keys(rows: pl.DataFrame) -> pl.DataFrame:
    """Every id under which a row can be meant, with its place in the table."""
    import polars as pl

    event, inference = pl.col(names.EVENT_ID), pl.col(names.INFERENCE_ID)
    placed = rows.select(
        event,
        inference,
        pl.col(names.ROW).alias("row"),
        pl.len().over(names.EVENT_ID, names.INFERENCE_ID).cast(pl.Int64).alias("size"),
    ).with_row_index("place")
    other = placed.filter(event.is_not_null() & event.ne_missing(inference))
    return pl.concat(
        one.select("place", key.alias("id"), "row", "size")
        for one, key in ((placed.filter(inference.is_not_null()), inference), (other, event))
    )


def _fitting(keys: pl.DataFrame, labels: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Labels at their rows, and ids whose number of labels is not that of the rows."""
    import polars as pl

    met = keys.join(labels.with_row_index("told"), on="id", how="inner", suffix="_of_label")
    fits = pl.col("count") == pl.col("size")
    wrong = met.filter(~fits)["id"].unique(maintain_order=True)
    return met.filter(fits & (pl.col("row") == pl.col("row_of_label"))), wrong


def _hours(times: pl.Series) -> tuple[datetime, ...]:
    return tuple(times.drop_nulls().dt.truncate("1h").unique().sort().to_list())


def _notes(rows: pl.DataFrame, orphaned: int, mismatched: int) -> tuple[str, ...]:
    import polars as pl

    reused = (
        rows.lazy()
        .drop_nulls(names.INFERENCE_ID)
        .group_by(names.INFERENCE_ID)
        .agg(pl.col(names.EVENT_ID).n_unique().alias("requests"))
        .filter(pl.col("requests") > 1)
        .collect()
        .height
    )
    told = []
    if orphaned:
        told.append(f"Labels of {orphaned} ids belong to no captured row.")
    if mismatched:
        told.append(
            f"Labels of {mismatched} ids are not as many as the rows of the request; they are left out."
        )
    if reused:
        told.append(f"{reused} inference ids were sent with several requests; their label counts for each.")
    return tuple(told)
