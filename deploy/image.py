"""Serving images: a stock one for each runtime, and one for a package of its own on top.

A stock image holds everything but the model and is made once; the Docker target mounts packages into it. It
is imported as one layer, without a Dockerfile, a registry or a network.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy import rootfs
from deploy.containers import MODEL, PORT, UID
from deploy.errors import PackageDamaged, Temporary

if TYPE_CHECKING:
    from docker import DockerClient

STOCK = "seaway-serving"
"""Repository of the stock images; the tag is `<runtime>-<fingerprint>`."""
PACKAGE, RUNTIME = "seaway.package", "seaway.runtime"
"""Labels: digest of the package inside, and what the image can serve."""

_CHANGES = (
    "ENV PATH=/usr/local/bin PYTHONPATH=/opt/seaway PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1",
    "ENV HOME=/tmp LANG=C.UTF-8 ORT_DISABLE_TELEMETRY=1",
    f"USER {UID}:{UID}",
    "WORKDIR /tmp",
    f"EXPOSE {PORT}",
    'CMD ["serve"]',
    "LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true",
)

Tell = Callable[[str], None]


class BuildFailed(Temporary):
    """The engine did not make the image."""


@dataclass(frozen=True, slots=True)
class Built:
    """An image that the engine has."""

    tag: str
    id: str
    """`sha256:...` of the image."""
    bytes: int
    """Size of all its layers."""
    runtime: str
    seconds: float
    """0 when it was there already."""


def runtime_of(folder: Path) -> str:
    """Which stock image an unpacked package needs: `onnx` when a compiled model answers everything."""
    from serving.package import MANIFEST, load_manifest

    if not (folder / MANIFEST).is_file():
        return "full"
    manifest = load_manifest(folder)
    return "onnx" if manifest.runtime == "onnx" and manifest.trained_from is None else "full"


def stock_tag(runtime: str, extras: Iterable[str] = ()) -> str:
    """Name of the stock image that this installation would make; it changes with every library in it.

    Raises:
        ImageRefused: there is no such extra, or a library is not installed here.
    """
    extras = rootfs.lacking(runtime, extras)
    return _base_tag(runtime, extras, rootfs.libraries_of(extras))


class Stock:
    """Stock images: their names, each found out once in the object's life, and how they are made."""

    def __init__(self) -> None:
        self._tags: dict[tuple[str, tuple[str, ...]], str] = {}

    def package(self, folder: Path, extras: Iterable[str] = ()) -> str:
        """Name of the stock image for an unpacked package."""
        return self._tag(runtime_of(folder), extras)

    def sidecar(self, extras: Iterable[str] = ()) -> str:
        """Name of the stock image that stands before somebody else's container."""
        return self._tag("onnx", extras)

    def make(self, tag: str, tell: Tell) -> None:
        """Make a stock image that one of the other methods named.

        Raises:
            ImageRefused: a library is not installed here.
            BuildFailed: the engine does not answer or has no room.
        """
        runtime, extras = next(key for key, known in list(self._tags.items()) if known == tag)
        with closing(Builder(tell=tell)) as builder:
            builder.stock(runtime, extras)

    def _tag(self, runtime: str, extras: Iterable[str]) -> str:
        key = (runtime, tuple(sorted(set(extras))))
        if key not in self._tags:
            self._tags[key] = stock_tag(*key)
        return self._tags[key]


class Builder:
    """Makes images on an engine.

    Args:
        client: Docker's engine; by default the one that `DOCKER_HOST` names.
        tell: told what is being done.
    """

    def __init__(self, client: DockerClient | None = None, tell: Tell = lambda _: None) -> None:
        self._given = client
        self._tell = tell

    def stock(self, runtime: str, extras: Iterable[str] = ()) -> Built:
        """The stock image of a runtime, made unless the engine has it.

        Args:
            runtime: a key of `rootfs.RUNTIMES`.
            extras: keys of `rootfs.EXTRAS`.

        Raises:
            ImageRefused: there is no such extra, or a library is not installed here.
            BuildFailed: the engine does not answer or has no room.
        """
        extras = rootfs.lacking(runtime, extras)
        return self._base(runtime, extras, rootfs.libraries_of(extras))

    def package(
        self, archive: Path, *, tag: str = "", runtime: str = "", extras: Iterable[str] = ()
    ) -> Built:
        """An image that holds a package and every library the package asks for.

        Args:
            archive: `model.tar.gz`.
            tag: the image's name; `seaway/<model>:<digest>` when empty.
            runtime: a key of `rootfs.RUNTIMES`; chosen by what the package holds when empty.
            extras: keys of `rootfs.EXTRAS`.

        Raises:
            PackageDamaged: the archive cannot be used.
            ImageRefused: a library is not installed here in the version that the package names.
            BuildFailed: the engine does not answer or has no room.
        """
        from serving.package import digest

        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as place:
            folder, found = Path(place) / "model", digest(archive)
            model = _unpack(archive, folder, found)
            runtime = runtime or runtime_of(folder)
            extras = rootfs.lacking(runtime, extras)
            libraries = rootfs.libraries_of(extras)
            base = self._base(runtime, extras, (*libraries, *_missing(folder, runtime, libraries)))
            tag = tag or f"seaway/{repository(model)}:{found[:12]}"
            self._tell(f"adding the package {found[:12]} as {tag}")
            labels = {PACKAGE: found, RUNTIME: runtime}
            with _failures():
                self._client().images.build(
                    fileobj=_context(folder, base.tag, labels), custom_context=True, tag=tag, rm=True
                )
        return self._built(tag, runtime, time.perf_counter() - began)

    def _base(self, runtime: str, extras: tuple[str, ...], libraries: tuple[str, ...]) -> Built:
        began = time.perf_counter()
        tag = _base_tag(runtime, extras, libraries)
        if (there := self._find(tag, runtime)) is not None:
            return there
        self._tell(f"making {tag} from this Python and its libraries")
        with tempfile.TemporaryDirectory() as place:
            root = Path(place) / "root"
            root.mkdir()
            rootfs.gather(root, runtime, libraries)
            archive = Path(place) / "root.tar"
            with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
                tar.add(root, ".", filter=_owned_by_root)
            self._tell(f"handing {archive.stat().st_size / 1e6:.0f} MB to the engine")
            repository, _, version = tag.partition(":")
            changes = [*_CHANGES, f"LABEL {RUNTIME}={runtime}"]
            with _failures():
                answer = self._client().api.import_image_from_file(
                    str(archive), repository=repository, tag=version, changes=changes
                )
            if "error" in answer:
                raise BuildFailed(f"Docker refuses the image: {answer.strip()}")
        return self._built(tag, runtime, time.perf_counter() - began)

    def _find(self, tag: str, runtime: str) -> Built | None:
        from docker.errors import ImageNotFound

        try:
            return self._built(tag, runtime, 0.0)
        except ImageNotFound:
            return None

    def _built(self, tag: str, runtime: str, seconds: float) -> Built:
        with _failures():
            found = self._client().api.inspect_image(tag)
        return Built(tag, found["Id"], int(found["Size"]), runtime, seconds)

    def _client(self) -> Any:
        if self._given is None:
            import docker

            with _failures():
                self._given = docker.from_env(timeout=600)
        return self._given

    def close(self) -> None:
        """Give the connection back."""
        if self._given is not None:
            self._given.close()


def _base_tag(runtime: str, extras: Iterable[str], libraries: tuple[str, ...]) -> str:
    """Its digits change with the image's files and with how it is run."""
    files = rootfs.fingerprint(runtime, libraries)
    changes = hashlib.sha256(f"{files} {_CHANGES}".encode()).hexdigest()[:12]
    return f"{STOCK}:{'-'.join((runtime, *sorted(set(extras)), changes))}"


def _unpack(archive: Path, folder: Path, found: str) -> str:
    """Unpack an archive; returns the name of its model."""
    from serving.errors import ServingError
    from serving.package import MANIFEST, load_manifest, unpack

    try:
        unpack(archive, folder, found)
        return load_manifest(folder).model if (folder / MANIFEST).is_file() else archive.name.split(".")[0]
    except ServingError as error:
        raise PackageDamaged(str(error)) from error


def _missing(folder: Path, runtime: str, libraries: tuple[str, ...]) -> tuple[str, ...]:
    """What serving the package loads beyond the stock image with these libraries, or in another version."""
    from serving.package import MANIFEST, REQUIREMENTS

    if not (folder / MANIFEST).is_file() or not (folder / REQUIREMENTS).is_file():
        return ()
    there = {f"{name}=={version}" for name, version in rootfs.versions(runtime, libraries).items()}
    lines = {line.strip() for line in (folder / REQUIREMENTS).read_text().splitlines()}
    return tuple(sorted(line for line in lines - there if line and not line.startswith("#")))


def _context(folder: Path, base: str, labels: dict[str, str]) -> io.BytesIO:
    """What the engine builds from: the package on top of the stock image."""
    lines = [f"FROM {base}", f"COPY model {MODEL}"]
    lines += [f"LABEL {name}={json.dumps(value)}" for name, value in labels.items()]
    recipe = "\n".join(lines).encode()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(recipe)
        tar.addfile(member, io.BytesIO(recipe))
        tar.add(folder, "model", filter=_owned_by_root)
    stream.seek(0)
    return stream


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Readable by everybody, writable by nobody but root, dated alike."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mtime = 0
    if member.name not in {"tmp", "./tmp"}:
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def repository(model: str) -> str:
    """A model's name as Docker allows it: small letters, digits, and single separators."""
    return re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") or "model"


class _failures:  # noqa: N801 (used as a statement)
    """Turns the engine's errors into ours; a missing image stays what it is."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        from docker.errors import DockerException, ImageNotFound
        from requests import RequestException

        if isinstance(error, DockerException | RequestException) and not isinstance(error, ImageNotFound):
            raise BuildFailed(f"Docker did not make the image: {error}") from error
