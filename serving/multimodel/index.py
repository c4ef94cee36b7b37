"""`models.json`: says of a folder that it holds many models, wherever it is served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from serving.errors import ManifestInvalid
from serving.multimodel.keys import ARCHIVE, is_model

FILE = "models.json"
FORMAT = 1


def read(folder: Path) -> tuple[str, ...]:
    """Keys of the models that a folder lists.

    Raises:
        ManifestInvalid: the file is missing or wrong, or a model is not there.
    """
    try:
        content = orjson.loads((folder / FILE).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ManifestInvalid(f"{FILE} cannot be read: {error}") from error
    if not isinstance(content, dict) or set(content) != {"format", "models"} or content["format"] != FORMAT:
        raise ManifestInvalid(f'{FILE} must be an object with "format": {FORMAT} and "models"')
    keys = content["models"]
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise ManifestInvalid(f"{FILE}: models must be a list of keys, at least one")
    if gone := sorted(set(keys) - set(models(folder))):
        raise ManifestInvalid(f"{FILE}: there is no model {', '.join(gone)}; put it back, or leave it out")
    return tuple(keys)


def write(keys: Sequence[str]) -> bytes:
    """The bytes of `models.json`; equal keys give equal bytes."""
    content = {"format": FORMAT, "models": sorted(keys)}
    return orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"


def models(folder: Path) -> Iterator[str]:
    """Keys of all models below a folder: archives, and folders with a model in them."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        archive = path.is_file() and path.name.endswith(ARCHIVE)
        if archive or is_model(path):
            yield path.name
        elif path.is_dir():
            yield from (f"{path.name}/{key}" for key in models(path))
