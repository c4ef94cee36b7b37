"""Serverless inference: model servers that exist only while somebody asks.

`python -m serving` runs this instead of the model when `SEAWAY_SERVERLESS` is set. The activator takes
requests, starts a model server for each that finds none free, and ends those that nobody used for a while.
It never loads a model or NumPy itself, so that it stays small while it waits.
"""

from __future__ import annotations

from pathlib import Path

VARIABLE = "SEAWAY_SERVERLESS"
"""A JSON object, see `serving.serverless.config.Serverless`."""


def main(folder: Path, host: str, port: int, log_level: str = "info") -> int:
    """Serve a package on demand until a signal comes; returns the exit code."""
    from serving.serverless.activator import run

    return run(folder, host, port, log_level)
