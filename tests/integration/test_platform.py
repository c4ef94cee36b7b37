"""The whole platform: up, down, status and logs, with every real program."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from configs.settings import Settings
from deploy.supervise import Program, Supervisor
from flows.trigger import Trigger
from seaway.platform import Platform, PlatformError
from seaway.programs import PORTS_OF
from tests.ports import free_ports
from tests.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
MODEL = (sys.executable, "-S", "-c", "import signal; signal.pause()")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose wanted ports are free, but for the first one."""
    home = tmp_path_factory.mktemp("platform") / "a home"
    ports = free_ports()
    with socket.create_server(("127.0.0.1", next(iter(ports.values())))):
        Settings(home=home, ports=ports).save()
        yield home
    Supervisor(home).shutdown()


@pytest.fixture(scope="module")
def seaway(home):
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "SEAWAY_HOME": str(home),
        "SEAWAY_CATALOG": "tests.integration.sample_flows",
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
    }

    def run(*arguments):
        command = [sys.executable, "-m", "seaway.cli", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def services(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


def test_up_work_down_and_up_again(seaway, home, tmp_path):
    wanted = Settings.load({"SEAWAY_HOME": str(home)}).ports
    first = services(seaway("up", "--json"))
    assert set(first) == set(PORTS_OF)
    assert all(service["healthy"] for service in first.values())
    settings = Settings.load({"SEAWAY_HOME": str(home)})
    assert settings.ports["gateway"] != wanted["gateway"]
    assert {**settings.ports, "gateway": 0} == {**wanted, "gateway": 0}
    assert httpx.get(settings.url("gateway") + "/endpoints/none/invocations").status_code in {400, 404, 405}

    again = services(seaway("up", "--json"))
    assert {name: service["pid"] for name, service in again.items()} == {
        name: service["pid"] for name, service in first.items()
    }
    memory = sum(service["memory"] for service in again.values())
    assert memory < 800 * 2**20, f"{memory / 2**20:.0f} MiB"

    supervisor = Supervisor(home)
    supervisor.apply(Program("model.v1.1", MODEL, home, home / "logs" / "models" / "model.v1.1.log"))
    file = tmp_path / "endless.txt"
    with Trigger(settings.url("prefect") + "/api") as trigger:
        endless = trigger.create("endless/endless", {"file": str(file)}, "endless")
        until(file.exists)
        stopped = seaway("down", "--timeout", "1")
    assert stopped.returncode == 0, stopped.stderr
    steps = [line.split(":")[0] for line in stopped.stderr.splitlines() if line.endswith(": stopped")]
    assert steps == [
        "worker",
        "controller",
        "async",
        "mlflow",
        "prefect",
        "envoy-1",
        "envoy-2",
        "model servers",
    ]
    assert "is cancelled" in stopped.stderr
    assert not supervisor.running()
    assert seaway("status").returncode == 1

    services(seaway("up", "--json"))
    shown = seaway("status", "--json")
    assert json.loads(shown.stdout)["models"]["model.v1.1"]["state"] == "RUNNING"
    with Trigger(settings.url("prefect") + "/api") as trigger:
        assert trigger.state(endless).type == "CANCELLED"
    assert file.with_suffix(".cancelled").exists()


def test_a_killed_service_comes_back_and_the_rest_stays(seaway):
    before = services(seaway("up", "--json"))
    os.kill(before["mlflow"]["pid"], signal.SIGKILL)
    until(
        lambda: (
            json.loads(seaway("status", "--json").stdout)["services"]["mlflow"]["pid"]
            != before["mlflow"]["pid"]
        )
    )
    after = services(seaway("up", "--json"))
    assert [name for name in after if after[name]["pid"] != before[name]["pid"]] == ["mlflow"]


def test_people_see_a_table_and_logs(seaway, home):
    services(seaway("up", "--json"))
    shown = seaway("up")
    assert shown.returncode == 0
    assert re.search(r"prefect +│ healthy │ http://127\.0\.0\.1:\d+", shown.stdout)
    assert "worker: ready after" in shown.stderr
    lines = seaway("logs", "worker", "--lines", "3").stdout.splitlines()
    assert 1 <= len(lines) <= 3
    assert "worker | " in seaway("logs").stdout
    unknown = seaway("logs", "nothing")
    assert unknown.returncode == 1
    assert "there is no log of 'nothing'" in unknown.stderr


def test_purging_asks_and_then_removes_everything(seaway, home):
    services(seaway("up", "--json"))
    refused = seaway("down", "--purge")
    assert refused.returncode == 1
    assert Supervisor(home).running()
    assert seaway("down", "--purge", "--yes").returncode == 0
    assert not home.exists()


def test_a_program_that_fails_is_named_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setenv("SEAWAY_CATALOG", "no_such_module")
    platform = Platform(Settings(home=tmp_path), only=("worker",))
    try:
        with pytest.raises(
            PlatformError, match=r"(?s)worker does not start .*No module named 'no_such_module'"
        ):
            platform.up(timeout=100)
    finally:
        Supervisor(tmp_path).shutdown()
