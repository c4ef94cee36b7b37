"""How long things that can be made again stay on disk: the decision, without touching the disk."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

GRACE = timedelta(days=1)
"""What was used within it always stays: a running flow may work with it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing on disk."""

    kind: str
    """The newest of each kind stay; empty for what a crash left behind."""
    name: str
    """What others refer to it by."""
    paths: tuple[Path, ...]
    """Files and folders that go together."""
    used: datetime
    """When it was made or used last."""
    size: int = 0
    """Bytes; 0 until they are counted."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What goes: unused for `age`, and not among the newest `at_least` of its kind."""

    age: timedelta
    at_least: int


def expired(
    items: Iterable[Item], in_use: Collection[str], rule: Retention, now: datetime
) -> tuple[Item, ...]:
    """What may be removed, longest unused first: never what is in use, or was used within `GRACE`."""
    newest_first = sorted(items, key=lambda item: (item.kind, now - item.used))
    old: list[Item] = []
    for kind, same in groupby(newest_first, key=lambda item: item.kind):
        age, spared = (max(rule.age, GRACE), rule.at_least) if kind else (GRACE, 0)
        old += [item for item in list(same)[spared:] if item.name not in in_use and now - item.used > age]
    return tuple(sorted(old, key=lambda item: (item.used, item.name)))
