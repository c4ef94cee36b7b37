"""The same job by processes and by a Dask cluster: the same bytes."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serving import package
from steps.transform.errors import ServerFailed
from steps.transform.job import CSV, DataCaptureConfig, DataProcessing, Job, TransformInput, TransformOutput
from steps.transform.port import Finished, Model, Work
from steps.transform.processes import Processes
from steps.transform.run import transform
from steps.transform.storage import sources
from tests.processes import alive, descendants, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.timeout(300),  # a cluster of processes, beside two other files of tests
]
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
CONTAINER = Path(__file__).with_name("container.py")


@pytest.fixture(scope="module")
def cluster() -> Any:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        memory_limit=0,  # else workers pause and are restarted by what the machine has left
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(9):
        (folder / f"{n}.csv").write_bytes(
            b"".join(b"%d,%s\n" % (i, b"x" * (i % 7)) for i in range(100 * n + 1))
        )
    (folder / "bad.csv").write_bytes(b"1,refuse\n")
    return Job(
        "j",
        "m/1",
        TransformInput(str(folder), content_type=CSV, split_type="Line"),
        TransformOutput(str(tmp_path / "out"), CSV, "Line"),
        data_processing=DataProcessing(join_source="Input"),
        data_capture_config=DataCaptureConfig(str(tmp_path / "captured"), generate_inference_id=True),
    )


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "weights").write_text("1")
    digest = package.write(tmp_path / "content", tmp_path / "model.tar.gz")
    return Model(tmp_path / "model.tar.gz", digest, (str(CONTAINER), "{port}"))


def test_the_same_bytes(cluster: str, job: Job, model: Model, tmp_path: Path) -> None:
    from steps.transform.dask import Dask

    found = []
    for name, runner in (("processes", Processes(2)), ("dask", Dask(cluster))):
        ended = transform(job, model, runner, tmp_path / name, NOW)
        assert (ended.status, ended.progress.finished, ended.progress.failed) == ("Failed", 9, 1)
        assert ended.progress.records == 3609
        assert "I do not like this" in ended.failures[0].reason
        out = tmp_path / "out"
        found.append({file.name: file.read_bytes() for file in out.iterdir()})
        out.rename(tmp_path / f"out-{name}")
    assert len(found[0]) == 9
    assert found[0] == found[1]


def test_a_server_that_does_not_start_ends_the_job(
    cluster: str, job: Job, model: Model, tmp_path: Path
) -> None:
    from steps.transform.dask import Dask

    with pytest.raises(ServerFailed, match="the weights are missing"):
        broken = replace(job, environment=(("BROKEN", "1"),))
        transform(broken, model, Dask(cluster), tmp_path / "job", NOW)


def test_a_worker_that_is_killed_loses_nothing_and_doubles_nothing(
    cluster: str, model: Model, tmp_path: Path
) -> None:
    from steps.transform.dask import Dask

    job, keys = waiting_job(tmp_path), {f"{n}.csv" for n in range(6)}
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(transform, job, model, Dask(cluster), tmp_path / "dask", NOW)
        until(lambda: len(noted(tmp_path / "dask")) == 4)
        until(lambda: calls(tmp_path, "wait") == 2)  # each worker is in the middle of another object
        victim = worker_pids(cluster)[0]
        family = descendants(victim)
        assert len(family) >= 2, "the worker has a model server"
        before = inodes(tmp_path / "out", noted(tmp_path / "dask"))
        os.kill(victim, signal.SIGKILL)
        until(lambda: not any(alive(pid) for pid in (victim, *family)))
        until(lambda: calls(tmp_path, "wait") == 3)  # another worker has begun its object anew
        (tmp_path / "seen.go").touch()
        ended = ending.result(60)
    assert (ended.status, ended.progress.finished, ended.progress.failed) == ("Completed", 6, 0)
    assert (ended.progress.records, ended.progress.read) == (6 * 40, ended.progress.bytes)
    assert sorted(noted(tmp_path / "dask")) == sorted(keys)
    assert inodes(tmp_path / "out", list(before)) == before, "what was finished is not done again"
    found = results(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "out-dask")
    alone = transform(job, model, Processes(1), tmp_path / "alone", NOW)
    assert alone.status == "Completed"
    assert found == results(tmp_path / "out")
    assert set(found) == {f"{key}.out" for key in keys}
    until(lambda: len(worker_pids(cluster)) == 2)


def test_a_job_that_is_given_up_waits_for_no_model(cluster: str, model: Model, tmp_path: Path) -> None:
    from steps.transform.dask import Dask

    job = waiting_job(tmp_path)
    before = below(cluster)
    work = Work(job, model, job.digest(model.digest), NOW, tmp_path / "job")
    waiting_last = sorted(sources(job), key=lambda one: one.key in {"2.csv", "3.csv"})
    with closing(Dask(cluster).run(work, waiting_last)) as events:
        ended = [next(events) for _ in range(8)]
        until(lambda: calls(tmp_path, "wait") == 2)
    assert sum(isinstance(event, Finished) for event in ended) == 4
    until(lambda: below(cluster) <= before)  # what an earlier test left may end meanwhile
    until(lambda: set(results(tmp_path / "out")) == {f"{n}.csv.out" for n in (0, 1, 4, 5)})


def below(cluster: str) -> set[int]:
    """Processes that the cluster's workers have started."""
    return {pid for worker in worker_pids(cluster) for pid in descendants(worker)}


def waiting_job(folder: Path) -> Job:
    """Six objects of forty records, one call each; in the middle of two of them the model waits."""
    (folder / "in").mkdir()
    for n in range(6):
        rows = [b"%d,%s" % (n, b"x" * (i % 7)) for i in range(40)]
        if n in {2, 3}:
            rows[20] = b"wait"
        (folder / "in" / f"{n}.csv").write_bytes(b"\n".join(rows))
    return Job(
        "killed",
        "m/1",
        TransformInput(str(folder / "in"), content_type=CSV, split_type="Line"),
        TransformOutput(str(folder / "out"), CSV, "Line"),
        batch_strategy="SingleRecord",
        environment=(("SEEN", str(folder / "seen")),),
        data_processing=DataProcessing(join_source="Input"),
        data_capture_config=DataCaptureConfig(str(folder / "captured"), generate_inference_id=True),
    )


def calls(folder: Path, begins: str) -> int:
    seen = folder / "seen"
    lines = seen.read_text().splitlines() if seen.exists() else []
    return sum(json.loads(line)["begins"] == begins for line in lines)


def noted(folder: Path) -> list[str]:
    """Keys of the finished objects in a job's journal."""
    journal = folder / "journal.jsonl"
    return [json.loads(line)["key"] for line in journal.read_text().splitlines()] if journal.exists() else []


def inodes(folder: Path, keys: list[str]) -> dict[str, int]:
    return {key: (folder / f"{key}.out").stat().st_ino for key in keys}


def worker_pids(address: str) -> list[int]:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        return sorted(client.run(os.getpid).values())


def results(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}
