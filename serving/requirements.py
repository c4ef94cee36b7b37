"""The user's `requirements.txt`: installed before the user's code runs, as SageMaker's containers do."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from serving.errors import Permanent

NAME = "requirements.txt"

log = logging.getLogger("serving")


class RequirementsRefused(Permanent):
    """The user's requirements cannot be installed."""


def install(folder: Path, environ: Mapping[str, str]) -> bool:
    """Install what the file in `folder` lists; returns whether there is such a file.

    Raises:
        RequirementsRefused: pip failed; its last line says why.
    """
    file = folder / NAME
    if not file.is_file():
        return False
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
