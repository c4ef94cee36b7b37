"""The settings of data capture: one JSON object in an environment variable, read strictly."""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.capture.errors import CaptureInvalid
from serving.entries import Check, entries

CAPTURE, ENDPOINT, VARIANT = "SEAWAY_CAPTURE", "SEAWAY_ENDPOINT", "SEAWAY_VARIANT"
"""Environment variables: the settings as JSON, and whose traffic this is."""
CSV, JSON = "text/csv", "application/json"
MIB = 1024 * 1024
KEY_BYTES = 32
"""Length of the key for encryption at rest."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_MODES = {
    ("Input",): (True, False),
    ("Output",): (False, True),
    ("InputAndOutput",): (True, True),
    ("Input", "Output"): (True, True),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What is captured, and where it goes; the names are those of the JSON object."""

    destination: str
    """An absolute folder, or `s3://bucket/prefix`."""
    sampling: float = 100.0
    """Percent of the events."""
    modes: tuple[str, ...] = ("InputAndOutput",)
    """`Input`, `Output`, both, or `InputAndOutput`."""
    csv_content_types: tuple[str, ...] = (CSV,)
    """Media types kept as text with encoding CSV."""
    json_content_types: tuple[str, ...] = (JSON,)
    """Media types kept as text with encoding JSON; all others are BASE64."""
    queue_items: int = 10_000
    """Most exchanges that wait for the writer."""
    queue_bytes: int = 64 * MIB
    """Most bytes that wait for the writer."""
    flush_seconds: float = 1.0
    """Longest time an exchange waits in memory."""
    rotate_seconds: float = 60.0
    """Age at which a file is completed."""
    max_file_bytes: int = 64 * MIB
    """Size at which a file is completed."""
    max_disk_percent: float = 75.0
    """Use of the disk above which captures are dropped."""
    key_variable: str = ""
    """Environment variable with the key for encryption at rest: 32 bytes in base64."""
    kms_key_id: str = ""
    """KMS key for encryption by S3."""
    spool: str = ""
    """Folder where files for S3 are written before they are sent; one below the system's temporary folder
    when not set."""

    @property
    def input(self) -> bool:
        """Whether requests are captured."""
        return _MODES[tuple(sorted(self.modes))][0]

    @property
    def output(self) -> bool:
        """Whether answers are captured."""
        return _MODES[tuple(sorted(self.modes))][1]

    @property
    def to_bucket(self) -> bool:
        """Whether the destination is S3."""
        return self.destination.startswith("s3://")

    @property
    def outcomes(self) -> str:
        """Where outcomes go: beside the destination, so that readers of captures do not meet them.

        A bucket without a prefix has nothing beside it; there it is a prefix that no endpoint can have.
        """
        named = self.destination.removeprefix("s3://").partition("/")[2]
        return f"{self.destination}-outcomes" if named else f"{self.destination.rstrip('/')}/.outcomes"

    @property
    def spool_folder(self) -> Path:
        """Where files for S3 wait."""
        return Path(self.spool) if self.spool else Path(tempfile.gettempdir()) / "seaway-capture"


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def parse(text: str) -> Settings:
    """The settings in a JSON object.

    Raises:
        CaptureInvalid: the text is no such object; the message names the entry at fault.
    """
    found = entries(CAPTURE, text, _CHECKS, CaptureInvalid)
    if "destination" not in found:
        raise CaptureInvalid(f"{CAPTURE} needs a destination: a folder, or s3://bucket/prefix")
    settings = Settings(**found)
    for name in ("kms_key_id", "spool"):
        if getattr(settings, name) and not settings.to_bucket:
            raise CaptureInvalid(f"{CAPTURE}: {name} is for destinations in S3; remove it")
    return settings


def key(settings: Settings, environ: Mapping[str, str]) -> bytes | None:
    """The key for encryption at rest; None when none is wanted.

    Raises:
        CaptureInvalid: the variable is not set, or is no key.
    """
    if not settings.key_variable:
        return None
    text = environ.get(settings.key_variable, "")
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error:
        found = b""
    if len(found) != KEY_BYTES:
        raise CaptureInvalid(
            f"set {settings.key_variable} to {KEY_BYTES} bytes in base64; capture needs this key"
        )
    return found


def owner(environ: Mapping[str, str]) -> tuple[str, str]:
    """The names of endpoint and variant.

    Raises:
        CaptureInvalid: a name is missing, or cannot be part of a path.
    """
    for variable in (ENDPOINT, VARIANT):
        if not _NAME.fullmatch(environ.get(variable, "")):
            raise CaptureInvalid(
                f"set {variable}, for capture, to a name of letters, digits, '.', '_' and '-'"
            )
    return environ[ENDPOINT], environ[VARIANT]


# ---- the check of each entry ------------------------------------------------------------------------------


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise CaptureInvalid(f"{CAPTURE}: {name} is {value!r}; set it to a number from {low:g} to {high:g}")
    return float(value)


def _percent(name: str, value: Any) -> float:
    return _number(name, value, 0, 100)


def _seconds(name: str, value: Any) -> float:
    return _number(name, value, 0.01, 3600)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CaptureInvalid(f"{CAPTURE}: {name} is {value!r}; set it to a whole number of at least 1")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise CaptureInvalid(f"{CAPTURE}: {name} is {value!r}; set it to text")
    return value


def _destination(name: str, value: Any) -> str:
    if not isinstance(value, str) or not (_BUCKET.fullmatch(value) or Path(value).is_absolute()):
        raise CaptureInvalid(
            f"{CAPTURE}: {name} is {value!r}; set it to an absolute folder or s3://bucket/prefix"
        )
    return value.rstrip("/") or "/"


def _folder(name: str, value: Any) -> str:
    if not isinstance(value, str) or not Path(value).is_absolute():
        raise CaptureInvalid(f"{CAPTURE}: {name} is {value!r}; set it to an absolute folder")
    return value


def _list(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise CaptureInvalid(f"{CAPTURE}: {name} is {value!r}; set it to a list of texts")
    return tuple(value)


def _types(name: str, value: Any) -> tuple[str, ...]:
    return tuple(media_type(one) for one in _list(name, value))


def _modes(name: str, value: Any) -> tuple[str, ...]:
    modes = _list(name, value)
    if tuple(sorted(modes)) not in _MODES:
        raise CaptureInvalid(f"{CAPTURE}: {name} is {value!r}; take Input, Output, or InputAndOutput")
    return modes


_CHECKS: dict[str, Check] = {
    "destination": _destination,
    "sampling": _percent,
    "modes": _modes,
    "csv_content_types": _types,
    "json_content_types": _types,
    "queue_items": _count,
    "queue_bytes": _count,
    "flush_seconds": _seconds,
    "rotate_seconds": _seconds,
    "max_file_bytes": _count,
    "max_disk_percent": _percent,
    "key_variable": _text,
    "kms_key_id": _text,
    "spool": _folder,
}
