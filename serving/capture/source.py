"""Where captures lie: a folder of this machine, or a prefix in S3 that is read hour by hour.

Of a bucket only the hours that are asked for are listed, and the files of one hour at a time are here.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from serving.capture import bucket
from serving.capture.errors import CaptureUnreadable
from serving.capture.folder import HOURS, hour_begins, hour_of, is_capture

_YEAR = re.compile(r"[0-9]{4}")


class Place(Protocol):
    """A destination, or the part of one endpoint or one variant in it."""

    @property
    def name(self) -> str:
        """The last part of its address, for example the variant's name."""
        ...

    def within(self, name: str) -> Self:
        """A part of it."""
        ...

    def parts(self) -> list[str]:
        """Names of its parts, sorted; none when there is nothing yet.

        Raises:
            CaptureUnreadable: the store refuses or cannot be reached.
        """
        ...

    def groups(self, begin: float, end: float) -> Iterator[Sequence[Path]]:
        """Complete files of the hours that touch the time, group by group in order of time.

        The files of a group are there until the next one is asked for.

        Raises:
            CaptureUnreadable: the store refuses or cannot be reached.
        """
        ...


def place(address: str | Path) -> Place:
    """The place at a folder or at `s3://bucket/prefix`."""
    text = str(address)
    return InBucket(text) if text.startswith("s3://") else InFolder(Path(address))


class InFolder:
    """A folder of this machine; all its files are one group."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return str(self._folder)

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def name(self) -> str:
        """See `Place`."""
        return self._folder.name

    def within(self, name: str) -> InFolder:
        """See `Place`."""
        return InFolder(self._folder / name)

    def parts(self) -> list[str]:
        """See `Place`."""
        if not self._folder.is_dir():
            return []
        return sorted(one.name for one in self._folder.iterdir() if one.is_dir())

    def groups(self, begin: float, end: float) -> Iterator[Sequence[Path]]:
        """See `Place`; wherever the folder stands in the layout."""
        yield [
            path
            for above in ("", "*/", "*/*/")
            for hour in self._folder.glob(above + HOURS)
            if begin - 3600 < hour_begins(hour) < end
            for path in hour.iterdir()
            if is_capture(path.name)
        ]


class InBucket:
    """A prefix in S3; each group is the files of one hour, in a temporary folder."""

    def __init__(self, address: str, client: Any = None) -> None:
        self._address = address.rstrip("/")
        self._bucket, _, self._prefix = self._address.removeprefix("s3://").partition("/")
        self._known = client

    def __repr__(self) -> str:
        return self._address

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def name(self) -> str:
        """See `Place`."""
        return self._address.rpartition("/")[2]

    def within(self, name: str) -> InBucket:
        """See `Place`."""
        return InBucket(f"{self._address}/{name}", self._known)

    def parts(self) -> list[str]:
        """See `Place`."""
        return self._below(self._key(""))

    def groups(self, begin: float, end: float) -> Iterator[Sequence[Path]]:
        """See `Place`; wherever the prefix stands in the layout."""
        variants = list(self._variants(self._key(""), 2))
        first = begin - begin % 3600
        for number in range(max(0, -int(-(end - first) // 3600))):
            hour = hour_of(first + number * 3600).as_posix()
            with tempfile.TemporaryDirectory(prefix="captures-") as folder:
                found = [
                    self._fetched(f"{variant}{hour}/{name}", Path(folder) / f"{place}-{name}")
                    for place, variant in enumerate(variants)
                    for key in self._keys(f"{variant}{hour}/")
                    if "/" not in (name := key.removeprefix(f"{variant}{hour}/")) and is_capture(name)
                ]
                if found:
                    yield found

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _variants(self, prefix: str, depth: int) -> Iterator[str]:
        """Prefixes with years below them."""
        names = self._below(prefix)
        if any(_YEAR.fullmatch(name) for name in names):
            yield prefix
        if depth:
            for name in names:
                if not _YEAR.fullmatch(name):
                    yield from self._variants(f"{prefix}{name}/", depth - 1)

    def _below(self, prefix: str) -> list[str]:
        pages = self._pages(Prefix=prefix, Delimiter="/")
        found = (one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ()))
        return sorted(one.removeprefix(prefix).rstrip("/") for one in found)

    def _keys(self, prefix: str) -> list[str]:
        return [one["Key"] for page in self._pages(Prefix=prefix) for one in page.get("Contents", ())]

    def _pages(self, **asked: str) -> Iterator[dict[str, Any]]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield from self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, **asked)
        except (BotoCoreError, ClientError) as error:
            raise self._refused(error) from error

    def _fetched(self, key: str, to: Path) -> Path:
        from botocore.exceptions import BotoCoreError, ClientError

        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._client.download_file(self._bucket, key, str(to))
        except (BotoCoreError, ClientError) as error:
            raise self._refused(error) from error
        return to

    def _refused(self, error: Exception) -> CaptureUnreadable:
        return CaptureUnreadable(
            f"{self._address} cannot be read: {error}; check address and credentials of S3"
        )

    @property
    def _client(self) -> Any:
        if self._known is None:
            self._known = bucket.connect()
        return self._known
