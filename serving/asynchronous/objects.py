"""Where inputs are read and answers are put: folders that stand for buckets, and buckets.

An answer is first written to a staging file. Publishing it makes it visible whole or not at all, and may be
repeated: when the staging file is gone, it was published.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from serving.asynchronous.configuration import Configuration
from serving.asynchronous.errors import InputRefused, Interrupted, OutputRefused

MIB = 1024 * 1024
PART = 8 * MIB
"""Bytes of one part of an upload to S3."""

_FINAL = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
}
"""What no second try changes."""


class Source(Protocol):
    """An opened input."""

    length: int

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; nothing at its end. Raises `Interrupted`."""
        ...

    def close(self) -> None:
        """Read no more."""
        ...


class Store(Protocol):
    """A place for objects. All calls block."""

    def open(self, location: str) -> Source:
        """Begin to read an object; raises `InputRefused` or `Interrupted`."""
        ...

    def staging(self, location: str, ident: str) -> Path:
        """The file into which the object is written first; raises `OutputRefused` or `Interrupted`."""
        ...

    def publish(self, staging: Path, location: str, content_type: str) -> None:
        """Make the staged object visible.

        Raises:
            OutputRefused: it is not visible, and will not be.
            Interrupted: nobody knows; try again.
        """
        ...


class Stores:
    """Finds the store of a location.

    Args:
        folders: buckets that are folders here, by name.
        spool: folder for what is on its way to S3.
    """

    def __init__(self, folders: Mapping[str, Path], spool: Path) -> None:
        self._folders = {bucket: Folder(bucket, path) for bucket, path in folders.items()}
        self._spool = spool
        self._clients: dict[str, Any] = {}

    def of(self, location: str, configuration: Configuration | None) -> Store:
        """The store of `s3://bucket/key`; settings of S3 are the endpoint's."""
        folder = self._folders.get(split(location)[0])
        if folder is not None:
            return folder
        url = configuration.s3_endpoint_url if configuration else ""
        if url not in self._clients:
            self._clients[url] = _connect(url)
        return Bucket(self._clients[url], self._spool, configuration.kms_key_id if configuration else "")

    def close(self) -> None:
        """Close the connections to S3."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()


def split(location: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return bucket, key


class Folder:
    """A bucket that is a folder on this machine."""

    def __init__(self, bucket: str, root: Path) -> None:
        self._bucket = bucket
        self._root = root.resolve()

    def open(self, location: str) -> Source:
        """See `Store`."""
        path = self._path(location)
        if path is None:
            raise InputRefused(f"{location} is outside the object store; correct InputLocation")
        try:
            if not path.is_file():
                raise InputRefused(f"there is no object {location}; put the input there before the call")
            return _File(path, location)
        except OSError as error:
            raise InputRefused(f"{location} cannot be read: {error.strerror}") from error

    def staging(self, location: str, ident: str) -> Path:
        """A hidden file beside the object."""
        path = self._path(location)
        if path is None or path == self._root:
            raise OutputRefused(f"{location} is outside the object store; correct output_path")
        with _translated(location):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path.parent / f".{ident}.part"

    def publish(self, staging: Path, location: str, content_type: str) -> None:  # noqa: ARG002 - files have none
        """Rename; a reader sees all of it or nothing."""
        path = self._path(location)
        if path is None:
            raise OutputRefused(f"{location} is outside the object store; correct output_path")
        if not staging.exists():
            return
        with _translated(location):
            os.replace(staging, path)  # noqa: PTH105 - overwrites atomically
            _flush(path.parent)

    def _path(self, location: str) -> Path | None:
        """The object's file; None when it is not below the root."""
        path = (self._root / split(location)[1]).resolve()
        return path if path.is_relative_to(self._root) else None


class _File:
    """A file that is read as an input."""

    def __init__(self, path: Path, location: str) -> None:
        self._file = path.open("rb")
        self._location = location
        self.length = os.fstat(self._file.fileno()).st_size

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise Interrupted(f"{self._location} cannot be read: {error.strerror}") from error

    def close(self) -> None:
        self._file.close()


class Inline:
    """The body of a call as an input."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def read(self, size: int) -> bytes:
        """See `Source`."""
        part, self._body = self._body[:size], self._body[size:]
        return part

    def close(self) -> None:
        """Nothing to do."""


class Bucket:
    """A bucket in S3, or in a store that speaks its protocol."""

    def __init__(self, client: Any, spool: Path, kms_key: str) -> None:
        self._client = client
        self._spool = spool
        self._encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}

    def open(self, location: str) -> Source:
        """See `Store`."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, key = split(location)
        try:
            found = self._client.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            kind = InputRefused if _refused(error) else Interrupted
            raise kind(f"{location} cannot be read: {error}") from error
        except BotoCoreError as error:
            raise Interrupted(f"{location} cannot be read: {error}") from error
        return _Object(found["Body"], found["ContentLength"], location)

    def staging(self, location: str, ident: str) -> Path:  # noqa: ARG002 - wherever it goes
        """A file in the spool."""
        with _translated(str(self._spool)):
            self._spool.mkdir(parents=True, exist_ok=True)
        return self._spool / f"{ident}.part"

    def publish(self, staging: Path, location: str, content_type: str) -> None:
        """Upload, in parts when it is long; nothing is visible before the last part.

        A mark beside the staging file says that an upload was begun whose end nobody saw. A later refusal
        is then no proof that the object is not there.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        mark = staging.with_suffix(".begun")
        if not staging.exists():
            mark.unlink(missing_ok=True)
            return
        uncertain = mark.exists()
        mark.touch()
        try:
            self._upload(staging, location, content_type)
        except ClientError as error:
            if uncertain or not _refused(error):
                raise Interrupted(f"{location} cannot be written: {error}") from error
            mark.unlink()
            raise OutputRefused(f"{location} cannot be written: {error}") from error
        except (BotoCoreError, OSError) as error:
            raise Interrupted(f"{location} cannot be written: {error}") from error
        staging.unlink()
        mark.unlink()

    def _upload(self, staging: Path, location: str, content_type: str) -> None:
        from boto3.s3.transfer import TransferConfig

        bucket, key = split(location)
        extra = {**self._encryption, **({"ContentType": content_type} if content_type else {})}
        parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=2)
        with staging.open("rb") as file:
            self._client.upload_fileobj(file, bucket, key, ExtraArgs=extra, Config=parts)


class _Object:
    """An object of S3 that is read as an input."""

    def __init__(self, body: Any, length: int, location: str) -> None:
        self._body = body
        self._location = location
        self.length = length

    def read(self, size: int) -> bytes:
        from botocore.exceptions import BotoCoreError

        try:
            part: bytes = self._body.read(size)
        except (BotoCoreError, OSError) as error:
            raise Interrupted(f"reading {self._location} broke off: {error}") from error
        return part

    def close(self) -> None:
        with suppress(OSError):
            self._body.close()


@contextmanager
def _translated(location: str) -> Iterator[None]:
    """Say an `OSError` as one of ours."""
    try:
        yield
    except OSError as error:
        final = error.errno in _FINAL
        said = f"{location} cannot be written: {error.strerror}"
        raise (OutputRefused if final else Interrupted)(said) from error


def _flush(folder: Path) -> None:
    """Make a rename last through a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(error: Any) -> bool:
    """Whether S3 said no for good."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return 400 <= status < 500 and status not in {408, 409, 429}


def _connect(url: str) -> Any:
    import boto3
    from botocore.config import Config

    retries = {"total_max_attempts": 3, "mode": "standard"}
    settings = Config(connect_timeout=5, read_timeout=60, retries=retries, max_pool_connections=64)
    return boto3.client("s3", endpoint_url=url or None, config=settings)
