"""The warm worker against a real Prefect server, both under a real supervisord."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from configs.settings import Settings
from deploy.supervise import Supervisor
from flows.trigger import Trigger, TriggerRefused
from seaway.platform import Platform
from tests.ports import free_ports
from tests.processes import alive, until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEAWAY_CATALOG", "tests.integration.sample_flows")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        platform = Platform(Settings(home=home, ports=free_ports()), only=("prefect", "worker"))
        platform.up()
    yield platform
    Supervisor(home).shutdown()


@pytest.fixture(scope="module")
def supervisor(platform):
    return Supervisor(platform.settings.home)


@pytest.fixture
def trigger(platform):
    platform.up()
    with Trigger(f"{platform.settings.url('prefect')}/api") as trigger:
        yield trigger


@pytest.fixture
def start(trigger, tmp_path):
    """Starts a sample flow; gives its run's id and the file its body writes."""

    def begin(flow):
        file = tmp_path / f"{flow}.txt"
        return trigger.create(f"{flow}/{flow}", {"file": str(file)}, f"{tmp_path}/{flow}"), file

    return begin


def final(trigger, run):
    return until(lambda: (state := trigger.state(run)).final and state, 110)


def written(file):
    return until(lambda: file.exists() and file.read_text())


def pid_in(file):
    return int(written(file).split()[-1])


def test_a_run_begins_soon_ends_and_its_log_is_kept(trigger, start, tmp_path):
    begun = time.time()
    run, file = start("stamp")
    assert float(written(file)) - begun < 8  # measured: about 1; a busy machine may need more
    assert final(trigger, run).type == "COMPLETED"
    lines = until(lambda: [line for line in trigger.logs(run) if line.message == f"stamped {file}"])
    assert lines[0].level == 20
    assert lines[0] not in trigger.logs(run, after=lines[0])
    assert trigger.create("stamp/stamp", {"file": str(file)}, f"{tmp_path}/stamp") == run


def test_a_killed_run_is_crashed_and_its_hook_runs(trigger, start):
    run, file = start("suicide")
    state = final(trigger, run)
    assert state.type == "CRASHED"
    assert "-9" in state.message
    assert "-9" in written(file.with_suffix(".crashed"))


def test_cancelling_ends_the_process_and_runs_the_hook(trigger, start):
    run, file = start("endless")
    pid = pid_in(file)
    trigger.cancel(run)
    trigger.cancel(run)
    assert final(trigger, run).type == "CANCELLED"
    assert written(file.with_suffix(".cancelled"))
    until(lambda: not alive(pid))
    assert not file.with_suffix(".crashed").exists()


def test_a_killed_worker_takes_its_runs_along_and_its_successor_reports_them(trigger, start, supervisor):
    run, file = start("endless")
    pid = pid_in(file)
    worker = supervisor.states()["worker"].pid
    os.kill(worker, signal.SIGKILL)
    until(lambda: not alive(pid))
    state = final(trigger, run)
    assert state.type == "CRASHED"
    assert "worker that ran this was killed" in state.message
    assert written(file.with_suffix(".crashed"))
    assert supervisor.states()["worker"].pid != worker


def test_a_stopped_worker_lets_its_runs_report_themselves(trigger, start, supervisor):
    run, file = start("endless")
    pid = pid_in(file)
    supervisor.stop("worker")
    assert not alive(pid)
    assert trigger.state(run).type == "CRASHED"
    assert file.with_suffix(".crashed").exists()


def test_a_suspended_run_goes_on_in_a_new_process(trigger, start):
    run, file = start("gate")
    first = pid_in(file)
    until(lambda: trigger.state(run).type == "PAUSED")
    until(lambda: not alive(first))
    trigger.resume(run)
    assert final(trigger, run).type == "COMPLETED"
    assert int(written(file.with_suffix(".resumed"))) == pid_in(file) != first
    with pytest.raises(TriggerRefused, match="cannot be resumed"):
        trigger.resume(run)


def test_runs_and_worker_survive_the_death_of_the_server(trigger, start, supervisor, platform):
    run, file = start("endless")
    pid = pid_in(file)
    worker = supervisor.states()["worker"].pid
    os.kill(supervisor.states()["prefect"].pid, signal.SIGKILL)
    until(lambda: not {health.name: health for health in platform.status()}["prefect"].healthy)
    platform.up()
    assert alive(pid)
    assert supervisor.states()["worker"].pid == worker
    trigger.cancel(run)
    assert final(trigger, run).type == "CANCELLED"
    until(lambda: not alive(pid))


def test_a_run_can_be_cancelled_after_prefects_own_watch_has_given_up(trigger, start, supervisor, platform):
    run, file = start("endless")
    pid = pid_in(file)
    log = platform.settings.home / "logs" / "worker.log"
    before = log.stat().st_size
    supervisor.stop("prefect")
    until(lambda: "cancellation will fail" in log.read_bytes()[before:].decode(errors="replace"), 110)
    platform.up()
    trigger.cancel(run)
    assert final(trigger, run).type == "CANCELLED"
    assert written(file.with_suffix(".cancelled"))
    until(lambda: not alive(pid))


def test_wrong_parameters_and_names_are_refused(trigger):
    with pytest.raises(TriggerRefused, match="409"):
        trigger.create("stamp/stamp", {"file": 1}, "wrong-type")
    with pytest.raises(TriggerRefused, match="404"):
        trigger.create("no/such", {}, "x")
