"""Serverless inference with real processes: a compiled model, and a script that behaves as its request says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving import package
from tests.multiplier import multiplier
from tests.ports import free_port
from tests.processes import alive, until

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, time
from pathlib import Path

def model_fn(model_dir):
    if Path(model_dir, "broken").exists():
        raise RuntimeError("no model today")
    return None

def transform_fn(model, body, content_type, accept, context):
    act, _, value = body.decode().partition(" ")
    if act == "lie":
        context.set_response_status(503)
        for name in ("x-seaway-throttled", "x-amzn-ErrorType", "x-mine"):
            context.set_response_header(0, name, "ThrottlingException")
    elif act == "wait":
        Path(value + "." + str(os.getpid())).touch()
        while not Path(value).exists():
            time.sleep(0.005)
    elif act == "eat":
        kept = []
        while True:
            kept.append(bytearray(os.urandom(1 << 20)) * 4)
    elif act == "gulp":
        bytearray(1 << 40)
    elif act == "long":
        return "x" * int(value), "text/plain"
    elif act == "place":
        return f"{len(os.sched_getaffinity(0))} {os.nice(0)} {os.environ['OMP_NUM_THREADS']}", "text/plain"
    elif act == "fork":
        Path(value).write_text(str(os.fork() or time.sleep(1000)))
        time.sleep(1000)
    return str(os.getpid()), "text/plain"
"""


@dataclass
class Endpoint:
    process: subprocess.Popen[bytes]
    port: int

    def ask(self, body: str = "", path: str = "/invocations") -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.post(url, content=body, headers={"content-type": "text/plain"}, timeout=60)

    def metrics(self) -> dict[str, float]:
        lines = httpx.get(f"http://127.0.0.1:{self.port}/metrics").text.splitlines()
        return {
            line.partition(" ")[0]: float(line.partition(" ")[2])
            for line in lines
            if not line.startswith("#")
        }

    def servers(self) -> list[int]:
        """Process ids of the model servers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def until_warm(self, number: int) -> None:
        until(lambda: self.metrics()["Starts_total"] >= number)


@contextlib.contextmanager
def serverless(folder: Path, environ: dict[str, str] | None = None, **asked: Any) -> Iterator[Endpoint]:
    port = free_port()
    settings = {"memory_size_in_mb": 1024, "max_concurrency": 2, "idle_seconds": 600, **asked}
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "--package", str(folder), "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "SEAWAY_SERVERLESS": json.dumps(settings), **(environ or {})},
    )
    try:
        with httpx.Client() as client:

            def up() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return client.get(f"http://127.0.0.1:{port}/ping").status_code == 200
                return False

            until(up)
        yield Endpoint(process, port)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    archive, digest = multiplier(folder / "model", 3.0)
    return package.unpack(archive, folder / "unpacked", digest)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("script")
    (folder / "code").mkdir()
    (folder / "code" / "inference.py").write_text(SCRIPT)
    return folder


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def begun(gate: Path, number: int) -> list[int]:
    """Process ids of the model servers that wait at the gate, when there are so many."""
    found = until(lambda: len(those := list(gate.parent.glob(f"{gate.name}.*"))) == number and those)
    return [int(one.suffix[1:]) for one in found]


def test_a_compiled_model_starts_cold_ends_and_starts_again(compiled: Path) -> None:
    with serverless(compiled, idle_seconds=0.3) as endpoint:
        assert endpoint.servers() == []
        for round_number in (1, 2):
            answer = httpx.post(f"http://127.0.0.1:{endpoint.port}/invocations", json=[[2.0]], timeout=60)
            assert answer.json() == {"predictions": [{"score": 6.0}]}
            assert int(answer.headers["x-seaway-model-setup-time"]) > 10_000
            until(lambda: endpoint.servers() == [])
            until(lambda: endpoint.metrics()["ModelServers"] == 0)
            found = endpoint.metrics()
            assert (found["ColdStarts_total"], found["Invocations_total"]) == (round_number, round_number)
            assert found["ModelSetupTime_microseconds_count"] == round_number
            assert found["OverheadLatency_microseconds_max"] >= found["ModelSetupTime_microseconds_max"]
            assert found["ServerlessConcurrentExecutionsUtilization"] == 0


def test_what_needs_no_model_starts_none(compiled: Path) -> None:
    with serverless(compiled, environ={"SEAWAY_ENDPOINT": "e", "SEAWAY_VARIANT": "v"}) as endpoint:
        base = f"http://127.0.0.1:{endpoint.port}"
        assert httpx.get(f"{base}/v2/health/live").json() == {"live": True}
        assert httpx.get(f"{base}/v2/health/ready").json() == {"ready": True}
        assert httpx.get(f"{base}/v2/models/m/ready").json() == {"name": "m", "ready": True}
        assert httpx.get(f"{base}/nothing").status_code == 404
        assert httpx.get(f"{base}/invocations").status_code == 405
        assert httpx.post(f"{base}/invocations", content=b" " * (4 * 1024 * 1024 + 1)).status_code == 413
        assert endpoint.servers() == []
        assert endpoint.metrics()['Invocations_total{endpoint="e",variant="v"}'] == 1
        assert httpx.get(f"{base}/v2/models/m", timeout=60).json()["name"] == "m"
        tensor = {"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [2.0]}
        infer = httpx.post(f"{base}/v2/models/m/infer", json={"inputs": [tensor]}, timeout=60)
        assert infer.status_code == 200
        refused = httpx.post(f"{base}/invocations", content=b"x", headers={"content-type": "image/png"})
        assert refused.status_code == 415


def test_more_than_the_most_are_refused(script: Path, tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    gate = tmp_path / "gate"
    with serverless(script, max_concurrency=2, provisioned_concurrency=1) as endpoint:
        endpoint.until_warm(1)
        held = [threads.submit(endpoint.ask, f"wait {gate}") for _ in range(2)]
        begun(gate, 2)
        refused = endpoint.ask()
        assert (refused.status_code, list(refused.json())) == (429, ["message"])
        assert refused.headers["x-amzn-errortype"] == "ThrottlingException"
        assert refused.headers["x-seaway-throttled"] == "1"
        found = endpoint.metrics()
        assert found["ServerlessConcurrentExecutionsUtilization"] == 1
        assert found["ServerlessProvisionedConcurrencyUtilization"] == 1
        assert 0 < found["MemoryUtilization"] < 100
        gate.touch()
        answers = [one.result() for one in held]
        assert len({answer.text for answer in answers}) == 2
        found = endpoint.metrics()
        assert (found["Throttles_total"], found["Invocations_total"], found["ColdStarts_total"]) == (1, 2, 1)
        assert found["ServerlessProvisionedConcurrencyInvocations_total"] == 1
        assert found["ServerlessProvisionedConcurrencySpilloverInvocations_total"] == 1


def test_a_model_that_calls_itself_throttled_has_failed(script: Path) -> None:
    with serverless(script) as endpoint:
        answer = endpoint.ask("lie")
        assert (answer.status_code, answer.headers["x-mine"]) == (503, "ThrottlingException")
        assert "x-seaway-throttled" not in answer.headers
        assert "x-amzn-errortype" not in answer.headers
        assert endpoint.metrics()["Throttles_total"] == 0


def test_a_model_process_that_is_killed_takes_one_request_along(
    script: Path, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with serverless(script, max_concurrency=2) as endpoint:
        lost, kept = (
            threads.submit(endpoint.ask, f"wait {first}"),
            threads.submit(endpoint.ask, f"wait {second}"),
        )
        [pid], [other] = begun(first, 1), begun(second, 1)
        os.kill(pid, signal.SIGKILL)
        assert lost.result().status_code == 500
        assert "ended with code -9" in lost.result().json()["error"]
        assert not kept.done()
        again = endpoint.ask()
        assert again.status_code == 200
        assert int(again.text) not in {pid, other}
        second.touch()
        assert kept.result().text == str(other)
        os.kill(other, signal.SIGKILL)  # nobody notices the death of a server without a request
        os.kill(int(again.text), signal.SIGKILL)
        assert endpoint.ask().status_code == 200
        assert endpoint.metrics()["InvocationModelErrors_total"] == 1


def test_nothing_outlives_the_activator(script: Path, tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    gate = tmp_path / "gate"
    with serverless(script, max_concurrency=3, provisioned_concurrency=2) as endpoint:
        endpoint.until_warm(2)
        held = threads.submit(endpoint.ask, f"wait {gate}")
        begun(gate, 1)
        servers = endpoint.servers()
        assert len(servers) == 2
        endpoint.process.kill()
        endpoint.process.wait()
        until(lambda: not any(alive(pid) for pid in servers))
        assert held.exception() is not None


def test_memory_is_limited(script: Path) -> None:
    with serverless(script, memory_size_in_mb=256) as endpoint:
        too_much = endpoint.ask("eat")
        assert too_much.status_code == 500
        assert "more than 256 MB" in too_much.json()["error"]
        at_once = endpoint.ask("gulp")
        assert at_once.status_code == 500
        assert "MemoryError" in at_once.json()["error"]
        assert endpoint.ask().status_code == 200
        found = endpoint.metrics()
        assert (found["MemoryLimitKills_total"], found["InvocationModelErrors_total"]) == (1, 2)


def test_long_answers_and_slow_models_are_errors(script: Path, tmp_path: Path) -> None:
    with serverless(script, max_response_mb=0.5, invocation_seconds=0.5, max_concurrency=1) as endpoint:
        long = endpoint.ask(f"long {600 * 1024}")
        assert long.status_code == 500
        assert "longer than 0.5 MiB" in long.json()["error"]
        assert len(endpoint.ask(f"long {500 * 1024}").content) == 500 * 1024
        slow = endpoint.ask(f"wait {tmp_path / 'never'}")
        assert slow.status_code == 504
        assert endpoint.ask().status_code == 200  # by another process: that one still computes


def test_what_a_model_server_forked_ends_with_it(
    script: Path, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    with serverless(script) as endpoint:
        lost = threads.submit(endpoint.ask, f"fork {tmp_path / 'pid'}")
        forked = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
        os.kill(endpoint.servers()[0], signal.SIGKILL)
        assert lost.result().status_code == 500
        until(lambda: not alive(forked))


def test_a_model_that_does_not_load_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text(SCRIPT)
    (tmp_path / "broken").touch()
    with serverless(tmp_path) as endpoint:
        failed = endpoint.ask()
        assert failed.status_code == 503
        assert "does not start" in failed.json()["error"]
        assert endpoint.metrics()["StartFailures_total"] == 3
        (tmp_path / "broken").unlink()
        assert endpoint.ask().status_code == 200


def test_sigterm_answers_what_was_begun_then_ends_all(
    script: Path, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    gate = tmp_path / "gate"
    with serverless(script, max_concurrency=2, provisioned_concurrency=1) as endpoint:
        endpoint.until_warm(1)
        held = [threads.submit(endpoint.ask, f"wait {gate}")]
        begun(gate, 1)
        held.append(threads.submit(endpoint.ask, f"wait {gate}"))
        until(lambda: len(endpoint.servers()) == 2)
        servers = endpoint.servers()
        endpoint.process.terminate()
        begun(gate, 2)  # the second was held until its server was ready
        assert endpoint.process.poll() is None
        gate.touch()
        assert [one.result().status_code for one in held] == [200, 200]
        assert endpoint.process.wait(30) == 0
        assert not any(alive(pid) for pid in servers)


def test_processors_follow_the_memory(script: Path) -> None:
    there, nice = len(os.sched_getaffinity(0)), os.nice(0)
    for memory, wanted in ((1024, f"1 {nice + 2} 1"), (6144, f"{min(4, there)} {nice} 3")):
        with serverless(script, memory_size_in_mb=memory, max_concurrency=1) as endpoint:
            assert endpoint.ask("place").text == wanted


def test_limits_change_without_a_cold_start(
    script: Path, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    names = {"SEAWAY_ENDPOINT": "late", "SEAWAY_VARIANT": "v1"}
    gate, file, mark = tmp_path / "gate", tmp_path / "late.v1.json", '{endpoint="late",variant="v1"}'

    def change(most: int, kept: int) -> None:
        new = tmp_path / "new"
        new.write_text(json.dumps({"max_concurrency": most, "provisioned_concurrency": kept}))
        new.replace(file)
        until(lambda: endpoint.metrics()[f"MaxConcurrency{mark}"] == most)

    with serverless(script, environ=names, max_concurrency=1, changes=str(tmp_path)) as endpoint:
        held = [threads.submit(endpoint.ask, f"wait {gate}")]
        [first] = begun(gate, 1)
        assert endpoint.ask().status_code == 429
        change(3, 2)
        until(lambda: endpoint.metrics()[f"Starts_total{mark}"] == 2)
        held += [threads.submit(endpoint.ask, f"wait {gate}")]
        begun(gate, 2)
        assert endpoint.metrics()[f"ColdStarts_total{mark}"] == 0
        change(1, 1)
        assert endpoint.ask().status_code == 429
        gate.touch()
        assert [one.result().status_code for one in held] == [200, 200]
        until(lambda: endpoint.metrics()[f"ModelServers{mark}"] == 1)
        assert first in {int(one.result().text) for one in held}
        assert endpoint.metrics()[f"ColdStarts_total{mark}"] == 1  # the one that nobody had provisioned


def test_a_folder_of_many_models_or_stages_is_refused(tmp_path: Path) -> None:
    for name in ("pipeline.json", "models.json"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text("{}")
        ended = subprocess.run(
            [sys.executable, "-m", "serving", "--package", str(folder), "--port", "1"],
            cwd=ROOT,
            env={
                **os.environ,
                "SEAWAY_SERVERLESS": json.dumps({"memory_size_in_mb": 1024, "max_concurrency": 1}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 1
        assert "serves one model" in ended.stderr


def test_load_beyond_the_limit_gets_an_answer_each(script: Path) -> None:
    with serverless(script, max_concurrency=2, idle_seconds=0.05) as endpoint, ThreadPoolExecutor(8) as many:
        statuses = [one.status_code for one in many.map(lambda _: endpoint.ask(), range(30))]
        assert set(statuses) <= {200, 429}
        assert statuses.count(200) > 0
        found = endpoint.metrics()
        assert found["Invocations_total"] == statuses.count(200)
        assert found["Throttles_total"] == statuses.count(429)


def test_unusable_settings_end_it_at_once(compiled: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "serving", "--package", str(compiled), "--port", "1"],
        cwd=ROOT,
        env={**os.environ, "SEAWAY_SERVERLESS": '{"max_concurrency": 0}'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "max_concurrency in SEAWAY_SERVERLESS is 0" in ended.stderr


def test_the_activator_loads_nothing_of_a_model() -> None:
    program = "import sys, serving.serverless.activator; print({'numpy', 'onnxruntime'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
