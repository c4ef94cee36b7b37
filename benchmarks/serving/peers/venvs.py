"""A virtual environment for each peer, made by uv from a file of pinned requirements and kept between runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements")
STAMP = "installed.txt"
UV = Path(__file__).resolve().parents[3] / ".ci" / "uv"
"""Runs uv, and fetches it where it is not installed."""


def cache() -> Path:
    """Where environments are kept unless another folder is asked for."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "seaway" / "benchmarks"


def prepare(name: str, folder: Path) -> Path:
    """The `bin` folder of an environment with what `requirements/NAME.txt` lists; made when it is not there.

    Raises:
        subprocess.CalledProcessError: it cannot be installed; `stderr` says why.
    """
    home, wanted = folder / name, _wanted(name)
    stamp = home / STAMP
    if not stamp.is_file() or stamp.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        _uv("venv", "--python", sys.executable, str(home))
        file = str(REQUIREMENTS / f"{name}.txt")
        _uv("pip", "install", "--compile-bytecode", "--python", str(home / "bin" / "python"), "-r", file)
        stamp.write_text(wanted)
    return home / "bin"


def versions(name: str) -> dict[str, str]:
    """The pinned packages of a peer, without those of the model."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def _wanted(name: str) -> str:
    """The requirements, and the Python that the environment is for."""
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    return f"# {sys.version}\n{(REQUIREMENTS / 'model.txt').read_text()}{text}"


def _uv(*arguments: str) -> None:
    subprocess.run((str(UV), "--quiet", *arguments), check=True, capture_output=True, text=True)
