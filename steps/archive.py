"""Archives that no build of ours made: what is in them, and whether it can be a version.

Four kinds are known: a package of one model, a pipeline, many models, a user's code. An archive is kept as it
is, so that its digest stays what its maker knows; a folder is packed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serving import package
from serving.errors import ServingError
from serving.handlers import byo
from serving.multimodel import index
from serving.pipeline import stages
from steps import archive_baseline, samples
from steps.archive_baseline import Brought
from steps.errors import Permanent
from steps.samples import Sample

Kind = Literal["package", "pipeline", "multi-model", "code", "files"]
"""`files` is whatever an image of the project's own knows how to serve."""
_LEFT_OUT = ("__pycache__", ".digest", ".git", "*.pyc")


class ArchiveRefused(Permanent):
    """The archive cannot become a version; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive holds."""

    kind: Kind
    model: str = ""
    """Name of the model that the archive itself states; empty when it states none."""
    parts: tuple[tuple[str, str], ...] = ()
    """Of a pipeline its stages, of many models each: name, and what it is."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """An archive that may become a version, and its unpacked folder."""

    archive: Path
    digest: str
    folder: Path
    contents: Contents
    samples: tuple[Sample, ...]
    """Those that lie in it."""
    baseline: Brought | None = None
    """What monitors will compare with; None when there is nothing."""


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody adds to an archive, so that monitors have something to compare with."""

    baseline: Path
    """Training data, or a folder with `statistics.json` and `constraints.json`."""
    target: str = ""
    """Column of the data that the model predicts; empty when that is not known."""


def gather(source: Path, place: Path, *, own_image: bool = False, given: Given | None = None) -> Gathered:
    """Check an archive or a folder, and have both in `place`.

    Args:
        source: `model.tar.gz`, or a folder with what would be in one; a folder of models is packed as such.
        place: an empty folder.
        own_image: the project brings an image, which may serve files of any kind.
        given: a baseline that is packed with the rest; the archive has another digest then.

    Raises:
        ArchiveRefused: it cannot be served; the message says why.
        DataRefused: its baseline, or the given one, cannot be used.
    """
    folder, archive = place / "unpacked", place / "model.tar.gz"
    try:
        _copy(source, folder)
        found = _indexed(folder)
        contents = inspect(folder, own_image=own_image)
        brought = _with_baseline(folder, contents, given)
        if source.is_file() and not found and not given:
            shutil.copyfile(source, archive)
            digest = package.digest(archive)
        else:
            digest = package.write(folder, archive)
        return Gathered(archive, digest, folder, contents, tuple(_samples(folder, contents)), brought)
    except ServingError as error:
        raise ArchiveRefused(f"{source.name} cannot become a version: {error}") from error
    except OSError as error:
        raise ArchiveRefused(f"{source.name} cannot be read: {error.strerror or error}") from error


def inspect(folder: Path, *, own_image: bool = False) -> Contents:
    """What an unpacked folder holds; everything that is stated in it is read.

    Raises:
        ArchiveRefused: nothing that can be served.
        ServingError: a manifest or a list cannot be used.
    """
    if (folder / index.FILE).is_file():
        return Contents("multi-model", "", tuple(_models(folder, own_image=own_image)))
    if (folder / stages.FILE).is_file():
        listed = tuple(
            (one.name, one.url or _kind(folder / one.folder, own_image=own_image))
            for one in stages.read(folder)
        )
        named = (folder / package.MANIFEST).is_file()
        return Contents("pipeline", package.load_manifest(folder).model if named else "", listed)
    if (folder / package.MANIFEST).is_file():
        return Contents("package", package.load_manifest(folder).model)
    if any((folder / "code" / name).is_file() for name in ("inference.py", *byo.NAMES)):
        return Contents("code")
    if own_image:
        return Contents("files")
    raise ArchiveRefused(
        "there is no model in it: neither seaway.json nor pipeline.json nor code/inference.py, and no models "
        "below it; pack one of these, or name the image that serves it in container.image of the project"
    )


def one_model(folder: Path) -> bool:
    """Whether an unpacked version is a package of one model, which can be scored on a table."""
    others = (index.FILE, stages.FILE)
    return (folder / package.MANIFEST).is_file() and not any((folder / name).is_file() for name in others)


def _with_baseline(folder: Path, contents: Contents, given: Given | None) -> Brought | None:
    if given is None:
        return archive_baseline.own(folder)
    if contents.kind == "multi-model":
        raise ArchiveRefused(
            f"{described(contents)} have no common baseline, and monitors do not tell them apart; "
            "leave the baseline out, or serve the model that you watch by itself"
        )
    return archive_baseline.put(folder, given.baseline, given.target)


def _copy(source: Path, folder: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, folder, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    elif source.is_file():
        package.unpack(source, folder, package.digest(source))
    else:
        raise ArchiveRefused(f"there is no {source}; give an archive or a folder")


def _indexed(folder: Path) -> bool:
    """Write `models.json` where a folder holds models and does not say so; whether that was needed."""
    own = (index.FILE, stages.FILE, package.MANIFEST, "code")
    if any((folder / name).exists() for name in own):
        return False
    keys = tuple(index.models(folder))
    if keys:
        (folder / index.FILE).write_bytes(index.write(keys))
    return bool(keys)


def _models(folder: Path, *, own_image: bool) -> Iterator[tuple[str, str]]:
    for key in index.read(folder):
        with _unpacked(folder / key) as place:
            yield key, _kind(place, own_image=own_image)


def _samples(folder: Path, contents: Contents) -> Iterator[Sample]:
    if contents.kind in {"package", "pipeline"} and (own := samples.recorded(folder)):
        yield own
    for key, _ in contents.parts if contents.kind == "multi-model" else ():
        with _unpacked(folder / key) as place:
            if found := samples.recorded(place, key):
                yield found


def _kind(folder: Path, *, own_image: bool) -> str:
    return inspect(folder, own_image=own_image).kind


class _unpacked:  # noqa: N801 (used as a statement)
    """A model's folder: its own, or a passing one for an archive."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        if self._model.is_dir():
            return self._model
        self._scratch = tempfile.TemporaryDirectory()
        place = Path(self._scratch.name) / "model"
        return package.unpack(self._model, place, package.digest(self._model))

    def __exit__(self, *_: object) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()


def described(contents: Contents) -> str:
    """The kind in words."""
    many: Mapping[Kind, str] = {
        "pipeline": f"a pipeline of {len(contents.parts)} stages",
        "multi-model": f"{len(contents.parts)} models behind one server",
        "code": "the user's own code",
        "files": "files for the project's own image",
    }
    return many.get(contents.kind, "a package of one model")
