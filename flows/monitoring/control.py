"""Labelled rows with the answers of two versions, for the quality guard.

Where both versions got the same request, as while one is the shadow of the other, both answers were captured.
A request that only one of them got, as the control of a probation or the version that serves alone, is
answered off line by the other one: once, since answers are kept beside the hour of the row, by digest of the
package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flows.monitoring.hours import Hours, Stretch
from flows.monitoring.windows import Window
from monitoring import guard
from monitoring.rows import AT, EVENT_ID, LABEL, PREDICTED, ROW
from serving.package import load_manifest
from steps.hour import Hour, stamp, written
from steps.hours import alone

if TYPE_CHECKING:
    import polars as pl

    from serving.manifest import Task

KEY = (EVENT_ID, ROW)
OTHER = "@other"
"""What the other version answers."""
_HOUR = "@hour"
_STAMP = "seaway.reading"
"""Entry of the metadata of kept answers: how the rows were read that they belong to."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One of two versions."""

    variant: str
    digest: str
    package: Path
    """Unpacked."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Labelled rows with both answers."""

    task: Task
    labels: NDArray[Any]
    serving: NDArray[Any]
    before: NDArray[Any]
    captured: int
    """Rows on which both versions have answered at the time."""
    kept: int
    """Rows that one of them has answered off line at an earlier look."""
    answered: int
    """Rows that one of them has answered off line now."""

    def lost_and_won(self) -> tuple[int, int]:
        """Rows on which only the version before was right, or nearer; and those where only the other was."""
        if self.task != "regression":
            return guard.classes(self.labels, self.serving, self.before)
        labels, serving, before = (
            np.asarray(one, dtype=np.float64) for one in (self.labels, self.serving, self.before)
        )
        return guard.numbers(labels, serving, before)


def pairs(hours: Hours, serving: Contender, before: Contender, window: Window) -> Pairs | None:
    """Every row of a window that one of two versions has answered and whose label is known; None without any.

    Rows of the version before that the other one cannot read, since it needs further columns, are left out.

    Raises:
        steps.errors.DataRefused: the version before needs columns that the rows do not have.
        serving.errors.ServingError: a package cannot be loaded.
    """
    import polars as pl

    ours, theirs = (hours.stretch(one.variant, window) for one in (serving, before))
    live, control = ours.labelled(), theirs.labelled()
    if live.is_empty() and control.is_empty():
        return None
    task = load_manifest(before.package).task
    both, alone_ours, alone_theirs = _parted(live, control)
    left = _Offline(ours, before).answers(alone_ours)
    right = _Offline(theirs, serving).answers(_readable(serving, alone_theirs))
    told = pl.concat(
        [
            _triples(both, task, PREDICTED, OTHER),
            _triples(left.rows, task, PREDICTED, OTHER),
            _triples(right.rows, task, OTHER, PREDICTED),
        ]
    )
    labels, ours_said, theirs_said = (told[name].to_numpy() for name in ("label", "serving", "before"))
    kept, made = left.kept + right.kept, left.made + right.made
    return Pairs(task, labels, ours_said, theirs_said, both.height, kept, made)


def _parted(live: pl.DataFrame, control: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Rows that both have answered, with the other's answer; those of one alone; those of the other alone."""
    if live.is_empty() or control.is_empty():
        return live.clear(), live, control
    known = control.select(*KEY, control[PREDICTED].alias(OTHER)).unique(KEY, keep="last")
    both = live.join(known, on=KEY, how="inner")
    return both, live.join(known, on=KEY, how="anti"), control.join(live, on=KEY, how="anti")


def _triples(rows: pl.DataFrame, task: Task, serving: str, before: str) -> pl.DataFrame:
    import polars as pl

    kind = pl.Float64() if task == "regression" else pl.String()
    wanted = {"label": LABEL, "serving": serving, "before": before}
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(wanted, kind))
    return rows.select(pl.col(column).cast(kind, strict=False).alias(name) for name, column in wanted.items())


def _readable(one: Contender, rows: pl.DataFrame) -> pl.DataFrame:
    needed = {column.name for column in load_manifest(one.package).inputs}
    return rows if needed <= set(rows.columns) else rows.clear()


@dataclass(frozen=True, slots=True)
class _Answered:
    rows: pl.DataFrame
    """With the other's answers."""
    kept: int = 0
    made: int = 0


@dataclass(frozen=True, slots=True)
class _Offline:
    """A version that answers the rows of another one off line, each once."""

    stretch: Stretch
    """Where the rows are."""
    other: Contender

    def answers(self, rows: pl.DataFrame) -> _Answered:
        """Rows with the answers of the other version, kept for the next time."""
        import polars as pl

        if rows.is_empty():
            return _Answered(rows)
        rows = rows.with_columns(pl.col(AT).dt.truncate("1h").alias(_HOUR))
        hours = {hour.at: hour for hour in self.stretch.hours}
        touched = [hours[at] for at in rows[_HOUR].unique().sort() if at in hours]
        found = [kept for hour in touched if (kept := self._kept(hour)) is not None]
        if not found:
            return _Answered(self._made(rows, hours), 0, rows.height)
        known = pl.concat(found, how="vertical_relaxed").unique(KEY, keep="last")
        before = rows.join(known, on=KEY, how="inner")
        new = rows.join(known, on=KEY, how="anti")
        if new.is_empty():
            return _Answered(before, before.height)
        made = self._made(new, hours)
        return _Answered(pl.concat([before, made], how="vertical_relaxed"), before.height, new.height)

    def _made(self, rows: pl.DataFrame, hours: Mapping[datetime, Hour]) -> pl.DataFrame:
        import polars as pl

        from steps import scoring

        values = scoring.predicted(self.other.package, rows).values
        answered = rows.with_columns(pl.Series(OTHER, values.tolist(), strict=False))
        for (at,), part in answered.group_by(_HOUR):
            if isinstance(at, datetime) and at in hours:
                self._keep(hours[at], part.select(*KEY, OTHER))
        return answered

    def _file(self, hour: Hour) -> Path:
        return hour.folder / f"answers-{self.other.digest[:32]}.parquet"

    def _kept(self, hour: Hour) -> pl.DataFrame | None:
        """What the version has answered of an hour before; None when rows are read otherwise by now."""
        import polars as pl

        seal, file = hour.seal(), self._file(hour)
        if seal is None or stamp(file, _STAMP) != seal.reading:
            return None
        return pl.read_parquet(file)

    def _keep(self, hour: Hour, answers: pl.DataFrame) -> None:
        import polars as pl

        if (seal := hour.seal()) is None:
            return
        with alone(self.stretch.root / self.stretch.variant):  # others may have kept some meanwhile
            kept = self._kept(hour)
            every = answers if kept is None else pl.concat([kept, answers], how="vertical_relaxed")
            written(every.unique(KEY, keep="last").lazy(), self._file(hour), {_STAMP: seal.reading})
