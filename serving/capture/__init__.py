"""Data capture: what went into an endpoint and what came out, in SageMaker's layout and record shape.

`from_environment` makes the recorder a server needs; `read_captures` reads what was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from serving.capture.bucket import Bucket, spool_of
from serving.capture.errors import CaptureInvalid, CaptureUnreadable
from serving.capture.folder import Folder
from serving.capture.reading import read, read_captures
from serving.capture.record import Exchange, body
from serving.capture.recorder import Counts, Recorder
from serving.capture.settings import CAPTURE, ENDPOINT, VARIANT, Settings, key, owner, parse

__all__ = [
    "CAPTURE",
    "ENDPOINT",
    "VARIANT",
    "CaptureInvalid",
    "CaptureUnreadable",
    "Counts",
    "Exchange",
    "Recorder",
    "Settings",
    "body",
    "from_environment",
    "key",
    "parse",
    "read",
    "read_captures",
]


def from_environment(environ: Mapping[str, str]) -> Recorder | None:
    """The recorder that the environment asks for; None when it asks for none.

    Raises:
        CaptureInvalid: a setting is wrong; the message names it.
    """
    if not environ.get(CAPTURE):
        return None
    settings = parse(environ[CAPTURE])
    endpoint, variant = owner(environ)
    secret = key(settings, environ)
    for library, wanted in (("cryptography", secret is not None), ("boto3", settings.to_bucket)):
        if wanted and find_spec(library) is None:
            raise CaptureInvalid(f"{CAPTURE} needs {library}; install it")
    root = Path(settings.destination)
    if settings.to_bucket:
        root = spool_of(settings.spool_folder, settings.destination)
    folder = Folder(
        root / endpoint / variant, rotate=settings.rotate_seconds, limit=settings.max_file_bytes, key=secret
    )
    if not settings.to_bucket:
        return Recorder(settings, folder)
    return Recorder(settings, folder, Bucket(root / endpoint, settings.destination, settings.kms_key_id))
