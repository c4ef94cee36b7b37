"""Decoded captures of a watched endpoint, hour by hour, and the labels that came for them."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.monitoring.subject import PREPROCESS, Subject, Watched, subject
from flows.monitoring.windows import Window
from flows.replaying import captured
from monitoring.records import Layout, layout_of
from monitoring.rows import AT
from registry.errors import Permanent as RegistryPermanent
from serving.errors import ServingError
from serving.package import load_manifest
from steps import hours as decoded
from steps.errors import CodeFailed
from steps.errors import Permanent as StepPermanent
from steps.hour import Hour, hours_below

if TYPE_CHECKING:
    import polars as pl

    from flows.wiring import Wiring
    from monitoring.profiles import Kind, Profile
    from monitoring.records import Handler

HANDLER = "preprocess_handler"


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one variant answered within a window."""

    root: Path
    """`{home}/monitoring/{endpoint}`."""
    variant: str
    window: Window

    def hours(self) -> list[Hour]:
        """The hours of the window that have rows."""
        return hours_below(self.root / self.variant, self.window.start, self.window.end)

    def rows(self) -> pl.DataFrame:
        """Every row, with its label where that is known."""
        return decoded.joined(self.root, self.variant, self.window.start, self.window.end).collect()

    def profile(self, kinds: dict[str, Kind]) -> Profile:
        """The profile of inputs, predicted label and score; of whole hours without reading their rows.

        Args:
            kinds: of the inputs, for hours that the window cuts.
        """
        return decoded.window(self.root, self.variant, self.window.start, self.window.end, kinds).profile

    def count(self) -> int:
        """How many rows there are."""
        return sum(self._rows_of(hour) for hour in self.hours())

    def digests(self) -> dict[str, str]:
        """What each hour holds, captures and labels, as a digest."""
        return {f"{hour.at:%Y-%m-%dT%H}": _digest(hour) for hour in self.hours()}

    def refused(self) -> tuple[str, ...]:
        """A note about captured records that could not be read."""
        reasons: dict[str, int] = {}
        for hour in self.hours():
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


def _digest(hour: Hour) -> str:
    seal = hour.seal()
    found = hashlib.sha256((seal.generation if seal else "").encode())
    if hour.joined.exists():
        with hour.joined.open("rb") as stream:
            found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()[:16]


@dataclass(frozen=True)
class Hours:
    """All variants of a watched endpoint."""

    wiring: Wiring
    watched: Watched

    @cached_property
    def root(self) -> Path:
        """Where the endpoint's hours are."""
        return self.wiring.settings.home / "monitoring" / self.watched.endpoint

    def stretch(self, variant: str, window: Window) -> Stretch:
        """What a variant answered within a window."""
        return Stretch(self.root, variant, window)

    def counts(self, window: Window) -> dict[str, int]:
        """Rows of each variant that answered within a window."""
        if not self.root.is_dir():
            return {}
        names = sorted(place.name for place in self.root.iterdir() if place.is_dir())
        found = {name: self.stretch(name, window).count() for name in names}
        return {name: rows for name, rows in found.items() if rows}

    def main(self, window: Window, stable: str) -> str | None:
        """The variant that answered most, the stable one before others; None when there are no rows."""
        counts = self.counts(window)
        return max(counts, key=lambda name: (counts[name], name == stable), default=None)

    def others(self, window: Window, main: str) -> tuple[str, ...]:
        """A note about rows of other variants."""
        counts = {name: rows for name, rows in self.counts(window).items() if name != main}
        listed = ", ".join(f"{name} ({rows:,} rows)" for name, rows in counts.items())
        return (f"also answered, and not looked at here: {listed}",) if listed else ()

    def refresh(self, start: datetime, end: datetime, tell: Callable[[str], None]) -> None:
        """Decode what was captured, and join the labels that came, since the last look.

        Raises:
            deploy.errors.RolloutRefused: the variable with the key of the captures is not set here.
            steps.errors.DataRefused: captures cannot be reached.
        """
        kept = captured(self.wiring, self.watched.endpoint)
        for variant in decoded.variants(decoded.Stock(self.root, kept.captures, key=kept.key)):
            known = self._known(variant)
            handler, reading = self._handler(known)
            stock = decoded.Stock(
                self.root,
                kept.captures,
                layout=lambda _variant, known=known: _layout(known),
                key=kept.key,
                handler=handler,
                reading=reading,
            )
            for hour in decoded.bring(stock, variant, start, end):
                tell(f"{variant}: decoded what was captured at {hour.at:%Y-%m-%d %H}:00")
        self._label(tell)

    def _label(self, tell: Callable[[str], None]) -> None:
        """Join labels that came since the last look."""

    def _known(self, variant: str) -> Subject | None:
        """The version behind a variant; None when it is gone, and only its captures are left."""
        try:
            return subject(self.wiring, self.watched.model, variant)
        except (RegistryPermanent, StepPermanent):
            return None

    def _handler(self, known: Subject | None) -> tuple[Handler | None, str]:
        """The project's function that makes rows of records, and what changes when it does."""
        file = known.baseline / PREPROCESS if known else None
        if file is None or not file.is_file():
            return None, ""
        return load_handler(file), hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _layout(known: Subject | None) -> Layout:
    if known is None:
        return Layout()
    try:
        return layout_of(load_manifest(known.package))
    except ServingError:
        return Layout()  # code of somebody's own: names and types are read off the traffic


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
