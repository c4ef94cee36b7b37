"""When things on disk were used, how large they are, and their removal in one step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from configs.retention import Item

REMOVED = ".removed-"
"""Beginning of the name under which something waits for the end of its removal."""


def used(paths: Iterable[Path]) -> datetime | None:
    """When the latest of these was made or used; None when none is there."""
    moments: list[float] = []
    for path in paths:
        with suppress(FileNotFoundError):
            moments.append(path.stat().st_mtime)
    return datetime.fromtimestamp(max(moments), UTC) if moments else None


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 when it is gone."""
    total = 0
    for one in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):
            total += one.lstat().st_size if not one.is_dir() else 0
    return total


def remove(path: Path) -> None:
    """Rename first, so that nobody meets a folder half deleted; one that is gone already is no error."""
    hidden = path.with_name(f"{REMOVED}{path.name.lstrip('.')}-{os.getpid()}")
    with suppress(FileNotFoundError):
        path.rename(hidden)
        if hidden.is_dir():
            shutil.rmtree(hidden, ignore_errors=True)
        else:
            hidden.unlink()


def clear(items: Iterable[Item], *, dry_run: bool = False) -> tuple[Item, ...]:
    """Remove what is still as unused as when it was looked at; returns it with its size.

    Args:
        items: what to remove.
        dry_run: only count.
    """
    gone = []
    for item in items:
        if used(item.paths) != item.used:
            continue  # somebody needs it again, or was faster
        gone.append(replace(item, size=sum(size(path) for path in item.paths)))
        if not dry_run:
            for path in item.paths:
                remove(path)
    return tuple(gone)
