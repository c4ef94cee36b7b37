"""Batch transforms to decoded hours, by the manifests that their data capture leaves.

`{destination}/input/yyyy/mm/dd/hh/NAME` lists objects, and the manifest of the same name below `output` lists
their results. The records of both are read side by side, as if each had been a request to an endpoint.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import orjson

from serving.capture import CaptureUnreadable
from steps.hour import Hour
from steps.hours import Progress, Stock, block_of, gather, local, silent
from steps.listing import Listing, files, opened

VARIANT = "batch"
"""The variant whose hours these are."""
_ID, _TIME, _OUTPUT = "SageMakerInferenceId", "SageMakerInferenceTime", "SageMakerOutput"
_CSV_ID = re.compile(rb",\s*([0-9a-fA-F-]{36}),\s*(\d{4}-\d\d-\d\dT[0-9:.]+Z)$")
_WHOLE = {
    ".parquet": "application/vnd.apache.parquet",
    ".npy": "application/x-npy",
    ".arrow": "application/vnd.apache.arrow.stream",
}
_CSV, _JSON = "text/csv", "application/json"


@dataclass(frozen=True, slots=True)
class Manifests:
    """What one transform read and wrote in one hour."""

    name: str
    at: datetime
    asked: Any
    """Manifest of the objects."""
    answered: Any
    """Manifest of the results."""


def hours_of_batch(
    stock: Stock, destination: str, since: datetime, until: datetime, progress: Progress = silent
) -> tuple[Hour, ...]:
    """Decode the transforms that are new, of the hours in which they began; returns the hours that changed.

    Args:
        stock: where hours go, and what is known of the model; its captures are not looked at.
        destination: `DestinationS3Uri` of the transforms' data capture: a folder, or `s3://bucket/prefix`.
        since: an aware time.
        until: an aware time, not included.
        progress: told how many records were read so far.

    Raises:
        DataRefused: manifests cannot be reached, or none of the new ones can be read.
    """
    found = _pairs(destination, since, until)
    return gather(stock, VARIANT, found, progress, _blocks)


def _pairs(destination: str, since: datetime, until: datetime) -> Listing:
    asked, told = (
        dict(files(f"{destination.rstrip('/')}/{kind}", since, until, lambda name: not name.startswith(".")))
        for kind in ("input", "output")
    )
    for at in sorted(set(asked) & set(told)):
        both = sorted(set(asked[at]) & set(told[at]))
        yield at, {name: Manifests(name, at, asked[at][name], told[at][name]) for name in both}


def _blocks(manifests: Manifests, folder: Path) -> Iterator[list[bytes]]:
    """Captured records, as an endpoint would have written them, a bounded number at a time.

    Raises:
        CaptureUnreadable: a manifest or an object that it names cannot be read.
    """
    lines = _records(manifests, folder)
    while block := block_of(lines):
        yield block


def _records(manifests: Manifests, folder: Path) -> Iterator[bytes]:
    asked, told = _objects(manifests.asked), _objects(manifests.answered)
    results = {key.removesuffix(".out"): path for key, path in told}
    job = manifests.name.removesuffix(".json")
    if lost := [path for path in (*dict(asked).values(), *results.values()) if not path.is_file()]:
        raise CaptureUnreadable(f"{lost[0]} is not there any more; restore it, or leave the manifest out")
    for key, path in asked:
        if key not in results:
            continue
        with local(path, folder) as source, local(results[key], folder) as result:
            yield from _object(source, result, f"{job}/{key}", manifests.at)


def _objects(manifest: Any) -> list[tuple[str, Any]]:
    """Keys and paths that a manifest names."""
    try:
        first, *keys = json.loads(manifest.read_bytes())
        root = opened(str(first["prefix"]))
        return [(str(key), root / str(key)) for key in keys]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CaptureUnreadable(f"{manifest} is no manifest: {error}; transform again to write it") from error


def _object(source: Path, result: Path, name: str, at: datetime) -> Iterator[bytes]:
    """Records of an object and its result: by lines where both have as many, else each as a whole."""
    by_line = source.suffix.lower() not in _WHOLE and _lines(source) == _lines(result)
    if not by_line:
        kind = _WHOLE.get(source.suffix.lower(), "")
        with _opened(source) as asked, _opened(result) as told:
            yield _record(asked.read(), told.read().strip(), kind, f"{name}:1", at)
        return
    with _opened(source) as asked, _opened(result) as told:
        for number, (line, answer) in enumerate(zip(asked, told, strict=True), start=1):
            if line.strip() or answer.strip():
                yield _record(line.rstrip(b"\r\n"), answer.rstrip(b"\r\n"), "", f"{name}:{number}", at)


def _opened(file: Path) -> IO[bytes]:
    """The object as the model saw it: what is compressed, unpacked."""
    with file.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(file)) if packed else file.open("rb")


def _lines(file: Path) -> int:
    count, last = 0, b"\n"
    with _opened(file) as stream:
        while chunk := stream.read(1 << 20):
            count, last = count + chunk.count(b"\n"), chunk[-1:]
    return count + (last != b"\n")


def _record(asked: bytes, answer: bytes, kind: str, event: str, at: datetime) -> bytes:
    """A record as data capture writes it."""
    own, when, answer = _plain(asked, answer)
    about = {"eventId": own or event, "inferenceTime": when or f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    if own:
        about["inferenceId"] = own
    captured = {"endpointInput": _side(asked, kind), "batchTransformOutput": _side(answer, "")}
    return orjson.dumps({"captureData": captured, "eventMetadata": about, "eventVersion": "0"})


def _side(body: bytes, kind: str) -> dict[str, str]:
    if not kind:
        kind = _JSON if body.lstrip()[:1] in {b"{", b"["} else _CSV
        try:
            encoding = "JSON" if kind == _JSON else "CSV"
            return {"observedContentType": kind, "data": body.decode(), "encoding": encoding}
        except UnicodeDecodeError:
            kind = "application/octet-stream"
    return {"observedContentType": kind, "data": base64.b64encode(body).decode(), "encoding": "BASE64"}


def _plain(asked: bytes, answer: bytes) -> tuple[str, str, bytes]:
    """Inference id and time that the transform has added, and what the model itself has answered."""
    if answer[:1] == b"{":
        return _plain_json(answer)
    own = when = ""
    if match := _CSV_ID.search(answer):
        own, when, answer = match[1].decode(), match[2].decode(), answer[: match.start()]
    begin = asked.strip() + b","
    return own, when, answer.removeprefix(begin)


def _plain_json(answer: bytes) -> tuple[str, str, bytes]:
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return "", "", answer
    if not {_ID, _OUTPUT} & found.keys():
        return "", "", answer
    own, when = str(found.pop(_ID, "")), str(found.pop(_TIME, ""))
    return own, when, orjson.dumps(found.get(_OUTPUT, found))
