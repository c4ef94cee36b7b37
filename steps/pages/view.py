"""What a page is told of a run: plain values, whoever keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Link:
    """Somewhere to read on."""

    text: str
    address: str
    """A file beside the page, or an http address; anything else is shown as text."""


@dataclass(frozen=True, slots=True)
class RunView:
    """One look at one window, as the head of its page tells it."""

    endpoint: str
    status: str
    """SageMaker's execution status, for example `CompletedWithViolations`."""
    start: datetime
    """Begin of the window, UTC."""
    end: datetime
    """Its end."""
    schedule: str = ""
    model: str = ""
    version: str = ""
    variant: str = ""
    rows: int = 0
    revision: int = 1
    """How often the window was looked at."""
    reason: str = ""
    """Why it failed or was stopped."""
    notes: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    references: Mapping[str, Any] = field(default_factory=dict)
    """Documents of the baseline by file name: for example `bias.json`."""


@dataclass(frozen=True, slots=True)
class Point:
    """A figure at one moment of its past."""

    at: datetime
    """End of its window, UTC."""
    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    estimated: bool = False
    dimensions: tuple[tuple[str, str], ...] = ()
    variant: str = ""
    schedule: str = ""
    look: int = 1
    """Counts how often its window was looked at."""
