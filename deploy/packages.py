"""Packages on this machine: `archives/<digest>.tar.gz` and the unpacked `packages/<digest>/`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

from configs.retention import Item, Retention, expired
from steps import disk

_DIGEST = re.compile(r"[0-9a-f]{64}")


def archives(home: Path) -> Path:
    """Folder of packages by digest, `<digest>.tar.gz`."""
    return home / "archives"


def find(home: Path) -> Iterator[Item]:
    """Every package, archive and folder as one; and what interrupted downloads and unpackings left."""
    together: dict[str, list[Path]] = {}
    for path in (*_entries(archives(home)), *_entries(home / "packages")):
        digest = path.name.removesuffix(".tar.gz")
        if _DIGEST.fullmatch(digest):
            together.setdefault(digest, []).append(path)
        elif path.name.startswith((".", "tmp")) and (since := disk.used([path])):
            yield Item("", path.name, (path,), since)
    for digest, paths in together.items():
        if since := disk.used(paths):
            yield Item("package", digest, tuple(paths), since)


def prune(
    home: Path, in_use: Collection[str], rule: Retention, now: datetime, *, dry_run: bool = False
) -> tuple[Item, ...]:
    """Remove packages that nobody uses; returns what went, or would go.

    Args:
        home: folder of the installation.
        in_use: digests that endpoints, rollouts or fleets refer to.
        rule: how long the others stay.
        now: the present moment.
        dry_run: remove nothing.
    """
    return disk.clear(expired(find(home), in_use, rule, now), dry_run=dry_run)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
