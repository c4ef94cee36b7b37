"""Labels brought to the hours they belong to, however late they come: `joined.parquet` beside the rows.

Only label files that are new or have grown are read, and only hours whose rows they name are written again.
An hour whose rows have grown gets all its labels again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitoring.quality.labels import join
from monitoring.quality.truth import decode
from monitoring.rows import AT, EVENT_ID, INFERENCE_ID, LABEL, LABEL_AT, ROW
from steps.hour import Hour, hours_below, replaced, stamp, written
from steps.hours import alone
from steps.labels import folder, label_files, lines_of

if TYPE_CHECKING:
    import polars as pl

STATE = "labels.json"
"""What of the label files is joined, in the folder of a variant."""
LOOK_BACK = timedelta(days=35)
AT_ONCE = 200_000
"""Label records that are joined together."""
_KEY = "seaway.rows"
"""Entry of the Parquet file's metadata: the generation of the rows it was made of."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a look at the labels has changed."""

    touched: tuple[datetime, ...] = ()
    """Hours (UTC) of rows whose label is new or another one; their quality is to be computed again."""
    records: int = 0
    """Label records that were read because they are new."""
    refused: int = 0
    """Of these, records that hold no label."""
    mismatched: tuple[str, ...] = ()
    """Ids with another number of labels than rows; the first ones. They are not joined."""


@dataclass
class _Round:
    """One look: which hours there are, and what was found for them so far."""

    hours: list[Hour]
    stale: set[Path]
    found: dict[Path, list[pl.DataFrame]] = field(default_factory=lambda: defaultdict(list))


def apply(
    home: Path,
    endpoint: str,
    variant: str,
    now: datetime,
    *,
    look_back: timedelta = LOOK_BACK,
    attribute: str | None = None,
) -> Applied:
    """Join what labels came since the last look, to the rows of a variant.

    Args:
        home: folder of the installation.
        endpoint: whose.
        variant: who answered.
        now: the present moment.
        look_back: how old rows and label files may be.
        attribute: where a label stands in its record, as `monitoring.quality.truth.decode` takes it.
    """
    root = home / "monitoring" / endpoint / variant
    since, until = now - look_back, now + timedelta(hours=1)
    with alone(root):
        files = label_files(home, endpoint, since, until)
        hours = hours_below(root, since, until)
        base, known = folder(home, endpoint), _state(root / STATE, "files")
        seen = _state(root / STATE, "hours")
        stale = {hour.folder for hour in hours if _is_stale(hour, seen)}
        if not files and not any(hour.joined.exists() for hour in hours if hour.folder in stale):
            return Applied()
        sizes = {str(path.relative_to(base)): path.stat().st_size for _, path in files}
        this = _Round(hours[::-1], stale)
        oldest = min((hour.at for hour in hours if hour.folder in stale), default=until)
        records = refused = 0
        for at, path in files:
            fresh = known.get(str(path.relative_to(base))) != sizes[str(path.relative_to(base))]
            if not fresh and at + timedelta(hours=1) <= oldest:
                continue
            for frame, read, bad in _batches(path, attribute):
                records, refused = records + read * fresh, refused + bad * fresh
                _spread(this, frame, fresh=fresh)
        touched, mismatched = _written(this)
        looked = {f"{hour.at:%Y/%m/%d/%H}": _generation(hour) for hour in hours}
        state = {"format": 1, "files": sizes, "hours": looked}
        replaced(root / STATE, json.dumps(state, indent=1).encode())
    return Applied(tuple(sorted(touched)), records, refused, tuple(mismatched[:20]))


def _is_stale(hour: Hour, seen: Mapping[str, Any]) -> bool:
    """Whether there are rows that nobody has looked for the labels of, since they came later themselves."""
    before = stamp(hour.joined, _KEY) if hour.joined.exists() else seen.get(f"{hour.at:%Y/%m/%d/%H}", "")
    return before != _generation(hour)


def _generation(hour: Hour) -> str:
    seal = hour.seal()
    return seal.generation if seal else ""


def _state(file: Path, part: str) -> Mapping[str, Any]:
    """What was there at the last look: label files and their sizes, or hours and what their rows were."""
    with suppress(FileNotFoundError, ValueError, KeyError):
        return dict(json.loads(file.read_text())[part])
    return {}


def _batches(file: Path, attribute: str | None) -> Iterator[tuple[pl.DataFrame, int, int]]:
    """Labels of a file, a bounded number at a time; records read, and refused."""
    lines = lines_of(file)
    while some := list(islice(lines, AT_ONCE)):
        found = decode(some, attribute=attribute)
        yield found.frame, found.records, found.refused


def _spread(this: _Round, labels: pl.DataFrame, *, fresh: bool) -> None:
    """Give each hour the labels of its rows, newest hour first, until every label has found its own."""
    left = labels
    for hour in this.hours:
        if not left.height:
            return
        if not fresh and hour.folder not in this.stale:
            continue
        ids = _ids(hour)
        mine = left.join(ids, on="id", how="semi", maintain_order="left")
        if mine.height:
            this.found[hour.folder].append(mine)
            left = left.join(ids, on="id", how="anti", maintain_order="left")


def _ids(hour: Hour) -> pl.DataFrame:
    import polars as pl

    rows = pl.scan_parquet(hour.rows)
    both = [rows.select(pl.col(name).cast(pl.String).alias("id")) for name in (EVENT_ID, INFERENCE_ID)]
    return pl.concat(both).drop_nulls().unique().collect()


def _written(this: _Round) -> tuple[set[datetime], list[str]]:
    touched: set[datetime] = set()
    mismatched: list[str] = []
    for hour in this.hours:
        labels = this.found.get(hour.folder)
        if labels is None and hour.folder not in this.stale:
            continue
        changed, wrong = _join(hour, labels or [], stale=hour.folder in this.stale)
        touched |= changed
        mismatched += wrong
    return touched, mismatched


def _join(hour: Hour, found: list[pl.DataFrame], *, stale: bool) -> tuple[set[datetime], list[str]]:
    """Write the hour's rows with labels, when any of these is new; returns the hours of these rows."""
    import polars as pl

    labels = pl.concat(found) if found else decode(()).frame
    result = join(_labelled(hour), labels)
    if result.touched or (stale and hour.joined.exists()):
        beside = result.rows.select(LABEL, LABEL_AT)
        rows = pl.concat([pl.scan_parquet(hour.rows), beside.lazy()], how="horizontal")
        written(rows, hour.joined, {_KEY: _generation(hour)})
    return set(result.touched), list(result.mismatched)


def _labelled(hour: Hour) -> pl.DataFrame:
    """Ids and times of the rows in their order, with the labels they have so far."""
    import polars as pl

    rows = pl.scan_parquet(hour.rows).select(EVENT_ID, INFERENCE_ID, ROW, AT).collect()
    if not hour.joined.exists():
        return rows
    keys = [EVENT_ID, ROW]
    before = pl.scan_parquet(hour.joined).select(*keys, LABEL, LABEL_AT).drop_nulls(LABEL).collect()
    before = before.unique(keys, keep="last", maintain_order=True)
    return rows.join(before, on=keys, how="left", maintain_order="left")


# ---- how far labels have come -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Coverage:
    """Labels of the rows of one hour."""

    hour: datetime
    variant: str
    rows: int
    labelled: int
    delay: float | None
    """Median of the time from prediction to label, seconds; None without labels."""

    @property
    def share(self) -> float:
        """Of the rows that have a label."""
        return self.labelled / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Collected:
    """Labels that were collected in one hour."""

    hour: datetime
    labels: int
    """Different ids."""
    orphans: int
    """Ids that no row of any variant has, within the look-back."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far labels have come."""

    rows: tuple[Coverage, ...]
    labels: tuple[Collected, ...]
    delays: tuple[float, ...] = ()
    """Seconds from prediction to label of a row each, negative ones as they are."""
    waiting: tuple[float, ...] = ()
    """Seconds that each row without a label has waited."""


def status(
    home: Path, endpoint: str, since: datetime, until: datetime, *, look_back: timedelta = LOOK_BACK
) -> Status:
    """Coverage and delay by hour of the prediction, orphans by hour of the collection.

    Args:
        home: folder of the installation.
        endpoint: whose.
        since: of which hours, from.
        until: and up to; rows without a label have waited until then.
        look_back: how much earlier rows may be than labels that were collected in the time.
    """
    root = home / "monitoring" / endpoint
    names = sorted(place.name for place in root.iterdir() if place.is_dir()) if root.is_dir() else []
    covered, delays, waiting = [], [], []
    for name in names:
        for hour in hours_below(root / name, since, until):
            one, came, waits = _coverage(hour, name, until)
            covered.append(one)
            delays += came
            waiting += waits
    every = [hour for name in names for hour in hours_below(root / name, since - look_back, until)]
    return Status(
        tuple(sorted(covered, key=lambda one: (one.hour, one.variant))),
        tuple(_collected(home, endpoint, since, until, every)),
        tuple(delays),
        tuple(waiting),
    )


def _coverage(hour: Hour, variant: str, until: datetime) -> tuple[Coverage, list[float], list[float]]:
    import polars as pl

    file = hour.joined if hour.joined.exists() else hour.rows
    rows = pl.scan_parquet(file)
    if file == hour.rows:
        rows = rows.with_columns(
            pl.lit(None, pl.String).alias(LABEL), pl.lit(None, pl.Datetime("us", "UTC")).alias(LABEL_AT)
        )
    frame = rows.select(AT, LABEL, LABEL_AT).collect()
    known = frame.drop_nulls(LABEL)
    delays = (known[LABEL_AT] - known[AT]).dt.total_milliseconds() / 1000
    waits = (pl.lit(until) - pl.col(AT)).dt.total_milliseconds() / 1000
    waiting = frame.filter(pl.col(LABEL).is_null()).select(waits).to_series()
    median = delays.median()
    shown = float(median) if isinstance(median, int | float) else None
    one = Coverage(hour.at, variant, frame.height, known.height, shown)
    return one, delays.drop_nulls().to_list(), waiting.to_list()


def _collected(
    home: Path, endpoint: str, since: datetime, until: datetime, hours: list[Hour]
) -> Iterator[Collected]:
    by_hour: dict[datetime, list[Path]] = defaultdict(list)
    for at, path in label_files(home, endpoint, since, until):
        by_hour[at.astimezone(UTC)].append(path)
    for at, paths in sorted(by_hour.items()):
        ids = _distinct(paths)
        total = ids.height
        for hour in reversed([one for one in hours if one.at <= at + timedelta(hours=1)]):
            if not ids.height:
                break
            ids = ids.join(_ids(hour), on="id", how="anti")
        yield Collected(at, total, ids.height)


def _distinct(paths: list[Path]) -> pl.DataFrame:
    import polars as pl

    frames = [frame.select("id").unique() for path in paths for frame, _, _ in _batches(path, None)]
    return pl.concat(frames).unique() if frames else pl.DataFrame({"id": []}, {"id": pl.String})
