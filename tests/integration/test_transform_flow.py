"""Batch transform as people start it: the command, the worker's flow, a registered model; killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from configs.settings import Settings
from deploy.supervise import Supervisor
from flows.wiring import Wiring
from registry.port import Candidate
from registry.tracking import RunReport, log_run
from seaway.platform import Platform
from steps.pack import pack
from tests.ports import free_ports
from tests.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(240)]
OBJECTS = 30


@pytest.fixture(scope="module")
def wiring(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        platform = Platform(Settings(home=home, ports=free_ports()), only=("prefect", "mlflow", "worker"))
        platform.up()
    wiring = Wiring(platform.settings)
    register(wiring, tmp_path_factory.mktemp("model"))
    yield wiring
    wiring.registry.close()
    wiring.trigger.close()
    Supervisor(home).shutdown()


def register(wiring: Wiring, folder: Path) -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(200, 2)), columns=["a", "b"])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, frame.a > 0)
    made = pack(
        model,
        frame,
        name="m",
        task="binary",
        features=("a", "b"),
        trained_on=frame,
        folder=folder,
        tolerance=1e-4,
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    report = RunReport("m", "build", now, now, artifacts={"package/model.tar.gz": made.archive})
    run = log_run(wiring.settings.url("mlflow"), report)
    wiring.registry.register(Candidate("m", run, {"digest": made.digest}))


def command(wiring: Wiring, folder: Path, *options: str) -> tuple[int, Any, str]:
    arguments = [
        sys.executable,
        "-m",
        "seaway.cli",
        "transform",
        "m",
        "1",
        "--input",
        "in",
        "--output",
        "out",
    ]
    arguments += [
        "--split-type",
        "Line",
        "--assemble-with",
        "Line",
        "--accept",
        "text/csv",
        "--json",
        *options,
    ]
    environ = {
        **os.environ,
        "SEAWAY_HOME": str(wiring.settings.home),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(arguments, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def holder(lock: Path) -> int:
    """The process that holds the job."""
    inode = str(lock.stat().st_ino)
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return next((int(line[4]) for line in lines if line[5].endswith(f":{inode}")), 0)


def test_a_killed_flow_goes_on_where_it_was(wiring: Wiring, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(OBJECTS):
        rows = "".join(f"{number}-{row},{row - 50},{number}\n" for row in range(100))
        (tmp_path / "in" / f"{number:02}.csv").write_text(rows)
    options = (
        "--name",
        "nightly",
        "--strategy",
        "SingleRecord",
        "--input-filter",
        "$[1:]",
        "--join",
        "Input",
    )
    options += ("--output-filter", "$[0,-2]")
    code, found, _ = command(wiring, tmp_path, *options, "--wait")
    assert code == 1
    assert "not Approved; approve it, or pass --any-status" in found["message"]

    code, begun, _ = command(wiring, tmp_path, *options, "--any-status")
    assert code == 0
    folder = wiring.settings.home / "transforms" / "nightly"
    book = folder / "journal.jsonl"
    until(lambda: book.exists() and book.read_bytes().count(b"\n") >= 3)
    os.kill(holder(folder / "lock"), signal.SIGKILL)
    state = until(lambda: (state := wiring.trigger.state(begun["run"])).final and state)
    assert state.type == "CRASHED"
    done = book.read_bytes().count(b"\n")
    assert 3 <= done < OBJECTS

    code, ended, _ = command(wiring, tmp_path, *options, "--any-status", "--workers", "2", "--wait")
    assert (code, ended["state"]) == (0, "COMPLETED"), ended
    assert ended["progress"]["records"] == OBJECTS * 100
    keys = [json.loads(line)["key"] for line in book.read_text().splitlines()]
    assert sorted(keys) == sorted(f"{number:02}.csv" for number in range(OBJECTS))
    lines = (tmp_path / "out" / "07.csv.out").read_text().splitlines()
    assert lines[0] == "7-0,False"
    assert lines[99] == "7-99,True"
    assert not list((tmp_path / "out").glob(".*"))


def test_what_makes_no_sense_is_refused_at_once(wiring: Wiring, tmp_path: Path) -> None:
    code, found, said = command(wiring, tmp_path, "--join", "Input", "--content-type", "application/json")
    assert (code, found) == (1, None)
    assert "needs ContentType and Accept to be the same" in " ".join(said.split())
