"""Captures of gunicorn's workers: each writes its own, and what is left when it is asked to end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from serving.capture import read_captures
from tests.multiplier import multiplier
from tests.ports import free_port
from tests.processes import until

SBIN = "/usr/sbin"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{SBIN}") and not os.environ.get("CI"),
        reason="nginx is not installed (apt-get install nginx-light)",
    ),
]
ROOT = Path(__file__).parents[2]
ALWAYS = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@contextmanager
def served(place: Path, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """Two workers of gunicorn behind nginx, which write nothing before they end."""
    multiplier(place / "model", 2.0)
    port = free_port()
    settings = {"destination": str(place / "captures"), "rotate_seconds": 3600, "flush_seconds": 3600}
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:{SBIN}",
        "SAGEMAKER_USE_NGINX": "true",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SEAWAY_CAPTURE": json.dumps(settings),
        "SEAWAY_ENDPOINT": "late",
        "SEAWAY_VARIANT": "blue",
        "SAGEMAKER_BASE_DIR": str(place),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "2",
        **variables,
    }
    command = [ROOT / "serving" / "serve", "--host", "127.0.0.1"]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=place)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        try:
            until(lambda: process.poll() is not None or _pings(client))
            assert process.poll() is None, (place / "log").read_text()
            yield process, client
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(30)


def _pings(client: httpx.Client) -> bool:
    try:
        return client.get("/ping").status_code == 200
    except httpx.HTTPError:
        return False


def test_every_worker_writes_what_it_holds_when_it_ends(tmp_path: Path) -> None:
    with served(tmp_path) as (process, client):

        def ask(number: int) -> int:
            headers = {"x-amzn-requestid": f"event-{number}"}
            body = {"instances": [{"x": float(number)}]}
            return client.post("/invocations", json=body, headers=headers).status_code

        with ThreadPoolExecutor(8) as clients:
            assert set(clients.map(ask, range(200))) == {200}
        assert client.post("/invocations", json={"instances": [{}]}).status_code == 400
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (tmp_path / "log").read_text()
    found = {one["eventMetadata"]["eventId"]: one for one in read_captures(tmp_path / "captures", *ALWAYS)}
    assert set(found) == {f"event-{number}" for number in range(200)}
    data = found["event-7"]["captureData"]
    assert json.loads(data["endpointInput"]["data"]) == {"instances": [{"x": 7.0}]}
    assert json.loads(data["endpointOutput"]["data"]) == {"predictions": [{"score": 14.0}]}
    assert len(list((tmp_path / "captures").rglob("*.jsonl"))) == 2, "both workers had a share"
