"""Several packages and script folders to one: a chain that is rolled out and rolled back as one model."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from serving import package
from serving.errors import ServingError, StorageFailed
from serving.loading import load_one
from serving.manifest import Input, Kind, Label, Manifest, ParityRecord, Task
from serving.pipeline import stages
from serving.pipeline.stages import Stage
from serving.responder import Request, Responder
from steps.errors import Permanent

_JSON = "application/json"
_LEFT_OUT = ("__pycache__", ".digest", ".git", "*.pyc")
_REASON = "a pipeline is served as its stages are; each keeps its own record"


class PipelineRefused(Permanent):
    """No pipeline can be made of these stages; the message says what to change."""


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """A written pipeline."""

    archive: Path
    digest: str
    manifest: Manifest
    stages: tuple[Stage, ...]
    testable: bool
    """Its sample has predictions in the shape of every package's; any other shape is compared as it is."""


def pack_pipeline(
    sources: Sequence[Path | str],
    names: Sequence[str],
    archive: Path,
    *,
    model: str,
    sample: bytes | None = None,
    accepts: Mapping[str, str] | None = None,
) -> PipelineResult:
    """Write one archive that holds all stages; equal stages give equal bytes.

    The stages are loaded and asked once, here, so that the archive holds a sample with its answer. Code in
    them runs with the rights of this process.

    Args:
        sources: of each stage the archive of a package, a folder with one unpacked or with
            `code/inference.py`, or the `http://HOST:PORT` of a server that runs.
        names: of the stages.
        archive: where the pipeline goes.
        model: name of the registered model.
        sample: a request, `{"instances": [...]}`; the first stage's own sample when None.
        accepts: by name, the answer format a stage is asked for.

    Raises:
        PipelineRefused: the stages do not fit together; the message says what to change.
    """
    if len(names) != len(sources):
        raise PipelineRefused(
            f"there are {len(sources)} stages and {len(names)} names; give each stage a name"
        )
    archive.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".pipeline.") as temporary:
            root = Path(temporary) / "pipeline"
            wanted = accepts or {}
            listed = tuple(
                replace(_gather(source, root, number, name), accept=wanted.get(name, ""))
                for number, (source, name) in enumerate(zip(sources, names, strict=True), 1)
            )
            root.mkdir(exist_ok=True)
            (root / stages.FILE).write_bytes(stages.write(listed))
            stages.parse((root / stages.FILE).read_bytes())
            manifest, testable = _describe(root, listed, model, sample)
            digest = package.write(root, archive)
    except ServingError as error:
        raise PipelineRefused(str(error)) from error
    return PipelineResult(archive, digest, manifest, listed, testable)


def _gather(source: Path | str, root: Path, number: int, name: str) -> Stage:
    """Copy one stage below the pipeline's folder."""
    if isinstance(source, str):
        return Stage(name, url=source)
    folder = f"stages/{number}"
    place = root / folder
    try:
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        elif source.is_file():
            package.unpack(source, place, package.digest(source))
        else:
            raise PipelineRefused(f'stage "{name}": there is no {source.name}; give an archive or a folder')
    except (OSError, shutil.Error) as error:
        raise StorageFailed(f'stage "{name}" cannot be copied: {error}') from error
    return Stage(name, folder)


def _describe(root: Path, listed: Sequence[Stage], model: str, sample: bytes | None) -> tuple[Manifest, bool]:
    """Add what every package has: manifest, sample and requirements."""
    manifests = [_manifest(root, stage) for stage in listed]
    needed = _dependencies([(stage.name, one) for stage, one in zip(listed, manifests, strict=True) if one])
    request = _request(root / listed[0].folder if listed[0].folder else None, sample)
    answer = _tried(root, request)
    rows = answer.get("predictions") if isinstance(answer, dict) else None
    testable = isinstance(rows, list) and all(_is_prediction(row) for row in rows)
    kept: dict[str, Any] = {"request": request}
    if testable:
        kept["predictions"] = rows
    if answer != {"predictions": rows}:
        kept["answer"] = answer  # the whole of it: predictions may not be all it says
    last = next((one for one in reversed(manifests) if one), None)
    task, classes = (last.task, last.classes) if last else _task(rows if isinstance(rows, list) else [])
    manifest = Manifest(
        model=model,
        task=task,
        runtime="pipeline",
        classes=classes,
        inputs=manifests[0].inputs if manifests[0] else _inputs(request["instances"]),
        parity=ParityRecord(0, None, passed=False, reason=_REASON),
        dependencies=needed,
        provenance=tuple(sorted(_provenance(root, listed).items())),
        allow_pickle=any(one.allow_pickle for one in manifests if one),
    )
    (root / package.SAMPLE).write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2) + b"\n")
    (root / package.REQUIREMENTS).write_text("".join(f"{line}\n" for line in manifest.dependencies))
    _code_requirements(root, listed)
    (root / package.MANIFEST).write_bytes(manifest.to_json())
    Manifest.from_json(manifest.to_json())
    return manifest, testable


def _manifest(root: Path, stage: Stage) -> Manifest | None:
    if not stage.folder or not (root / stage.folder / package.MANIFEST).is_file():
        return None
    return package.load_manifest(root / stage.folder)


def _request(first: Path | None, sample: bytes | None) -> dict[str, Any]:
    """The sample request."""
    own = first / package.SAMPLE if first else None
    if sample is None and own is not None and own.is_file():
        content = orjson.loads(own.read_bytes())
        sample = orjson.dumps(content.get("request") if isinstance(content, dict) else None)
    if sample is None:
        raise PipelineRefused('the first stage has no sample; give one: a file with {"instances": [...]}')
    try:
        request = orjson.loads(sample)
    except orjson.JSONDecodeError as error:
        raise PipelineRefused(f"the sample is not JSON: {error}") from error
    rows = request.get("instances") if isinstance(request, dict) else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and row for row in rows):
        raise PipelineRefused('the sample must be {"instances": [{"column": value, ...}, ...]}')
    return {"instances": rows}


def _tried(root: Path, request: Mapping[str, Any]) -> Any:
    """The answer to the sample, from a copy: code that runs may leave files behind."""
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        copy = shutil.copytree(root, Path(temporary) / "pipeline")
        return _answer(load_one(copy, os.environ), request)


def _answer(responder: Responder, request: Mapping[str, Any]) -> Any:
    headers = {"content-type": _JSON, "accept": _JSON}
    answer = responder.respond(Request(orjson.dumps(request), _JSON, _JSON, headers))
    body = b"".join(answer.stream) if answer.stream is not None else answer.body
    if answer.status != 200:
        raise PipelineRefused(f"the pipeline cannot answer its sample: {orjson.loads(body)['error']}")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise PipelineRefused("the last stage must answer JSON where a caller accepts JSON") from None


def _is_prediction(row: object) -> bool:
    return isinstance(row, dict) and ("score" in row or "scores" in row)


def _task(rows: Sequence[object]) -> tuple[Task, tuple[Label, ...] | None]:
    """What is predicted, from the answers, where no stage has a manifest."""
    found = {row["predicted_label"] for row in rows if isinstance(row, dict) and "predicted_label" in row}
    labels = tuple(sorted(found, key=lambda label: (str(type(label)), label)))
    if len(labels) < 2:
        return "regression", None
    return ("binary" if len(labels) == 2 else "multiclass"), labels


def _inputs(rows: Sequence[Mapping[str, Any]]) -> tuple[Input, ...]:
    """The columns of a sample; none is required, for nobody knows what the first stage does without."""
    names = dict.fromkeys(name for row in rows for name in row)
    return tuple(Input(name, _kind([row.get(name) for row in rows])) for name in names)


def _kind(values: Collection[object]) -> Kind:
    there = [value for value in values if value is not None]
    return "double" if there and all(isinstance(value, int | float) for value in there) else "string"


def _dependencies(found: Sequence[tuple[str, Manifest]]) -> tuple[str, ...]:
    """The requirements of all stages, which must agree where they share one process."""
    versions: dict[str, tuple[str, str]] = {}
    for stage, manifest in found:
        for line in manifest.dependencies:
            name, _, version = line.partition("==")
            other, there = versions.setdefault(name, (stage, version))
            if there != version:
                raise PipelineRefused(
                    f'stage "{other}" needs {name} {there} and stage "{stage}" {version}; build them '
                    "alike, or run one of them as a process of its own and give its url"
                )
    return tuple(f"{name}=={version}" for name, (_, version) in sorted(versions.items()))


def _provenance(root: Path, listed: Sequence[Stage]) -> dict[str, str]:
    """What each stage is, by the digest its folder has as an archive."""
    found = {}
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        for number, stage in enumerate(listed, 1):
            place = f"stage_{number:02}_{stage.name}"
            if stage.url:
                found[place] = stage.url
            else:
                found[place] = package.write(root / stage.folder, Path(temporary) / f"{number}.tar.gz")
    return found


def _code_requirements(root: Path, listed: Sequence[Stage]) -> None:
    """What the scripts' own `code/requirements.txt` list, where a container looks before it serves."""
    lines: dict[str, None] = {}
    for stage in listed:
        file = root / stage.folder / "code" / package.REQUIREMENTS
        if stage.folder and file.is_file():
            text = (line.strip() for line in file.read_text().splitlines())
            lines |= dict.fromkeys(line for line in text if line and not line.startswith("#"))
    if lines:
        (root / "code").mkdir()
        (root / "code" / package.REQUIREMENTS).write_text("".join(f"{line}\n" for line in lines))
