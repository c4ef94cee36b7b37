"""Batch transform with real worker processes and real model servers."""

from __future__ import annotations

import gzip
import json
import os
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serving import package
from steps.transform import wire
from steps.transform.errors import JobRefused, ServerFailed
from steps.transform.job import (
    CSV,
    JSON,
    JSONLINES,
    DataCaptureConfig,
    DataProcessing,
    Job,
    ModelClientConfig,
    TransformInput,
    TransformOutput,
)
from steps.transform.journal import Progress, progress_in
from steps.transform.port import Model, Work
from steps.transform.processes import Processes
from steps.transform.run import Outcome, transform
from tests.processes import alive, descendants, until

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
CONTAINER = Path(__file__).with_name("container.py")
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("brought")
    (folder / "content").mkdir()
    (folder / "content" / "weights").write_text("1")
    digest = package.write(folder / "content", folder / "model.tar.gz")
    return Model(folder / "model.tar.gz", digest, (str(CONTAINER), "{port}"))


class Scene:
    """A job over a folder of its own."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder, self.model = folder, model

    def put(self, **objects: bytes) -> None:
        (self.folder / "in").mkdir(exist_ok=True)
        for name, content in objects.items():
            (self.folder / "in" / name).write_bytes(content)

    def job(self, media: str = CSV, split: str = "Line", assemble: str = "Line", **changes: Any) -> Job:
        made = Job(
            "j",
            "m/1",
            TransformInput(str(self.folder / "in"), content_type=media, split_type=split),
            TransformOutput(str(self.folder / "out"), media, assemble),
            model_client_config=ModelClientConfig(30, 1),
        )
        environment = {"SEEN": str(self.folder / "seen"), **changes.pop("environment", {})}
        return replace(made, environment=tuple(sorted(environment.items())), **changes)

    def run(self, job: Job, workers: int = 1, watch: Any = None) -> Outcome:
        return transform(job, self.model, Processes(workers), self.folder / "job", NOW, watch)

    @property
    def out(self) -> dict[str, bytes]:
        root = self.folder / "out"
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    @property
    def seen(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "seen").read_text().splitlines()]


@pytest.fixture
def scene(tmp_path: Path, model: Model) -> Scene:
    return Scene(tmp_path, model)


def test_order_is_kept_with_many_payloads_in_flight(scene: Scene) -> None:
    rows = [b"x" * (1 + n % 97) for n in range(30_000)]
    scene.put(a=b"\n".join(rows) + b"\n", b=b"\n".join(rows[:7]))
    told: list[Progress] = []
    ended = scene.run(scene.job(max_payload_in_mb=1, max_concurrent_transforms=4), 2, told.append)
    assert ended.status == "Completed"
    assert ended.progress.records == 30_007
    assert (
        ended.progress.read
        == ended.progress.bytes
        == sum(path.stat().st_size for path in (scene.folder / "in").iterdir())
    )
    assert scene.out["a.out"] == b"".join(b"%d\n" % len(row) for row in rows)
    assert scene.out["b.out"].count(b"\n") == 7
    assert len(scene.seen) == 3
    assert all(one["bytes"] <= 1 << 20 for one in scene.seen)
    assert [progress.status for progress in (told[0], told[-1])] == ["InProgress", "Completed"]
    assert progress_in(scene.folder / "job") == told[-1]


def test_one_record_at_a_time_and_what_the_server_offers(scene: Scene) -> None:
    scene.put(a=b"a\nbb\nccc\n")
    offered = {"PARAMETERS": '{"BatchStrategy": "SINGLE_RECORD", "MaxConcurrentTransforms": 3}'}
    scene.run(scene.job(environment=offered))
    assert scene.out == {"a.out": b"1\n2\n3\n"}
    assert sorted(one["begins"] for one in scene.seen) == ["a", "bb", "ccc"]
    assert {one["accept"] for one in scene.seen} == {CSV}


@pytest.mark.parametrize("limit", [1, 0])
def test_filters_and_join(scene: Scene, limit: int) -> None:
    rows = [b"id%d,%s,end" % (n, b"x" * (n % 5)) for n in range(5000)]
    scene.put(a=b"\r\n".join(rows))
    ended = scene.run(
        scene.job(data_processing=DataProcessing("$[1:]", "$[0,-1]", "Input"), max_payload_in_mb=limit)
    )
    assert ended.progress.records == 5000
    assert scene.out["a.out"] == b"".join(b"id%d,%d\n" % (n, n % 5 + 4) for n in range(5000))
    assert all(one["chunked"] is (limit == 0) for one in scene.seen)


@pytest.mark.parametrize("limit", [1, 0])
def test_json_objects_lines_and_gzip(scene: Scene, limit: int) -> None:
    scene.put(a=b'{"id": 1, "v": [1, 2, 3]}')
    processing = DataProcessing("$.v", "$['id','SageMakerOutput']", "Input")
    scene.run(scene.job(JSON, "None", "None", data_processing=processing, max_payload_in_mb=limit))
    assert scene.out == {"a.out": b'{"id":1,"SageMakerOutput":{"n":3}}'}
    (scene.folder / "in" / "a").unlink()
    scene.put(b=gzip.compress(b'{"v":[1]}\n[2]\n'))
    job = scene.job(JSONLINES, data_processing=DataProcessing(join_source="Input"), max_payload_in_mb=limit)
    job = replace(
        job, transform_job_name="k", transform_input=replace(job.transform_input, compression_type="Gzip")
    )
    transform(job, scene.model, Processes(), scene.folder / "job-k", NOW)
    assert (
        scene.out["b.out"]
        == b'{"v":[1],"SageMakerOutput":{"n":9}}\n{"SageMakerInput":[2],"SageMakerOutput":{"n":3}}\n'
    )


def test_frames_and_whole_objects(scene: Scene) -> None:
    frame = struct.pack("<II", 0xCED7230A, 4) + b"abcd"
    scene.put(a=frame * 3)
    scene.run(scene.job("application/x-recordio-protobuf", "RecordIO", "None", batch_strategy="SingleRecord"))
    assert scene.out == {"a.out": b"12 bytes" * 3}
    job = replace(scene.job("", "None", max_payload_in_mb=0), transform_job_name="k")
    transform(job, scene.model, Processes(), scene.folder / "job-k", NOW)
    assert scene.out == {"a.out": b"36 bytes\n"}
    assert scene.seen[-1]["chunked"]
    assert scene.seen[-1]["kind"] == ""


@pytest.mark.parametrize("limit", [1, 0])
def test_an_empty_object_has_an_empty_result(scene: Scene, limit: int) -> None:
    scene.put(a=b"", b=b"x\n")
    ended = scene.run(scene.job(max_payload_in_mb=limit))
    assert (ended.status, scene.out) == ("Completed", {"a.out": b"", "b.out": b"1\n"})
    assert len(scene.seen) == 1


def test_a_failing_object_leaves_nothing_and_the_others_go_on(scene: Scene) -> None:
    scene.put(
        a=b"good\n",
        b=b"good\nrefuse\n",
        c=b"fail\n",
        d=b"x" * ((1 << 20) + 1),
        e=b"once\n",
        f=b"crash\n",
        g=b"crash always\n",
    )
    ended = scene.run(scene.job(max_payload_in_mb=1, batch_strategy="SingleRecord"))
    assert ended.status == "Failed"
    assert set(scene.out) == {"a.out", "e.out", "f.out"}
    assert {one.key: one.reason for one in ended.failures} == {
        "b": "the model answered 400 (I do not like this) to record 2",
        "c": "the model answered 500 (broken inside) to record 1 (2 tries)",
        "d": "record 1 is longer than a payload may be (1 MiB); raise MaxPayloadInMB",
        "g": "the model server broke the connection (RemoteDisconnected) on the call to record 1 (2 tries)",
    }
    scene.put(b=b"good\n")
    again = scene.run(scene.job(max_payload_in_mb=1, batch_strategy="SingleRecord"))
    assert (again.skipped, again.progress.finished, len(again.failures)) == (3, 4, 3)


def test_the_version_s_own_variables_hold_where_the_job_says_nothing(scene: Scene) -> None:
    scene.put(a=b"x\n")
    broken = replace(scene.model, environment=(("BROKEN", "1"),))
    with pytest.raises(ServerFailed, match="the weights are missing"):
        transform(scene.job(), broken, Processes(), scene.folder / "broken", NOW)
    mended = scene.job(environment={"BROKEN": ""})
    assert not transform(mended, broken, Processes(), scene.folder / "mended", NOW).failures
    assert set(scene.out) == {"a.out"}


def test_a_model_that_hangs_is_given_up(scene: Scene) -> None:
    scene.put(a=b"wait\n", b=b"good\n")
    ended = scene.run(scene.job(model_client_config=ModelClientConfig(1, 0)))
    assert [one.reason for one in ended.failures] == ["the model did not answer within 1 s to record 1"]
    assert set(scene.out) == {"b.out"}


def test_jobs_that_cannot_begin(scene: Scene) -> None:
    scene.put(a=b"x\n")
    with pytest.raises(ServerFailed, match="the weights are missing"):
        scene.run(scene.job(environment={"BROKEN": "1"}), 2)
    with pytest.raises(JobRefused, match="another name"):
        scene.run(scene.job())
    with pytest.raises(JobRefused, match="execution-parameters"):
        job = scene.job(environment={"PARAMETERS": '{"BatchStrategy": "ALL"}'})
        transform(job, scene.model, Processes(), scene.folder / "other", NOW)
    assert scene.out == {}


def test_capture_manifests_and_ids(scene: Scene) -> None:
    scene.put(a=b"x\nyy\n")
    capture = DataCaptureConfig(str(scene.folder / "captured"), generate_inference_id=True)
    scene.run(scene.job(data_capture_config=capture))
    rows = [row.split(b",") for row in scene.out["a.out"].splitlines()]
    assert [(row[0], row[2]) for row in rows] == [
        (b"1", b"2026-11-23T04:00:00Z"),
        (b"2", b"2026-11-23T04:00:00Z"),
    ]
    written = json.loads((scene.folder / "captured" / "output/2026/11/23/04/j.json").read_text())
    assert written == [{"prefix": f"{scene.folder}/out/"}, "a.out"]


RUN = """
import signal, sys
from steps.transform import wire
from steps.transform.processes import Processes
from steps.transform.run import transform
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
work = wire.work_from_json(sys.stdin.readline())
transform(work.job, work.model, Processes(2), work.folder, work.at)
"""


def test_a_killed_job_is_resumed_and_leaves_no_process(scene: Scene) -> None:
    scene.put(a=b"one\n" * 9, b=b"two\n" * 3, c=b"wait\n", d=b"wait\n")
    job, book = scene.job(), scene.folder / "job" / "journal.jsonl"
    process = started(scene, job)
    until(lambda: book.exists() and len(book.read_bytes().splitlines()) == 2)
    until(lambda: sum(one["begins"] == "wait" for one in scene.seen) == 2)
    family = descendants(process.pid)
    assert len(family) >= 6
    inodes = {
        name: (scene.folder / "out" / name).stat().st_ino for name in scene.out if name.endswith(".out")
    }
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    until(lambda: not any(alive(pid) for pid in family))
    assert set(scene.out) >= {"a.out", "b.out"}
    assert not {"c.out", "d.out"} & set(scene.out)
    (scene.folder / "seen.go").touch()
    ended = scene.run(job)
    assert (ended.status, ended.skipped, ended.progress.records) == ("Completed", 2, 14)
    assert set(scene.out) == {"a.out", "b.out", "c.out", "d.out"}
    assert {name: (scene.folder / "out" / name).stat().st_ino for name in inodes} == inodes
    assert sum(one["begins"].startswith("two") for one in scene.seen) == 1


def test_a_job_that_is_told_to_end_is_stopped(scene: Scene) -> None:
    scene.put(a=b"wait\n", b=b"one\n")
    process = started(scene, scene.job())
    until(lambda: (found := progress_in(scene.folder / "job")) and found.finished == 1)
    until(lambda: any(one["begins"] == "wait" for one in scene.seen))
    family = descendants(process.pid)
    process.terminate()
    process.communicate()
    assert process.returncode == 143
    assert not any(alive(pid) for pid in family)
    ended = progress_in(scene.folder / "job")
    assert (ended and ended.status, set(scene.out) & {"a.out", "b.out"}) == ("Stopped", {"b.out"})


def started(scene: Scene, job: Job) -> subprocess.Popen[str]:
    """The job in a process of its own, with two workers."""
    line = wire.work_to_json(Work(job, scene.model, "", NOW, scene.folder / "job"))
    process = subprocess.Popen([sys.executable, "-c", RUN], stdin=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdin
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process
