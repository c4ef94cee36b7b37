"""Decoded captures of a watched endpoint, hour by hour, and the labels that came for them."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.monitoring.subject import PREPROCESS, Subject, Watched, subject
from flows.monitoring.windows import HOUR, Window
from flows.replaying import Kept, captured
from monitoring.records import Layout
from monitoring.rows import AT, EVENT_ID, LABEL, LABEL_AT, PREDICTED, ROW
from registry.errors import Permanent as RegistryPermanent
from serving.errors import ServingError
from steps import hours as decoded
from steps import joining
from steps.archive_baseline import requests
from steps.errors import CodeFailed, DataRefused
from steps.errors import Permanent as StepPermanent
from steps.hour import Hour, hours_below

if TYPE_CHECKING:
    import polars as pl

    from flows.wiring import Wiring
    from monitoring.profiles import Kind, Profile
    from monitoring.records import Handler

HANDLER = "preprocess_handler"
_FIRST, _LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one variant answered within a window."""

    root: Path
    """`{home}/monitoring/{endpoint}`."""
    variant: str
    window: Window
    hours: tuple[Hour, ...]
    """The hours of the window that have rows."""

    def lazy(self) -> pl.LazyFrame:
        """Every row, with its label where that is known, still on disk."""
        return decoded.joined(self.root, self.variant, self.window.start, self.window.end)

    def rows(self) -> pl.DataFrame:
        """The same rows in memory."""
        return self.lazy().collect()

    def labelled(self) -> pl.DataFrame:
        """Rows with a prediction whose label is known; others are not brought into memory."""
        import polars as pl

        rows = self.lazy()
        if LABEL not in rows.collect_schema().names():
            return pl.DataFrame()
        return rows.filter(pl.col(LABEL).is_not_null(), pl.col(PREDICTED).is_not_null()).collect()

    def some(self, most: int) -> pl.DataFrame:
        """Rows as they were asked and answered, without labels: all, or so many evenly spaced at most."""
        rows = self.lazy()
        every = -(-self.count() // most)
        return rows.drop(LABEL, LABEL_AT, strict=False).gather_every(max(1, every)).collect()

    def profile(self, kinds: dict[str, Kind]) -> Profile:
        """The profile of inputs, predicted label and score; of whole hours without reading their rows.

        Args:
            kinds: of the inputs, for hours that the window cuts.
        """
        return decoded.window(self.root, self.variant, self.window.start, self.window.end, kinds).profile

    def count(self) -> int:
        """How many rows there are."""
        return sum(self._rows_of(hour) for hour in self.hours)

    def refused(self) -> tuple[str, ...]:
        """A note about captured records that could not be read."""
        reasons: dict[str, int] = {}
        for hour in self.hours:
            seal = hour.seal()
            for reason, count in (seal.refused if seal else {}).items():
                reasons[reason] = reasons.get(reason, 0) + count
        listed = "; ".join(f"{count:,} x {reason}" for reason, count in sorted(reasons.items()))
        return (f"captured records that could not be read, or not wholly: {listed}",) if listed else ()

    def _rows_of(self, hour: Hour) -> int:
        seal = hour.seal()
        if seal and self.window.covers(hour.at):
            return seal.rows
        import polars as pl

        rows = pl.scan_parquet(hour.rows).filter(
            pl.col(AT) >= self.window.start, pl.col(AT) < self.window.end
        )
        return int(rows.select(pl.len()).collect().item())


def _digest(hour: Hour, *, labels: bool) -> str:
    """Of rows by what they were read from; of labels by themselves, whatever file they stand in."""
    seal = hour.seal()
    found = hashlib.sha256((seal.generation if seal else "").encode())
    if labels and hour.joined.exists():
        found.update(_labels(hour.joined))
    return found.hexdigest()[:16]


def _labels(file: Path) -> bytes:
    """The labels of an hour as bytes that change when one does; none without a label."""
    import polars as pl

    rows = pl.scan_parquet(file).filter(pl.col(LABEL).is_not_null())
    told: bytes = rows.select(EVENT_ID, ROW, LABEL).collect().hash_rows(seed=0).sort().to_numpy().tobytes()
    return told


@dataclass(frozen=True)
class Hours:
    """All variants of a watched endpoint."""

    wiring: Wiring
    watched: Watched
    _known_hours: dict[str, list[Hour]] = field(default_factory=dict)
    _known_digests: dict[tuple[Path, bool], str] = field(default_factory=dict)

    @cached_property
    def root(self) -> Path:
        """Where the endpoint's hours are."""
        return self.wiring.settings.home / "monitoring" / self.watched.endpoint

    def stretch(self, variant: str, window: Window) -> Stretch:
        """What a variant answered within a window."""
        if variant not in self._known_hours:
            self._known_hours[variant] = hours_below(self.root / variant, _FIRST, _LAST)
        inside = (hour for hour in self._known_hours[variant] if window.touches(hour.at))
        return Stretch(self.root, variant, window, tuple(inside))

    def digests(self, variant: str, window: Window, *, labels: bool) -> dict[str, str]:
        """What each hour of a window holds, as a digest: captures, and labels too if they matter."""
        found = {}
        for hour in self.stretch(variant, window).hours:
            key = (hour.folder, labels)
            if key not in self._known_digests:
                self._known_digests[key] = _digest(hour, labels=labels)
            found[f"{hour.at:%Y-%m-%dT%H}"] = self._known_digests[key]
        return found

    def counts(self, window: Window) -> dict[str, int]:
        """Rows of each variant that answered within a window."""
        found = {name: self.stretch(name, window).count() for name in self._decoded()}
        return {name: rows for name, rows in found.items() if rows}

    def _decoded(self) -> list[str]:
        """Variants of which something was decoded, by name."""
        places = self.root.iterdir() if self.root.is_dir() else ()
        return sorted(place.name for place in places if place.is_dir())

    def main(self, window: Window, stable: str) -> str | None:
        """The variant that answered most, the stable one before others; None when there are no rows."""
        counts = self.counts(window)
        return max(counts, key=lambda name: (counts[name], name == stable), default=None)

    def others(self, window: Window, main: str) -> tuple[str, ...]:
        """A note about rows of other variants."""
        counts = {name: rows for name, rows in self.counts(window).items() if name != main}
        listed = ", ".join(f"{name} ({rows:,} rows)" for name, rows in counts.items())
        return (f"also answered, and not looked at here: {listed}",) if listed else ()

    def refresh(self, start: datetime, end: datetime, now: datetime, tell: Callable[[str], None]) -> None:
        """Decode what was captured, and join the labels that came, since the last look.

        Args:
            start: captures from then on.
            end: and until then.
            now: the present.
            tell: told what was new.

        Raises:
            deploy.errors.RolloutRefused: the variable with the key of the captures is not set here.
            steps.errors.DataRefused: captures cannot be reached.
        """
        self._known_hours.clear()
        self._known_digests.clear()
        kept = captured(self.wiring, self.watched.endpoint)
        captured_now = decoded.variants(decoded.Stock(self.root, kept.captures, key=kept.key))
        for variant in captured_now:
            for hour in decoded.bring(self._stock(variant, kept), variant, start, end):
                tell(f"{variant}: decoded what was captured at {hour.at:%Y-%m-%d %H}:00 UTC")
        for variant in sorted({*captured_now, *self._decoded()}):
            labels = joining.apply(
                self.wiring.settings.home,
                self.watched.endpoint,
                variant,
                now,
                look_back=max(self.watched.settings.label_wait, now - start) + HOUR,
            )
            if labels.records:
                tell(f"{variant}: {labels.records:,} label records, {labels.refused:,} without a label")

    def _stock(self, variant: str, kept: Kept) -> decoded.Stock:
        """Where the captures are and how a variant's are read."""
        script = self._script(variant) if self.watched.settings.preprocess else None
        return decoded.Stock(
            self.root,
            kept.captures,
            layout=lambda name: _layout(self._known(name)),
            key=kept.key,
            handler=load_handler(script) if script else None,
            reading=hashlib.sha256(script.read_bytes()).hexdigest()[:16] if script else "",
        )

    def _script(self, variant: str) -> Path | None:
        known = self._known(variant)
        file = known.baseline / PREPROCESS if known else None
        return file if file and file.is_file() else None

    def _known(self, variant: str) -> Subject | None:
        """The version behind a variant; None when it is gone, and only its captures are left."""
        try:
            return subject(self.wiring, self.watched.model, variant)
        except (RegistryPermanent, StepPermanent):
            return None


def _layout(known: Subject | None) -> Layout:
    if known is None:
        return Layout()
    try:
        return requests(known.package)
    except (ServingError, DataRefused):
        return Layout()  # nothing is stated: names and types are read off the traffic


def load_handler(file: Path) -> Handler:
    """The function `preprocess_handler` of a script.

    Raises:
        CodeFailed: it cannot be run, or has no such function.
    """
    spec = importlib.util.spec_from_file_location("seaway_preprocess", file)
    assert spec is not None  # noqa: S101 (the name ends with .py)
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CodeFailed(
            f"{file.name} cannot be run ({type(error).__name__}: {error}); correct it"
        ) from error
    found: Any = getattr(module, HANDLER, None)
    if not callable(found):
        raise CodeFailed(f"{file.name} has no function {HANDLER}(record); add one")
    handler: Handler = found
    return handler
