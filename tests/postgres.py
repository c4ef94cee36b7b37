"""A real PostgreSQL for tests: Debian's binaries, an unprivileged user, a free port, a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port


def binaries() -> Path | None:
    """The folder of the newest installed PostgreSQL; None without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def postgres() -> Iterator[str]:
    """A server with an empty database `seaway`; yields its SQLAlchemy address."""
    folder = binaries()
    if folder is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("PostgreSQL is not installed")
    home = Path(tempfile.mkdtemp(prefix="seaway-postgres-"))
    prefix: list[str] = []
    if os.geteuid() == 0:
        prefix = ["runuser", "-u", "postgres", "--"]
        shutil.chown(home, "postgres")
    data, port = home / "data", free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
    _run(*prefix, folder / "initdb", "-D", data, "-U", "seaway", "--auth=trust", "--no-sync")
    try:
        _run(*prefix, folder / "pg_ctl", "-D", data, "-l", home / "log", "-o", options, "-w", "start")
        try:
            _run(*prefix, folder / "createdb", "-h", "127.0.0.1", "-p", port, "-U", "seaway", "seaway")
            yield f"postgresql+psycopg://seaway@127.0.0.1:{port}/seaway"
        finally:
            _run(*prefix, folder / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres() as url:
        yield url


def _run(*command: object) -> None:
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd="/", check=False, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr
