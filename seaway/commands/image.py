"""`seaway image`: container images that serve models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from seaway.console import Json, clear_errors, emit, fail, say

if TYPE_CHECKING:
    from deploy.image import Builder, Built
    from registry.port import ModelRegistry, ModelVersion


class RuntimeName(StrEnum):
    """What an image can serve."""

    AUTO = "auto"
    ONNX = "onnx"
    FULL = "full"


class Extra(StrEnum):
    """What an image can have beside."""

    ARROW = "arrow"
    ENCRYPTION = "encryption"
    S3 = "s3"


Model = Annotated[str, typer.Argument(help="A registered model, or the path of a model.tar.gz.")]
Version = Annotated[str, typer.Argument(help="The model's version; nothing for a path.")]
Tag = Annotated[str, typer.Option("--tag", help="Name of the image; seaway/MODEL:VERSION if not given.")]
Runtime = Annotated[
    RuntimeName, typer.Option("--runtime", help="Compiled models only, or scikit-learn's as well.")
]
With = Annotated[
    list[Extra] | None,
    typer.Option(
        "--with",
        help="Beside: bodies in Arrow and Parquet, encrypted captures, captures to S3; may be repeated. "
        "What the version's project file captures is added by itself.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    image = typer.Typer(help="Container images that serve models.", no_args_is_help=True)
    image.command("build")(build)
    image.command("stock")(stock)
    app.add_typer(image, name="image")


def build(
    model: Model,
    version: Version = "",
    tag: Tag = "",
    runtime: Runtime = RuntimeName.AUTO,
    extras: With = None,
    as_json: Json = False,
) -> None:
    """Make a slim image that serves one package, from the Python and the libraries that run Seaway.

    Example: seaway image build late-arrivals 3 --with arrow
    """
    asked = "" if runtime is RuntimeName.AUTO else runtime.value
    with _builder(quiet=as_json) as builder, _archive(model, version) as (archive, needed):
        name = tag or (_tag(model, version) if version else "")
        wanted = {extra.value for extra in extras or ()} | needed
        built = builder.package(archive, tag=name, runtime=asked, extras=wanted)
    _report(built, as_json=as_json)


def stock(runtime: Runtime = RuntimeName.AUTO, extras: With = None, as_json: Json = False) -> None:
    """Make the image into which the Docker target mounts packages, unless it is there; by default both kinds.

    Example: seaway image stock --runtime onnx
    """
    chosen = ("onnx", "full") if runtime is RuntimeName.AUTO else (runtime.value,)
    with _builder(quiet=as_json) as builder:
        made = [builder.stock(name, {extra.value for extra in extras or ()}) for name in chosen]
    if as_json:
        emit([asdict(one) for one in made])
        return
    for one in made:
        _report(one, as_json=False)


@contextmanager
def _builder(*, quiet: bool) -> Iterator[Builder]:
    try:
        from deploy.image import Builder

        with closing(Builder(tell=(lambda _: None) if quiet else _tell)) as builder, clear_errors():
            yield builder
    except ModuleNotFoundError as error:
        if error.name != "docker":
            raise
        raise fail("images need Docker's SDK; install it with `uv sync --extra docker`") from error


@contextmanager
def _archive(model: str, version: str) -> Iterator[tuple[Path, set[str]]]:
    """The package as a file, the given one or the registry's, and what its project file needs in an image."""
    if not version:
        if not (path := Path(model)).is_file():
            raise fail(f"there is no file {model}; give a model and its version, or a model.tar.gz")
        yield path, set()
        return
    from flows.dossier import ARCHIVE
    from flows.wiring import connect
    from serving.package import digest

    with closing(connect().registry) as registry, TemporaryDirectory() as folder:
        found = _found(registry, model, version)
        if found is None:
            raise fail(f"the registry has no version {version} of {model}; see `seaway models`")
        needed = _needed(registry, found, Path(folder))
        archive = registry.download(found, ARCHIVE, Path(folder))
        if found.tags.get("digest", "") not in {"", digest(archive)}:
            raise fail(f"the package of {model} version {version} was changed; register it again")
        yield archive, needed


def _found(registry: ModelRegistry, model: str, version: str) -> ModelVersion | None:
    from registry.errors import NotFound

    try:
        return next((one for one in registry.versions(model) if one.version == version), None)
    except NotFound:
        return None


def _needed(registry: ModelRegistry, version: ModelVersion, folder: Path) -> set[str]:
    """What the captures of a version's project file need in an image; nothing when it has no such file."""
    from configs.load import restore
    from flows.dossier import PROJECT
    from registry.errors import NotFound

    try:
        capture = restore(registry.download(version, PROJECT, folder).read_bytes()).production.capture
    except NotFound:
        return set()
    if capture is None:
        return set()
    found = {Extra.S3.value: capture.destination.startswith("s3://")}
    found[Extra.ENCRYPTION.value] = bool(capture.encryption_key)
    return {name for name, needed in found.items() if needed}


def _tag(model: str, version: str) -> str:
    from deploy.image import repository

    return f"seaway/{repository(model)}:{version}"


def _report(built: Built, *, as_json: bool) -> None:
    if as_json:
        emit(asdict(built))
        return
    how = f"made in {built.seconds:.1f} s" if built.seconds else "was there"
    say(f"[bold green]{built.tag}[/]  {built.bytes / 1e6:.0f} MB, {built.runtime}, {how}")


def _tell(text: str) -> None:
    say(f"[dim]{text}[/]")
