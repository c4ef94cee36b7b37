"""Decoded hours of a variant as one table and one profile, for any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from monitoring.profiles import Kind, Profile
from monitoring.records.columns import aligned
from monitoring.rows import AT, LABEL, LABEL_AT
from steps.hour import Hour, batches, hours_below, profiled

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Window:
    """What a variant was asked and answered within a time."""

    rows: pl.LazyFrame
    """Columns by name, of one type each; without columns when there are no hours."""
    profile: Profile
    """Of inputs, predicted label and score."""
    hours: tuple[Hour, ...]
    records: int
    """Captured records of these hours."""
    refused: Mapping[str, int]
    """Records of these hours that could not be read, by part and reason."""


def window(
    root: Path, variant: str, since: datetime, until: datetime, kinds: Mapping[str, Kind] | None = None
) -> Window:
    """Rows with `since` <= time < `until` and their profile; whole hours are answered from their profiles.

    Args:
        root: `{home}/monitoring/{endpoint}`.
        variant: who answered.
        since: an aware time.
        until: an aware time.
        kinds: of the inputs, for hours that the time cuts.
    """
    found = hours_below(root / variant, since, until)
    profile = Profile()
    for hour in found:
        profile = profile.merge(_profile(hour, since, until, kinds or {}))
    seals = [seal for hour in found if (seal := hour.seal())]
    refused: Counter[str] = Counter()
    for seal in seals:
        refused.update(seal.refused)
    rows = _within([hour.rows for hour in found], since, until)
    return Window(rows, profile, tuple(found), sum(seal.records for seal in seals), dict(refused))


def joined(root: Path, variant: str, since: datetime, until: datetime) -> pl.LazyFrame:
    """Rows with `since` <= time < `until` and their labels, null where they are not known."""
    import polars as pl

    files = [
        hour.joined if hour.joined.exists() else hour.rows
        for hour in hours_below(root / variant, since, until)
    ]
    rows = _within(files, since, until)
    names = rows.collect_schema().names()
    wanted = {LABEL: pl.String(), LABEL_AT: pl.Datetime("us", "UTC")} if names else {}
    return rows.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in wanted.items() if name not in names
    )


def _profile(hour: Hour, since: datetime, until: datetime, kinds: Mapping[str, Kind]) -> Profile:
    if since <= hour.at and hour.at + timedelta(hours=1) <= until:
        return hour.profile(kinds)
    cut = (frame.filter((frame[AT] >= since) & (frame[AT] < until)) for frame in batches(hour.rows))
    return profiled((frame for frame in cut if frame.height), kinds)


def _within(files: Sequence[Path], since: datetime, until: datetime) -> pl.LazyFrame:
    import polars as pl

    if not files:
        return pl.LazyFrame()
    rows = pl.concat(aligned([pl.scan_parquet(file) for file in files]))
    return rows.filter(pl.col(AT) >= since, pl.col(AT) < until)
