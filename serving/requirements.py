"""The user's `requirements.txt`: installed before the user's code runs, as SageMaker's containers do."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from serving.errors import Permanent

NAME = "requirements.txt"

_PLAIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(?:\s*==\s*(?P<version>[\w.+!]+))?")

log = logging.getLogger("serving")


class RequirementsRefused(Permanent):
    """The user's requirements cannot be installed."""


def install(folder: Path, environ: Mapping[str, str]) -> bool:
    """Install what the file in `folder` lists, unless all is there; returns whether there is a file.

    Raises:
        RequirementsRefused: pip failed; its last line says why.
    """
    file = folder / NAME
    if not file.is_file():
        return False
    if satisfied(file.read_text()):
        return True
    log.info("installing %s", file)
    command = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-r", str(file))
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        said = next(
            (line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no message"
        )
        raise RequirementsRefused(
            f"{NAME} cannot be installed: {said}; install it in the image, or set PIP_TARGET to a folder "
            "that may be written and is on PYTHONPATH"
        )
    return True


def satisfied(text: str) -> bool:
    """Whether every line names a library that is there, in any version or in the one after `==`.

    Where a line says more than that, pip has to decide.
    """
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return all(_there(line) for line in lines if line)


def _there(line: str) -> bool:
    found = _PLAIN.fullmatch(line)
    if not found:
        return False
    try:
        return found["version"] in {None, metadata.version(found["name"])}
    except metadata.PackageNotFoundError:
        return False
