"""moto's server as a process of its own, for clients that need a real port."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mlflow_server import wait
from tests.ports import free_port


@contextmanager
def moto_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """Yields its address, on any free port or this one; the log goes to the folder."""
    port, log = port or free_port(), folder / "moto.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=out, stderr=out
        )
        try:
            wait(lambda: _answers(port), 60, log.read_text)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
