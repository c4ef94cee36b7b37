"""Objects in folders and in S3: which there are, reading them as streams, writing them all or nothing."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from steps.transform.errors import JobRefused, ObjectFailed
from steps.transform.job import Job

SUFFIX = ".out"


@dataclass(frozen=True, slots=True)
class Source:
    """An input object."""

    key: str
    """Its name below the prefix."""
    uri: str
    size: int
    """Bytes as stored."""
    stamp: str
    """Changes when the object does."""
    out: str
    """Where its result goes."""


def place(uri: str) -> Any:
    """A local path, or one in S3, which behaves alike.

    Raises:
        JobRefused: another scheme, or S3 support is not installed.
    """
    if uri.startswith("s3://"):
        return _s3(os.environ.get("AWS_ENDPOINT_URL_S3", "")).CloudPath(uri)
    if "://" in uri and not uri.startswith("file://"):
        raise JobRefused(f"{uri!r} cannot be read; give a folder or s3://bucket/prefix")
    return Path(uri.removeprefix("file://")).absolute()


@cache
def _s3(_endpoint: str) -> Any:
    try:
        from cloudpathlib import S3Client

        return S3Client(file_cache_mode="close_file")
    except ImportError as error:
        raise JobRefused("S3 support is not installed; run: pip install 'seaway[s3]'") from error


def sources(job: Job) -> tuple[Source, ...]:
    """The job's input objects by key. Objects below the output path are results and left out.

    Raises:
        JobRefused: there are none, or the manifest cannot be read.
    """
    wanted, output = job.transform_input, str(place(job.transform_output.s3_output_path)).rstrip("/")
    found = _manifest(wanted.s3_uri) if wanted.s3_data_type == "ManifestFile" else _prefix(wanted.s3_uri)
    made = [
        Source(key, str(path), stat.st_size, f"{stat.st_size}-{stat.st_mtime}", f"{output}/{key}{SUFFIX}")
        for key, path in sorted(found, key=lambda pair: pair[0])
        if not str(path).startswith(f"{output}/")
        for stat in (_stat(path),)
    ]
    if not made:
        raise JobRefused(f"there is no object below {wanted.s3_uri}; check S3Uri")
    return tuple(made)


def _stat(path: Any) -> Any:
    try:
        return path.stat()
    except OSError as error:
        raise JobRefused(f"{path} cannot be read: {error.strerror or error}; check the manifest") from None


def _prefix(uri: str) -> Iterator[tuple[str, Any]]:
    """Everything in a folder, or every file and folder whose name begins so."""
    top = place(uri)
    if top.is_dir():
        yield from _below(top, [top])
    elif top.is_file():
        yield top.name, top
    elif top.parent.is_dir():
        yield from _below(top.parent, [one for one in top.parent.iterdir() if one.name.startswith(top.name)])


def _below(root: Any, tops: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for top in tops:
        for path in top.rglob("*") if top.is_dir() else [top]:
            if path.is_file() and not (path.name.startswith(".") and path.name.endswith(".part")):
                yield PurePosixPath(path.relative_to(root)).as_posix(), path


def _manifest(uri: str) -> list[tuple[str, Any]]:
    try:
        entries = json.loads(place(uri).read_bytes())
        prefix, *keys = entries
        root = place(prefix["prefix"])
        names = [str(key) for key in keys]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise JobRefused(
            f'the manifest {uri} cannot be used ({error}); it must be [{{"prefix": "s3://..."}}, "key", ...]'
        ) from error
    if bad := [name for name in names if ".." in PurePosixPath(name).parts or name.startswith("/")]:
        raise JobRefused(f"the manifest {uri} names {bad[0]!r}, which leaves the prefix")
    return [(name, root / name) for name in names]


@contextmanager
def reading(uri: str, compression: str = "None") -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """An object as a stream, and the stored bytes below it, which are the same unless compressed.

    Raises:
        ObjectFailed: it is gone, unreadable, or not gzip where it should be.
    """
    try:
        with place(uri).open("rb") as raw:
            if compression == "None":
                yield raw, raw
                return
            with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
                yield cast("IO[bytes]", unpacked), raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ObjectFailed(f"it is not whole gzip: {error}; check CompressionType") from error
    except OSError as error:
        raise ObjectFailed(f"it cannot be read: {error.strerror or error}") from error


@contextmanager
def writing(uri: str, token: str) -> Iterator[IO[bytes]]:
    """A file that becomes the object when the block ends well, and leaves nothing when it fails.

    Args:
        uri: the object.
        token: of the job; what a killed run of the same job left beside the object is removed.
    """
    target = place(uri)
    if not isinstance(target, Path):
        with tempfile.NamedTemporaryFile(prefix="seaway-", suffix=".part") as file:
            yield file
            file.flush()
            target.upload_from(file.name, force_overwrite_to_cloud=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{glob_escape(target.name)}.{token}-*.part"):
        left.unlink(missing_ok=True)
    temporary = target.with_name(f".{target.name}.{token}-{uuid.uuid4().hex[:12]}.part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def glob_escape(name: str) -> str:
    """The name with `*`, `?` and `[` taken literally."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def exists(uri: str) -> bool:
    """Whether the object is there."""
    return bool(place(uri).is_file())


def remove(uri: str) -> None:
    """Remove the object if it is there."""
    place(uri).unlink(missing_ok=True)


def write(uri: str, content: bytes) -> None:
    """Write a small object whole."""
    with writing(uri, "whole") as file:
        file.write(content)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
