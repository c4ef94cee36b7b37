"""Folders of hours: which there are, and their removal by age."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from configs.retention import CapturedHour, Item, Retention, expired
from steps import disk
from steps.hour import HOURS, Hour


def prune_hours(
    root: Path, above: str, inside: str, kind: str, rule: Retention, now: datetime, *, dry_run: bool
) -> tuple[Item, ...]:
    """Remove folders of hours by age, and folders above them that are empty then.

    Args:
        root: what holds them.
        above: pattern of what stands between, for example `*/*/`.
        inside: pattern of files of which an hour has one.
        kind: what an hour is called.
        rule: how long they stay.
        now: the present moment.
        dry_run: remove nothing.
    """
    items = []
    for folder in sorted({file.parent for file in root.glob(f"{above}{HOURS}/{inside}")}):
        name = folder.relative_to(root).as_posix()
        if since := disk.used([folder]):
            items.append(Item(f"{kind} of {name[: -len('/yyyy/mm/dd/hh')]}", name, (folder,), since))
    return clear_hours(expired(items, (), rule, now), dry_run=dry_run)


def captured_hours(root: Path, kind: str) -> tuple[CapturedHour, ...]:
    """The hours below `{endpoint}/{variant}/` in a folder that captures, or outcomes, are written to.

    Args:
        root: the folder.
        kind: what it holds, for people.
    """
    found = []
    for folder in sorted(root.glob(f"*/*/{HOURS}")):
        name = folder.relative_to(root).as_posix()
        endpoint, variant, when = name.split("/", 2)
        try:
            at = datetime.strptime(when, "%Y/%m/%d/%H").replace(tzinfo=UTC)
        except ValueError:
            continue  # no hour, so not ours
        if used := disk.used([folder]):
            item = Item(f"{kind} of {endpoint}/{variant}", name, (folder,), used)
            found.append(CapturedHour(endpoint, variant, at, item))
    return tuple(found)


def latest_hour(variant: Path, file: str) -> datetime | None:
    """The latest hour of a variant's folder that has a file of this name; None when no hour has."""
    found = max((path.parent for path in variant.glob(f"{HOURS}/{file}")), default=None)
    return Hour(found).at if found else None


def clear_hours(items: Iterable[Item], *, dry_run: bool) -> tuple[Item, ...]:
    """Remove folders of hours, and folders above them that are empty then; returns what went, or would go."""
    gone = disk.clear(items, dry_run=dry_run)
    for item in () if dry_run else gone:
        for parent in list(item.paths[0].parents)[:3]:
            with suppress(OSError):
                parent.rmdir()
    return gone
