"""MLflow as Seaway runs it, as a real process on a free port, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet

from configs.settings import Settings
from registry.server import SERVICE_USER
from tests.ports import free_port

PASSWORD = "correct-horse-battery"


@dataclass(frozen=True)
class Server:
    url: str
    settings: Settings
    pid: int
    seconds: float
    """From start to the first healthy answer."""


@contextmanager
def mlflow_server(home: Path, **changes) -> Iterator[Server]:
    """Start a server with a home of its own; stop it at the end by its own process id."""
    settings = Settings(home=home, **changes)
    settings.save()
    write_secrets(home)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "registry.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environ |= {"SEAWAY_HOME": str(home), "PYTHONPATH": str(Path(__file__).parent.parent)}
    began = time.monotonic()
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            wait(lambda: healthy(url, process), 90, lambda: (home / "log").read_text()[-3000:])
            yield Server(url, settings, process.pid, time.monotonic() - began)
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory) -> Iterator[Server]:
    """Without authentication, on SQLite."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def guarded(tmp_path_factory) -> Iterator[Server]:
    """With authentication; `alice` and `bob` may edit, `ci` too."""
    with mlflow_server(tmp_path_factory.mktemp("guarded"), auth=True) as server:
        admin = httpx.Client(base_url=server.url, auth=(SERVICE_USER, PASSWORD), timeout=30)
        with admin:
            for user in ("alice", "bob", "ci"):
                body = {"username": user, "password": f"{user}-{PASSWORD}"}
                admin.post("/api/2.0/mlflow/users/create", json=body).raise_for_status()
        yield server


def write_secrets(home: Path) -> None:
    folder = home / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "webhook_key").exists():
        (folder / "webhook_key").write_text(Fernet.generate_key().decode())
    (folder / "mlflow_admin").write_text(PASSWORD)
    (folder / "mlflow_flask").write_text("flask-secret-of-a-test")


def wait(met: Callable[[], bool], seconds: float, explain: Callable[[], str] = str) -> None:
    """Until a condition holds, or the deadline passes."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, f"not met within {seconds} s: {explain()}"
        time.sleep(0.05)


def healthy(url: str, process: subprocess.Popen) -> bool:
    assert process.poll() is None, "the server ended by itself"
    try:
        return httpx.get(f"{url}/health", timeout=2).is_success
    except httpx.TransportError:
        return False
