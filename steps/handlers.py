"""A project's script that makes rows of captured records: its `preprocess_handler`."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from steps.code import project_code, resolve
from steps.errors import CodeFailed

if TYPE_CHECKING:
    from monitoring.records import Handler

NAME = "preprocess_handler"


@dataclass(frozen=True, slots=True)
class Preprocess:
    """The function, and what tells it from another one."""

    handler: Handler
    digest: str
    """sha256 of the script; hours that another script has read are read again."""


def preprocess(script: Path) -> Preprocess:
    """The `preprocess_handler` of a script; modules beside it may be imported while the script is.

    Raises:
        CodeFailed: there is no such script, it does not import, or has no such function.
    """
    try:
        content = script.read_bytes()
    except OSError as error:
        raise CodeFailed(f"monitor.preprocess: {script} cannot be read: {error.strerror}") from error
    if script.suffix != ".py" or not script.stem.isidentifier():
        raise CodeFailed(f"monitor.preprocess: {script.name} is no Python module; name it like rows.py")
    with project_code(script.parent):
        handler = resolve(f"{script.stem}:{NAME}", "monitor.preprocess")
    if not callable(handler):
        raise CodeFailed(f"monitor.preprocess: {NAME} in {script.name} is no function; define one")
    return Preprocess(handler, sha256(content).hexdigest())
