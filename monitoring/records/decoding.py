"""Captured records to one table: requests beside answers, one row for each predicted row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from monitoring import rows as names
from monitoring.records import answers, envelope, sides
from monitoring.records.columns import RECORD, from_rows, stacked
from monitoring.records.documents import Row
from monitoring.records.envelope import Records, Refusal
from monitoring.records.handlers import caller
from monitoring.records.layout import Handler, Layout, Unreadable

if TYPE_CHECKING:
    import polars as pl

EXAMPLES = 20
"""Refusals that are kept as examples; all are counted."""
COLUMNS = (
    names.EVENT_ID,
    names.INFERENCE_ID,
    names.ROW,
    names.AT,
    names.VARIANT,
    names.PREDICTED,
    names.SCORE,
)
"""What every decoded table has beside the inputs."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of captured records."""

    frame: pl.DataFrame
    """Inputs, then `COLUMNS`, in the order of the records."""
    records: int
    """Lines that were read, of whatever outcome."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """How many records could not be read, or not wholly, by part and reason."""
    examples: tuple[Refusal, ...] = ()
    """The first of them."""
    dropped: int = 0
    """Records that the project's handler left out."""


def decode(lines: Sequence[bytes], layout: Layout, variant: str, handler: Handler | None = None) -> Decoded:
    """The rows of captured records; a record that cannot be read is counted, and never stops the others.

    A request that cannot be read has no rows. When only its answer cannot, or has another number of rows,
    the request's rows stay without prediction. Where only one direction was captured, its rows are all.

    Args:
        lines: complete lines of capture files, without their ends.
        layout: what is known of the model.
        variant: who answered.
        handler: a project's function from a record to rows, instead of the decoding of requests.
    """
    import polars as pl

    try:
        return _decoded(lines, layout, variant, handler)
    except MemoryError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - whatever a record holds
        if len(lines) > 1:
            middle = len(lines) // 2
            halves = [decode(half, layout, variant, handler) for half in (lines[:middle], lines[middle:])]
            return _together(halves)
        refusal = Refusal("", "record", f"record cannot be decoded ({type(error).__name__})")
        nothing = _decoded((), layout, variant, None).frame
        return Decoded(nothing, len(lines), {f"{refusal.part}: {refusal.reason}": 1}, (refusal,))


def _together(parts: Sequence[Decoded]) -> Decoded:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.refused)
    return Decoded(
        _ordered(stacked([part.frame for part in parts])),
        sum(part.records for part in parts),
        dict(counts),
        tuple(one for part in parts for one in part.examples)[:EXAMPLES],
        sum(part.dropped for part in parts),
    )


def _ordered(frame: pl.DataFrame) -> pl.DataFrame:
    """Inputs first, then what is ours."""
    return frame.select(*(name for name in frame.columns if name not in COLUMNS), *COLUMNS)


def _decoded(lines: Sequence[bytes], layout: Layout, variant: str, handler: Handler | None) -> Decoded:
    found, refusals = envelope.records(lines)
    dropped = 0
    if handler is None:
        frames, unread = sides.read(found.asked, layout)
        asked = sides.in_order(frames)
    else:
        asked, unread, dropped = _handled(found, lines, handler)
    answered, unanswered = sides.read(found.answered, _ANSWERS, answers=True)
    told = sides.in_order([answers.mapped(frame, layout) for frame in answered] or [answers.nothing(layout)])
    kept = _without(told, asked, unread, handled=handler is not None)
    table, odd = _paired(asked, kept, found)
    for part, problems in (("request", unread), ("answer", unanswered), ("answer", odd)):
        refusals += [Refusal(found.event_ids[n], part, reason) for n, reason in sorted(problems.items())]
    frame, timeless = _finished(table, found, variant, layout)
    refusals += [Refusal(found.event_ids[n], "record", "inferenceTime is no time") for n in timeless]
    counts = Counter(f"{one.part}: {one.reason}" for one in refusals)
    return Decoded(frame, len(lines), dict(counts), tuple(refusals[:EXAMPLES]), dropped)


_ANSWERS = Layout(header=False)


def _handled(
    found: Records, lines: Sequence[bytes], handler: Handler
) -> tuple[pl.DataFrame, dict[int, str], int]:
    """Rows that a project's handler makes, refusals, and how many records it left out."""
    import polars as pl

    call = caller(handler)
    rows: list[Row] = []
    places: list[int] = []
    refused: dict[int, str] = {}
    dropped = 0
    for place, number in enumerate(found.lines):
        try:
            some = call(orjson.loads(lines[number]))
        except Unreadable as problem:
            refused[place] = str(problem)
            continue
        dropped += not some
        rows += some
        places += [place] * len(some)
    made = from_rows(rows)
    if names.PREDICTED in made.columns and not made.schema[names.PREDICTED].is_float():
        made = made.with_columns(answers.plain(made[names.PREDICTED]))
    return made.insert_column(0, pl.Series(RECORD, places, pl.Int64)), refused, dropped


def _without(
    told: pl.DataFrame, asked: pl.DataFrame, unread: Mapping[int, str], *, handled: bool
) -> pl.DataFrame:
    """Answers without those of requests that were refused, or that a handler left out."""
    import polars as pl

    if handled:
        return told.filter(pl.col(RECORD).is_in(asked[RECORD].unique().to_list()))
    return told.filter(~pl.col(RECORD).is_in(list(unread))) if unread else told


def _paired(asked: pl.DataFrame, told: pl.DataFrame, found: Records) -> tuple[pl.DataFrame, dict[int, str]]:
    """Requests and answers side by side, and the answers that have another number of rows."""
    import polars as pl

    if ours := [name for name in (names.PREDICTED, names.SCORE) if name in asked.columns]:
        told = told.drop(ours)
    if asked[RECORD].equals(told[RECORD]):
        return _numbered(asked.hstack(told.drop(RECORD))), {}
    asked, told = _numbered(asked), _numbered(told)
    counted = _counts(asked, "asked").join(_counts(told, "told"), on=RECORD, how="full", coalesce=True)
    captured = pl.Series([bool(encoding) for encoding in found.asked.encodings], dtype=pl.Boolean)
    differing = counted.filter(
        pl.col("told").is_not_null()
        & (pl.col("asked").fill_null(0) != pl.col("told"))
        & captured.gather(counted[RECORD])
    )
    odd = {
        record: f"answer has {_rows(told_rows)} for a request with {_rows(asked_rows or 0)}"
        for record, asked_rows, told_rows in differing.select(RECORD, "asked", "told").iter_rows()
    }
    told = told.join(differing.select(RECORD), on=RECORD, how="anti")
    keys = [RECORD, names.ROW]
    return asked.join(told, on=keys, how="full", coalesce=True).sort(keys), odd


def _rows(count: int) -> str:
    return "one row" if count == 1 else f"{count} rows" if count < 10 else "many rows"


def _counts(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    import polars as pl

    return frame.group_by(RECORD).agg(pl.len().cast(pl.Int64).alias(name))


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """With each row's place in its request; rows of a request lie together."""
    import polars as pl

    record = frame[RECORD]
    if record.n_unique() == frame.height:
        return frame.with_columns(pl.lit(0, pl.Int64).alias(names.ROW))
    return frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).over(RECORD).alias(names.ROW))


def _finished(
    table: pl.DataFrame, found: Records, variant: str, layout: Layout
) -> tuple[pl.DataFrame, list[int]]:
    """The table with ids and times instead of places, and the records whose time cannot be read."""
    import polars as pl

    times = _times(found.times)
    place = table[RECORD]
    frame = table.with_columns(
        pl.Series(found.event_ids, dtype=pl.String).gather(place).alias(names.EVENT_ID),
        pl.Series(found.inference_ids, dtype=pl.String).gather(place).alias(names.INFERENCE_ID),
        times.gather(place).alias(names.AT),
        pl.lit(variant, pl.String).alias(names.VARIANT),
    )
    inputs = dict.fromkeys([*layout.names, *frame.columns])
    order = [name for name in inputs if name in frame.columns and name not in {*COLUMNS, RECORD}]
    frame = frame.select(*order, *COLUMNS)
    if not times.null_count():
        return frame, []
    return frame.filter(pl.col(names.AT).is_not_null()), times.is_null().arg_true().to_list()


def _times(texts: list[str]) -> pl.Series:
    """UTC; one without an offset is UTC. Null where the text is no time."""
    import polars as pl

    found = pl.Series(texts, dtype=pl.String).str.to_datetime(
        "%Y-%m-%dT%H:%M:%SZ", time_unit="us", strict=False
    )
    found = found.dt.replace_time_zone("UTC")
    if not found.null_count():
        return found
    known = found.to_list()
    return pl.Series(
        [_time(text) if at is None else at for at, text in zip(known, texts, strict=True)],
        dtype=pl.Datetime("us", "UTC"),
    )


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
