"""`seaway pipeline`: several models and scripts as one package."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from seaway.console import Json, clear_errors, emit, fail, say

Name = Annotated[str, typer.Argument(help="Name of the model that the pipeline is.")]
Stages = Annotated[
    list[str],
    typer.Argument(
        metavar="STAGE...",
        help="In order: MODEL:VERSION of the registry, an archive, a folder with code/inference.py, or "
        "http://HOST:PORT. NAME=STAGE gives the stage a name.",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The archive to write.")]
Sample = Annotated[
    Path | None,
    typer.Option("--sample", help='A file with {"instances": [...]}; the first package brings its own.'),
]
Accepts = Annotated[
    list[str],
    typer.Option("--accept", help="NAME=TYPE: the format a stage is asked for, such as text/csv."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    pipeline = typer.Typer(help="Several models and scripts as one package.", no_args_is_help=True)
    pipeline.callback()(_commands)
    pipeline.command("build")(build)
    app.add_typer(pipeline, name="pipeline")


def _commands() -> None:
    """Several models and scripts as one package."""


def build(
    name: Name,
    stages: Stages,
    output: Output = Path("model.tar.gz"),
    sample: Sample = None,
    accept: Accepts = [],  # noqa: B006 - Typer copies it
    as_json: Json = False,
) -> None:
    """Make one package of 2 to 15 stages and record its answer to a sample; code in the stages runs for that.

    Example: seaway pipeline build late-arrivals-clean clean=./preprocess late-arrivals:3 -o pipeline.tar.gz
    """
    from steps.pipeline import pack_pipeline

    with clear_errors(), _sources(stages) as (names, sources):
        accepts = dict(_pair(one, "--accept") for one in accept)
        if unknown := sorted(set(accepts) - set(names)):
            raise fail(f"--accept names no stage: {', '.join(unknown)}; the stages are {', '.join(names)}")
        request = sample.read_bytes() if sample else None
        made = pack_pipeline(sources, names, output, model=name, sample=request, accepts=accepts)
    if as_json:
        shown = {"archive": str(output), "digest": made.digest, "stages": names, "testable": made.testable}
        emit(shown)
        return
    say(f"[bold green]{output}[/]  {' → '.join(names)}, digest {made.digest[:12]}")
    say(f"next: seaway register {output} --project project.yaml")


@contextmanager
def _sources(stages: Sequence[str]) -> Iterator[tuple[list[str], list[Path | str]]]:
    """Names of the stages, and where each is, fetched from the registry where needed."""
    with TemporaryDirectory() as folder:
        names: list[str] = []
        sources: list[Path | str] = []
        for number, text in enumerate(stages, 1):
            name, source = _named(text)
            sources.append(_source(source, Path(folder) / str(number)))
            names.append(name)
        yield names, sources


def _named(text: str) -> tuple[str, str]:
    """The name and the source of `NAME=SOURCE`; without a name it is made from the source."""
    found = re.fullmatch(r"([a-zA-Z0-9-]+)=(.+)", text)
    if found:
        return found[1], found[2]
    plain = re.sub(r"^https?://", "", text)
    last = Path(plain).resolve().name if Path(plain).exists() else plain.partition(":")[0].rpartition("/")[2]
    return re.sub(r"[^a-zA-Z0-9]+", "-", last.removesuffix(".tar.gz")).strip("-")[:63].strip("-"), text


def _source(text: str, folder: Path) -> Path | str:
    if text.startswith(("http://", "https://")):
        return text
    if (path := Path(text)).exists():
        return path
    model, _, version = text.rpartition(":")
    if not model or not version.isdecimal():
        raise fail(f"there is no {text}; give MODEL:VERSION, an archive, a folder or http://HOST:PORT")
    from flows.dossier import ARCHIVE
    from flows.wiring import connect

    registry = connect().registry
    found = next((one for one in registry.versions(model) if one.version == version), None)
    if found is None:
        raise fail(f"the registry has no version {version} of {model}; see `seaway models`")
    return registry.download(found, ARCHIVE, folder)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name or not value:
        raise fail(f"{option} is {text!r}; write it as NAME=TYPE")
    return name, value
