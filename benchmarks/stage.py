"""The flights model, built once, and real processes to serve it: model servers, Envoy."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.envoy import ConfigFolder, EnvoyAdmin, command
from deploy.errors import GatewayUnreachable
from deploy.gateway import bootstrap
from deploy.port import Fleet, Share

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "examples" / "flights" / "project.yaml"
ENDPOINT = "late-arrivals"


@dataclass(frozen=True, slots=True)
class Built:
    """One build of the flights project."""

    package: Path
    """Folder of the unpacked package."""
    trained: Path
    """Folder with the scikit-learn model."""
    row: dict[str, Any]
    """A flight without missing values."""


def build(folder: Path) -> Built:
    from flows.making import Making

    making = Making.of(PROJECT, folder / "runs")
    processed = making.process()
    trained = making.train(processed)
    packed = making.package(processed, trained)
    package = folder / "package"
    with tarfile.open(packed.folder / "model.tar.gz") as archive:
        archive.extractall(package, filter="data")
    row = making.project.staging.tests.cases[0].body["instances"][0]
    return Built(package, trained.folder, dict(row))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_true(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} is not ready after {seconds:g} s; run it by hand and read its log")
        time.sleep(0.05)


@contextlib.contextmanager
def running(arguments: tuple[str, ...], log: Path, environ: Mapping[str, str] | None = None) -> Iterator[int]:
    """A process in a session of its own, ended with its children."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, **(environ or {})},
        )
    try:
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def pings(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=2) as answer:  # noqa: S310 (our own address)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def post(url: str, body: bytes) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (our own address)
        return json.loads(answer.read())


@contextlib.contextmanager
def model_server(package: Path, log: Path) -> Iterator[int]:
    """`python -m serving` on a free port, which is yielded."""
    port = free_port()
    with running((sys.executable, "-m", "serving", "--package", str(package), "--port", str(port)), log):
        await_true(lambda: pings(f"http://127.0.0.1:{port}"), "the model server")
        yield port


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running Envoy with the platform's configuration."""

    url: str
    folder: ConfigFolder
    admin: EnvoyAdmin

    @property
    def invocations(self) -> str:
        return f"{self.url}/endpoints/{ENDPOINT}/invocations"

    def serve(self, fleets: Mapping[Fleet, list[int]]) -> None:
        """Make fleets known; all traffic goes to the first."""
        for fleet, ports in fleets.items():
            self.folder.write_instances(fleet.id, ports)
        self.folder.write_clusters(fleets)
        first = next(iter(fleets))
        version = self.folder.write_routes({ENDPOINT: (Share(first.id, first.variant, 100),)})
        for fleet, ports in fleets.items():
            self._await_healthy(fleet.id, len(ports))
        await_true(lambda: self.admin.applied_routes() == version, "the gateway's routes")

    def _await_healthy(self, fleet: str, instances: int) -> None:
        await_true(lambda: self.admin.healthy(fleet) == instances, fleet)


@contextlib.contextmanager
def gateway(home: Path, concurrency: int = 1) -> Iterator[Gateway]:
    folder, port, admin_port = ConfigFolder(home / "gateway"), free_port(), free_port()
    folder.prepare()
    configuration = folder.path / "bootstrap.json"
    content = bootstrap(
        admin_host="127.0.0.1",
        admin_port=admin_port,
        host="127.0.0.1",
        port=port,
        folder=folder.path,
        node="benchmark",
    )
    configuration.write_text(json.dumps(content))
    executable = shutil.which("envoy", path=str(Path(sys.executable).parent))
    if not executable:
        raise SystemExit("envoy is not beside the Python executable; run `make setup`")
    arguments = command(executable, configuration, concurrency=concurrency)
    with (
        running(arguments, home / "envoy.log"),
        EnvoyAdmin(f"http://127.0.0.1:{admin_port}") as admin,
    ):
        await_true(lambda: _answers(admin), "Envoy")
        yield Gateway(f"http://127.0.0.1:{port}", folder, admin)


def fleet(variant: str) -> Fleet:
    return Fleet(ENDPOINT, variant, variant.encode().hex().ljust(64, "0"), Path("model.tar.gz"), 1)


def _answers(admin: EnvoyAdmin) -> bool:
    try:
        admin.applied_routes()
    except GatewayUnreachable:
        return False
    return True
