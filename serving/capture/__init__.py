"""Data capture: what went into an endpoint and what came out, in SageMaker's layout and record shape.

`from_environment` makes the recorder a server needs; `read_captures` reads what was written, and
`read_outcomes` how requests went.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from serving.capture.bucket import Bucket, spool_of
from serving.capture.errors import CaptureInvalid, CaptureUnreadable
from serving.capture.folder import Folder
from serving.capture.outcomes import Outcomes
from serving.capture.reading import Noted, read, read_captures, read_outcomes
from serving.capture.record import Exchange, Outcome, body
from serving.capture.recorder import Counts, Recorder
from serving.capture.settings import CAPTURE, ENDPOINT, VARIANT, Settings, key, owner, parse
from serving.capture.source import Place, place

__all__ = [
    "CAPTURE",
    "ENDPOINT",
    "VARIANT",
    "CaptureInvalid",
    "CaptureUnreadable",
    "Counts",
    "Exchange",
    "Noted",
    "Outcome",
    "Place",
    "Recorder",
    "Settings",
    "body",
    "from_environment",
    "key",
    "parse",
    "place",
    "read",
    "read_captures",
    "read_outcomes",
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
    whose = (endpoint, variant)
    folder, bucket = _ways(settings, settings.destination, whose, secret)
    beside, other = _ways(settings, settings.outcomes, whose, secret)
    return Recorder(settings, folder, bucket, outcomes=Outcomes(beside, settings.max_disk_percent, other))


def _ways(
    settings: Settings, destination: str, whose: tuple[str, str], secret: bytes | None
) -> tuple[Folder, Bucket | None]:
    """Where files of an endpoint's variant are written, and what sends them from there, if anything."""
    root = spool_of(settings.spool_folder, destination) if settings.to_bucket else Path(destination)
    endpoint = root / whose[0]
    folder = Folder(
        endpoint / whose[1], rotate=settings.rotate_seconds, limit=settings.max_file_bytes, key=secret
    )
    return folder, Bucket(endpoint, destination, settings.kms_key_id) if settings.to_bucket else None
