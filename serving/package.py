"""The model package: `model.tar.gz` in SageMaker's layout, named by the sha256 of its bytes.

Equal contents give equal bytes, so a package rebuilt from the same inputs has the same digest.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from serving.errors import PackageDamaged, StorageFailed
from serving.manifest import FORMAT, Input, Kind, Manifest, ParityRecord, Runtime, Task

__all__ = [
    "BASELINE",
    "FORMAT",
    "MANIFEST",
    "ONNX",
    "PICKLE",
    "REQUIREMENTS",
    "SAMPLE",
    "SKOPS",
    "Input",
    "Kind",
    "Manifest",
    "ParityRecord",
    "Runtime",
    "Task",
    "digest",
    "load_manifest",
    "unpack",
    "write",
]

MANIFEST, SAMPLE, REQUIREMENTS = "seaway.json", "sample.json", "requirements.txt"
BASELINE = "baseline.json"
"""`{"typical": {...}, "rows": [{...}, ...]}`: what predictions are explained against."""
ONNX, SKOPS, PICKLE = "model.onnx", "model.skops", "model.pkl"
_SEAL = ".digest"
"""File that `unpack` adds last; its folder is complete and holds the package named inside."""
_BLOCK = 1 << 20


def write(folder: Path, archive: Path) -> str:
    """Pack the regular files of a folder; returns the archive's sha256.

    Names are sorted, owners and times zeroed. The archive appears under its name when it is complete.

    Raises:
        PackageDamaged: the folder holds a link or another special file.
        StorageFailed: the file system refuses.
    """
    members = _contents(folder)
    with _storage(f"write {archive.name}"):
        handle, name = tempfile.mkstemp(dir=archive.parent, prefix=f".{archive.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
                _write_members(stream, folder, members)
            temporary.chmod(0o644)
            result = digest(temporary)
            temporary.replace(archive)
        finally:
            temporary.unlink(missing_ok=True)
    return result


def digest(path: Path) -> str:
    """sha256 of a file, 64 hexadecimal digits.

    Raises:
        StorageFailed: the file cannot be read.
    """
    with _storage(f"read {path.name}"), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unpack(archive: Path, folder: Path, expected_digest: str) -> Path:
    """Unpack a package into `folder`, which must not exist or hold this very package; returns the folder.

    The digest is checked before anything is read from the archive. Repeating the call changes nothing,
    and any number of processes may call it at once: the folder appears complete, or not at all.

    Raises:
        PackageDamaged: another digest, a link, a path that leaves the folder, or another package in it.
        StorageFailed: the file system refuses.
    """
    if _sealed(folder, expected_digest):
        return folder
    with _storage(f"unpack {archive.name}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            with archive.open("rb") as stream:
                _verify(stream, expected_digest, archive.name)
                _extract(stream, temporary)
            (temporary / _SEAL).write_text(expected_digest)
            temporary.chmod(0o755)
            _move(temporary, folder, expected_digest)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load_manifest(folder: Path) -> Manifest:
    """The manifest of an unpacked package.

    Raises:
        PackageDamaged: there is none.
        ManifestInvalid: it cannot be used.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise PackageDamaged(f"{folder.name} is no model package: it has no {MANIFEST}")
    return Manifest.from_json(path.read_bytes())


def _contents(folder: Path) -> list[PurePosixPath]:
    names = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise PackageDamaged(
                f"{path.relative_to(folder)} is a link or special file; packages hold plain files"
            )
        if path.is_file() and path.name != _SEAL:
            names.append(PurePosixPath(path.relative_to(folder).as_posix()))
    return sorted(names, key=str)


def _write_members(stream: gzip.GzipFile, folder: Path, names: list[PurePosixPath]) -> None:
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            member = tarfile.TarInfo(str(name))
            member.size = (folder / name).stat().st_size
            member.mode = 0o644
            with (folder / name).open("rb") as content:
                tar.addfile(member, content)


def _verify(stream: IO[bytes], expected: str, name: str) -> None:
    found = hashlib.sha256()
    while block := stream.read(_BLOCK):
        found.update(block)
    if found.hexdigest() != expected:
        raise PackageDamaged(f"{name} has the digest {found.hexdigest()}, but {expected} was asked for")
    stream.seek(0)


def _extract(stream: IO[bytes], folder: Path) -> None:
    try:
        with tarfile.open(fileobj=stream, mode="r:gz") as tar:
            for member in tar:
                _extract_member(tar, member, folder)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise PackageDamaged(f"the archive cannot be read as tar.gz: {error}") from error


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or "\0" in member.name:
        raise PackageDamaged(f"the archive wants to write outside its folder: {member.name!r}")
    if not (member.isreg() or member.isdir()):
        raise PackageDamaged(f"{member.name!r} is a link or special file; packages hold plain files")
    target = folder / name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member)
    if content is None or target.exists() or name.name == _SEAL:
        raise PackageDamaged(f"{member.name!r} must not occur in the archive, or not twice")
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("xb") as out:
        shutil.copyfileobj(content, out, _BLOCK)


def _move(temporary: Path, folder: Path, expected: str) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        if not _sealed(folder, expected):
            raise PackageDamaged(f"{folder.name} holds something else than package {expected[:12]}") from None


def _sealed(folder: Path, expected: str) -> bool:
    try:
        return (folder / _SEAL).read_text() == expected
    except (FileNotFoundError, NotADirectoryError):
        return False


@contextmanager
def _storage(act: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"cannot {act}: {error.strerror or error}") from error
