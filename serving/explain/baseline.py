"""What a row is compared with: the rows of the baseline, as columns of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from serving import codecs, package
from serving.codecs import Columns
from serving.environment import EnvironmentInvalid
from serving.errors import RequestRefused
from serving.explain.settings import EXPLAIN, ROWS, TYPICAL, Settings
from serving.manifest import Manifest

MOST = 100
"""Rows; each one multiplies the work."""

_MEDIA = {".json": codecs.JSON, ".csv": codecs.CSV, ".jsonl": codecs.LINES, ".parquet": codecs.PARQUET}


def read(folder: Path, manifest: Manifest, settings: Settings) -> Columns:
    """The baseline of a package's model.

    Raises:
        EnvironmentInvalid: it is not there, or does not fit the model; the message says what would do.
    """
    body, media = _source(folder, settings.baseline)
    try:
        columns = codecs.decode(body, media, manifest)
    except RequestRefused as error:
        raise EnvironmentInvalid(f"{EXPLAIN}: the baseline does not fit the model: {error}") from error
    if (rows := len(next(iter(columns.values())))) > MOST:
        raise EnvironmentInvalid(f"{EXPLAIN}: the baseline has {rows} rows; at most {MOST} are taken")
    return columns


def _source(folder: Path, wanted: str | tuple[Any, ...]) -> tuple[bytes, str]:
    if isinstance(wanted, tuple):
        return orjson.dumps(list(wanted)), codecs.JSON
    if wanted in (TYPICAL, ROWS):
        return orjson.dumps(_packed(folder, wanted)), codecs.JSON
    path = folder / wanted  # an absolute path stays one
    media = _MEDIA.get(path.suffix.lower())
    if media is None:
        raise EnvironmentInvalid(
            f"{EXPLAIN}: baseline is {wanted!r}; name {TYPICAL}, {ROWS}, or a file in {', '.join(_MEDIA)}"
        )
    try:
        return path.read_bytes(), media
    except OSError as error:
        raise EnvironmentInvalid(
            f"{EXPLAIN}: baseline {wanted!r} cannot be read: {error.strerror}"
        ) from error


def _packed(folder: Path, wanted: str) -> list[Any]:
    path = folder / package.BASELINE
    if not path.is_file():
        raise EnvironmentInvalid(
            f"{EXPLAIN}: the package has no {package.BASELINE}; build it again, or give rows as the baseline"
        )
    try:
        content = orjson.loads(path.read_bytes())[wanted]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise EnvironmentInvalid(
            f"{EXPLAIN}: {package.BASELINE} of the package is damaged; build the package again"
        ) from error
    return content if wanted == ROWS else [content]
