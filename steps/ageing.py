"""Removal of folders of hours by age."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from configs.retention import Item, Retention, expired
from steps import disk
from steps.hour import HOURS


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
    gone = disk.clear(expired(items, (), rule, now), dry_run=dry_run)
    for item in () if dry_run else gone:
        for parent in list(item.paths[0].parents)[:3]:
            with suppress(OSError):
                parent.rmdir()
    return gone
