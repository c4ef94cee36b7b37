"""Which files there are of each hour: in a folder, or in S3 of the hours that are asked for alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from serving.capture import Place
from serving.capture.folder import HOURS, hour_begins, is_capture
from steps.errors import DataRefused
from steps.transform import storage
from steps.transform.errors import JobRefused

Listing = Iterator[tuple[datetime, Mapping[str, Any]]]
"""Hours in order, and their files by name: paths of this machine or in S3."""
HOUR = timedelta(hours=1)


def listing(where: Place, since: datetime, until: datetime) -> Listing:
    """Complete capture files of the hours that touch a time.

    Args:
        where: the place of one variant.
        since: an aware time.
        until: an aware time, not included.

    Raises:
        DataRefused: the store refuses, or cannot be reached.
    """
    return files(str(where), since, until, is_capture)


def files(address: str, since: datetime, until: datetime, wanted: Any) -> Listing:
    """Files `{address}/yyyy/mm/dd/hh/NAME` of the hours that touch a time, where `wanted(NAME)` is true.

    Raises:
        DataRefused: as `listing`.
    """
    root = opened(address)
    for at in _hours(root, since, until):
        folder = root / f"{at:%Y/%m/%d/%H}"
        try:
            found = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
        except Exception as error:
            raise DataRefused(f"{address} cannot be read: {error}; check that it is there") from error
        if named := {name: found[name] for name in sorted(found) if wanted(name)}:
            yield at, named


def opened(address: str) -> Any:
    """A path of this machine or in S3, which behave alike.

    Raises:
        DataRefused: the address is neither, or support for S3 is not installed.
    """
    try:
        return storage.place(address)
    except JobRefused as error:
        raise DataRefused(str(error)) from error


def _hours(root: Any, since: datetime, until: datetime) -> list[datetime]:
    """Hours that touch the time; of a folder only those that are there."""
    first = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if isinstance(root, Path):
        begins = (hour_begins(folder) for folder in root.glob(HOURS) if folder.is_dir())
        there = sorted(datetime.fromtimestamp(one, UTC) for one in begins)
        return [at for at in there if first <= at < until]
    count = max(0, -int(-((until - first) / HOUR) // 1))
    return [first + number * HOUR for number in range(count)]
