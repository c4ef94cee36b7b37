"""A real supervisord."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from deploy.supervise import Program, ProgramRefused, Supervisor, SupervisorUnavailable
from tests.processes import alive, until

pytestmark = pytest.mark.integration

SLEEP = (sys.executable, "-S", "-c", "import signal; signal.pause()")


@pytest.fixture
def home(tmp_path):
    return tmp_path


@pytest.fixture
def supervisor(home):
    supervisor = Supervisor(home)
    yield supervisor
    supervisor.shutdown()


def program(home, name="web", command=SLEEP, **changes):
    return Program(name, command, home, home / "logs" / f"{name}.log", **{"start_seconds": 0, **changes})


def pid_of(supervisor, name="web"):
    """Of the running command, after the tether became it."""

    def there():
        state = supervisor.states().get(name)
        if state and state.state == "RUNNING" and state.pid:
            command = Path(f"/proc/{state.pid}/cmdline").read_bytes()
            return b"tether.py" not in command and b"pause" in command and state.pid
        return False

    return until(there)


def test_applying_twice_keeps_the_process_and_a_change_restarts_it(home, supervisor):
    supervisor.launch()
    supervisor.launch()
    supervisor.apply(program(home))
    first = pid_of(supervisor)
    supervisor.apply(program(home))
    assert pid_of(supervisor) == first
    supervisor.apply(program(home, environment={"A": 'it\'s "1" ;#%'}))
    second = pid_of(supervisor)
    assert second != first
    assert b'A=it\'s "1" ;#%\0' in Path(f"/proc/{second}/environ").read_bytes()
    supervisor.remove("web")
    supervisor.remove("web")
    assert supervisor.states() == {}
    assert not alive(second)


def test_programs_come_back_by_themselves(home, supervisor):
    supervisor.apply(program(home))
    assert supervisor.states() == {}
    assert not supervisor.running()
    supervisor.launch()
    pid = pid_of(supervisor)
    supervisor.shutdown()
    assert not alive(pid)
    supervisor.launch()
    assert pid_of(supervisor) != pid


def test_killing_supervisord_takes_the_children_along_and_launch_recovers(home, supervisor):
    supervisor.apply(program(home))
    supervisor.launch()
    pid = pid_of(supervisor)
    supervisor.apply(program(home, "young"))
    young = supervisor.states()["young"].pid
    os.kill(supervisor.pid(), signal.SIGKILL)
    until(lambda: not alive(pid) and not alive(young))
    assert not supervisor.running()
    supervisor.launch()
    assert pid_of(supervisor) != pid


def test_a_child_has_default_signals_and_no_open_files_of_others(home, supervisor):
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        supervisor.launch()
    finally:
        signal.signal(signal.SIGINT, former)
    supervisor.apply(program(home))
    pid = pid_of(supervisor)
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = int(status.split("SigIgn:")[1].split()[0], 16)
    assert not ignored & (1 << (signal.SIGINT - 1))

    def opened():
        return {file.name for file in Path(f"/proc/{pid}/fd").iterdir()}

    until(lambda: opened() == {"0", "1", "2"})  # what it imports may be open for a moment
    supervisor.stop("web")
    state = supervisor.states()["web"]
    assert (state.state, state.pid) == ("STOPPED", 0)
    assert abs(state.since - time.time()) < 30
    supervisor.start("web")
    supervisor.start("web")
    assert pid_of(supervisor)


def test_a_program_that_cannot_start_says_why(home, supervisor):
    supervisor.launch()
    supervisor.apply(program(home, command=("/nonexistent/x",), start_seconds=1, start_retries=0))
    state = until(lambda: (s := supervisor.states()["web"]).state == "FATAL" and s)
    assert "Exited too quickly" in state.message
    assert "cannot run /nonexistent/x: No such file" in (home / "logs" / "web.log").read_text()
    with pytest.raises(ProgramRefused, match="BAD_NAME"):
        supervisor.start("nothing")
    supervisor.stop("nothing")


def test_two_at_once(home, supervisor):
    """Racing launches start one supervisord, racing applies add every program."""
    errors = []

    def work(number):
        try:
            mine = Supervisor(home)
            mine.launch()
            for name in ("shared", f"own{number}"):
                mine.apply(program(home, name))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(supervisor.states()) == ["own0", "own1", "own2", "own3", "shared"]


def test_a_deep_home_gets_a_short_socket_in_a_private_folder(tmp_path):
    home = tmp_path / ("d" * 90) / "e f%"
    supervisor = Supervisor(home)
    supervisor.launch()
    try:
        place = supervisor._socket.parent
        assert place != home / "supervisor"
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        supervisor.apply(program(home))
        assert pid_of(supervisor)
    finally:
        supervisor.shutdown()


def test_secrets_are_readable_by_the_owner_alone(home, supervisor):
    supervisor.apply(program(home, environment={"PASSWORD": "x"}))
    file = home / "supervisor" / "programs" / "web.conf"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_calls_without_supervisord_say_what_to_do(supervisor):
    with pytest.raises(SupervisorUnavailable, match="seaway up"):
        supervisor.start("web")
