"""`pipeline.json`: which stages a pipeline has, read strictly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import orjson

from serving.errors import ManifestInvalid

FILE = "pipeline.json"
FORMAT = 1
FEWEST, MOST = 2, 15
_NAME = re.compile(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9]){0,62}")
_ENTRIES = frozenset({"name", "folder", "url", "accept", "timeout"})


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: a folder below the pipeline's, or another process."""

    name: str
    """Letters, digits and hyphens, as a container's host name."""
    folder: str = ""
    """Relative, with forward slashes; empty for a stage elsewhere."""
    url: str = ""
    """`http://HOST:PORT` of a server of `/invocations`; empty for a folder."""
    accept: str = ""
    """Answer format this stage is asked for; of the last stage only where the caller names none."""
    timeout: float | None = None
    """Seconds for a stage elsewhere; the server's own time limit when None."""


def read(folder: Path) -> tuple[Stage, ...]:
    """The stages of an unpacked pipeline; their folders exist.

    Raises:
        ManifestInvalid: the file is missing or wrong; the message names the entry.
    """
    try:
        stages = parse((folder / FILE).read_bytes())
    except OSError as error:
        raise ManifestInvalid(f"{FILE} cannot be read: {error.strerror or error}") from error
    for stage in stages:
        if stage.folder and not _inside(folder, stage.folder):
            raise ManifestInvalid(f'{FILE}: stage "{stage.name}": there is no folder {stage.folder}')
    return stages


def parse(text: bytes) -> tuple[Stage, ...]:
    """The stages that a `pipeline.json` lists.

    Raises:
        ManifestInvalid: an entry is missing, unknown or wrong; the message names it.
    """
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ManifestInvalid(f"{FILE} is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("format") is True:
        raise ManifestInvalid(f'{FILE} must be an object with "format": {FORMAT}')
    if unknown := set(content) - {"format", "stages"}:
        raise ManifestInvalid(f"{FILE}: unknown entry {', '.join(sorted(unknown))}")
    items = content.get("stages")
    if not isinstance(items, list):
        raise ManifestInvalid(f"{FILE}: stages must be a list")
    stages = tuple(_stage(item, f"{FILE}: stages[{number}]") for number, item in enumerate(items))
    check(stages)
    return stages


def check(stages: Sequence[Stage]) -> None:
    """Refuse what is no pipeline.

    Raises:
        ManifestInvalid: too few, too many, or two of one name.
    """
    if not FEWEST <= len(stages) <= MOST:
        raise ManifestInvalid(f"{FILE}: a pipeline has {FEWEST} to {MOST} stages, not {len(stages)}")
    names = [stage.name for stage in stages]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ManifestInvalid(f"{FILE}: two stages are called {', '.join(twice)}; give each its own name")


def write(stages: Sequence[Stage]) -> bytes:
    """The bytes of `pipeline.json`; equal stages give equal bytes."""
    items = [
        {
            name: value
            for name in ("name", "folder", "url", "accept", "timeout")
            if (value := getattr(stage, name)) not in ("", None)
        }
        for stage in stages
    ]
    return orjson.dumps({"format": FORMAT, "stages": items}, option=orjson.OPT_INDENT_2) + b"\n"


def _stage(item: object, place: str) -> Stage:
    if not isinstance(item, dict):
        raise ManifestInvalid(f"{place} must be an object")
    if unknown := set(item) - _ENTRIES:
        raise ManifestInvalid(f"{place}: unknown entry {', '.join(sorted(unknown))}")
    texts = {name: item.get(name, "") for name in ("name", "folder", "url", "accept")}
    for name, value in texts.items():
        if not isinstance(value, str) or (name in item and not value):
            raise ManifestInvalid(f"{place}: {name} must be a text that is not empty")
    if not _NAME.fullmatch(texts["name"]) or len(texts["name"]) > 63:
        raise ManifestInvalid(
            f"{place}: name must be letters, digits and single hyphens between them, at most 63 characters"
        )
    if bool(texts["folder"]) == bool(texts["url"]):
        raise ManifestInvalid(f"{place}: give either folder or url")
    _check_folder(texts["folder"], place)
    _check_url(texts["url"], place)
    if not texts["accept"].isascii() or not texts["accept"].isprintable():
        raise ManifestInvalid(f"{place}: accept must be a content type, like text/csv")
    return Stage(**texts, timeout=_timeout(item, place))


def _timeout(item: dict[str, object], place: str) -> float | None:
    if "timeout" not in item:
        return None
    value = item["timeout"]
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 3600
    if not good or "url" not in item:
        raise ManifestInvalid(f"{place}: timeout is seconds from 0 to 3600, and only for a stage with a url")
    return float(str(value))


def _check_folder(folder: str, place: str) -> None:
    path = PurePosixPath(folder)
    wrong = path.is_absolute() or ".." in path.parts or "\\" in folder or "\0" in folder
    if folder and (wrong or not path.parts):
        raise ManifestInvalid(f"{place}: folder must be a path below the pipeline's own folder")


def _check_url(url: str, place: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = parts.scheme == "http" and parts.hostname and port and parts.path in ("", "/")
    if not plain or parts.query or parts.fragment or parts.username is not None or not url.isprintable():
        raise ManifestInvalid(f"{place}: url must look like http://127.0.0.1:8081")


def _inside(root: Path, name: str) -> bool:
    found = (root / name).resolve()
    return found.is_dir() and found.is_relative_to(root.resolve()) and found != root.resolve()
