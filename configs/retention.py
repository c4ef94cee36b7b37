"""How long captured traffic, and what can be made again, stay on disk: the decision, without touching it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

GRACE = timedelta(days=1)
"""What was used within it always stays: a running flow may work with it."""
HOUR = timedelta(hours=1)


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


@dataclass(frozen=True, slots=True)
class CapturedHour:
    """One hour of captured traffic, or of its outcomes, on disk."""

    endpoint: str
    variant: str
    at: datetime
    """When it begins, UTC."""
    item: Item


@dataclass(frozen=True, slots=True)
class Watching:
    """What somebody who watches an endpoint has still to read of its captures."""

    begun: datetime
    """When watching began; captures from before it are read by nobody."""
    needed: datetime
    """Beginning of the earliest window that is still to be looked at, or may change."""
    read: Mapping[str, datetime] = field(default_factory=dict)
    """The latest hour of each variant that was read and sealed."""

    def needs(self, hour: CapturedHour) -> bool:
        """It is in a window that is not done, or was not read at all."""
        if hour.at + HOUR > self.needed:
            return True
        last = self.read.get(hour.variant)
        return hour.at + HOUR > self.begun and (last is None or hour.at > last)


def expired_hours(
    hours: Iterable[CapturedHour], watching: Mapping[str, Watching], age: timedelta, now: datetime
) -> tuple[Item, ...]:
    """Which captured hours may be removed, oldest first: nobody can capture them again.

    Args:
        hours: what there is.
        watching: who still reads the captures of an endpoint, by its name.
        age: how long ago an hour must have ended.
        now: the present moment.
    """
    kept_for = max(age, GRACE)
    old = [
        one
        for one in hours
        if now - (one.at + HOUR) > kept_for
        and now - one.item.used > GRACE
        and not (one.endpoint in watching and watching[one.endpoint].needs(one))
    ]
    return tuple(one.item for one in sorted(old, key=lambda one: (one.at, one.item.kind, one.item.name)))
