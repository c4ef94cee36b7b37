"""Who is measured, at which task, and one turn of it: a process of its own that reads the tables and works once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import stage, venvs

HERE = Path(__file__).parent
DRIFT, BIAS = "drift", "bias"
QUIET = {
    "DO_NOT_TRACK": "1",
    "NML_DISABLE_USAGE_LOGGING": "1",
    "WHYLOGS_NO_ANALYTICS": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "PYTHONWARNINGS": "ignore",
    "TQDM_DISABLE": "1",
}
"""No usage reports, no progress bars."""


class Unavailable(Exception):
    """A peer takes no part; the message says why."""


class NotInstalled(Unavailable):
    """Its environment cannot be made here."""


class TooSlow(Unavailable):
    """It did not end within the limit."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One line of the table."""

    name: str
    task: str
    script: str
    """Its file in `work/`, without `.py`."""
    venv: str = ""
    """Name of its requirements; empty for the project's own environment."""
    goal: float = 0
    """How many times as long as ours it shall take at least."""

    @property
    def requirements(self) -> Path:
        return HERE / "requirements" / f"{self.venv}.txt"


OURS = (
    Contender("Seaway", DRIFT, "seaway_drift"),
    Contender("Seaway", BIAS, "seaway_bias"),
)
PEERS = (
    Contender("Great Expectations", DRIFT, "great_expectations_checks", "great_expectations", 2),
    Contender("NannyML", DRIFT, "nannyml_drift", "nannyml", 3),
    Contender("whylogs", DRIFT, "whylogs_drift", "whylogs", 5),
    Contender("Evidently", DRIFT, "evidently_drift", "evidently", 50),
    Contender("smclarify", BIAS, "smclarify_bias", "smclarify", 20),
)


def python(one: Contender, folder: Path) -> Path:
    """The interpreter of its environment, which is made in a folder where it is not there.

    Raises:
        NotInstalled: with the reason, one line.
    """
    if not one.venv:
        return Path(sys.executable)
    try:
        return venvs.prepare(one.requirements, folder) / "python"
    except subprocess.CalledProcessError as error:
        raise NotInstalled(f"cannot be installed: {_last(error.stderr)}") from error


def turn(one: Contender, interpreter: Path, tables: Path, limit: float) -> Mapping[str, Any]:
    """What one process measured of itself.

    Args:
        one: who works.
        interpreter: of its environment.
        tables: folder of the Parquet files.
        limit: seconds after which it is ended.

    Raises:
        TooSlow: it was ended.
        Unavailable: it failed.
    """
    command = (str(interpreter), str(HERE / "work" / f"{one.script}.py"), str(tables))
    environ = {**os.environ, **QUIET} | ({} if one.venv else {"PYTHONPATH": str(stage.ROOT)})
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, env=environ, cwd=tables, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TooSlow(f"did not end within {limit:,.0f} s") from error
    if done.returncode:
        raise Unavailable(f"fails: {_last(done.stderr)}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _last(text: str | None) -> str:
    return (text or "no output").strip().splitlines()[-1]
