"""A virtual environment for each peer, made by uv from a file of pinned requirements and kept between runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

STAMP = "installed.txt"
UV = Path(__file__).resolve().parents[1] / ".ci" / "uv"
"""Runs uv, and fetches it where it is not installed."""


def cache() -> Path:
    """Where environments are kept unless another folder is asked for."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "seaway" / "benchmarks"


def prepare(requirements: Path, folder: Path) -> Path:
    """The `bin` folder of an environment with what a file lists, and its name; made when it is not there.

    Args:
        requirements: pinned, for example `requirements/mlflow.txt`.
        folder: where environments are kept.

    Raises:
        subprocess.CalledProcessError: it cannot be installed; `stderr` says why.
    """
    home, wanted = folder / requirements.stem, f"# {sys.version}\n{_lines(requirements)}"
    stamp = home / STAMP
    if not stamp.is_file() or stamp.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        _uv("venv", "--python", sys.executable, str(home))
        python = str(home / "bin" / "python")
        _uv("pip", "install", "--compile-bytecode", "--python", python, "-r", str(requirements))
        stamp.write_text(wanted)
    return home / "bin"


def versions(requirements: Path) -> dict[str, str]:
    """The packages that a file itself pins, without those of files that it names."""
    lines = requirements.read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def _lines(requirements: Path) -> str:
    """The text of a file, after that of the files that it names."""
    text = requirements.read_text()
    named = [line.removeprefix("-r ").strip() for line in text.splitlines() if line.startswith("-r ")]
    return "".join(_lines(requirements.with_name(one)) for one in named) + text


def _uv(*arguments: str) -> None:
    subprocess.run((str(UV), "--quiet", *arguments), check=True, capture_output=True, text=True)
