"""Data capture against what goes wrong: a killed process, a full disk, a store that comes and goes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from serving.capture import Exchange, from_environment, read, read_captures
from tests.ports import free_port
from tests.processes import until

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
ALWAYS = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
WRITER = """
import os, sys, time
from serving.capture import Exchange, from_environment
recorder = from_environment(os.environ)
number = 0
while True:
    recorder.offer(Exchange(f"event-{number}", time.time(), "text/csv", b"1,2", "text/csv", b"3"))
    number += 1
    if number % 100 == 0:
        while recorder.counts.waiting:
            time.sleep(0.001)
        print(number, flush=True)
"""


def environment(destination: Path | str, **entries) -> dict[str, str]:
    settings = {"destination": str(destination), "flush_seconds": 0.01} | entries
    return {"SEAWAY_CAPTURE": json.dumps(settings), "SEAWAY_ENDPOINT": "late", "SEAWAY_VARIANT": "blue"}


def exchange(number: int, size: int = 0) -> Exchange:
    return Exchange(f"event-{number}", time.time(), "text/csv", b"1" + b"0" * size, "text/csv", b"2")


def ids(folder: Path) -> list[str]:
    return [one["eventMetadata"]["eventId"] for one in read_captures(folder, *ALWAYS)]


def files(folder: Path, hidden: bool = False) -> list[Path]:
    return [
        path for path in sorted(folder.rglob("*.*")) if path.is_file() and path.name.startswith(".") == hidden
    ]


# ---- a killed process -------------------------------------------------------------------------------------


def test_a_killed_process_loses_nothing_that_was_written(tmp_path: Path) -> None:
    environ = os.environ | environment(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            written = [int(process.stdout.readline()) for _ in range(5)][-1]
        finally:
            process.send_signal(signal.SIGKILL)
    assert files(tmp_path) == []
    assert len(files(tmp_path, hidden=True)) == 1
    recorder = from_environment(environment(tmp_path))
    assert recorder
    assert recorder.close(30)
    found = ids(tmp_path)
    assert found[:written] == [f"event-{number}" for number in range(written)]
    assert files(tmp_path, hidden=True) == []


def test_replicas_share_a_folder(tmp_path: Path) -> None:
    recorders = [from_environment(environment(tmp_path, rotate_seconds=0.01)) for _ in range(3)]
    for number in range(300):
        recorders[number % 3].offer(exchange(number))
    assert all(recorder.close(30) for recorder in recorders)
    assert sorted(ids(tmp_path)) == sorted(f"event-{number}" for number in range(300))
    assert files(tmp_path, hidden=True) == []


# ---- a full disk ------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False)
    if made.returncode != 0:
        pytest.skip("this machine does not let us mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(recorder, folder: Path) -> None:
    for number in range(60):
        recorder.offer(exchange(number, size=40_000))
        until(lambda: not recorder.counts.waiting)


def test_a_full_disk_drops_and_later_goes_on(small_disk: Path) -> None:
    recorder = from_environment(environment(small_disk, max_disk_percent=100))
    assert recorder
    fill(recorder, small_disk)
    counts = recorder.counts
    assert counts.written > 10
    assert counts.dropped_disk == 60 - counts.written > 0
    assert len(ids(small_disk)) == counts.written
    for path in files(small_disk):
        path.unlink()
    recorder.offer(exchange(1000))
    assert recorder.close(30)
    assert ids(small_disk) == ["event-1000"]
    assert recorder.counts.written == counts.written + 1
    assert files(small_disk, hidden=True) == []


def test_capture_leaves_room_for_others(small_disk: Path) -> None:
    recorder = from_environment(environment(small_disk, max_disk_percent=50))
    assert recorder
    fill(recorder, small_disk)
    assert recorder.close(30)
    found = os.statvfs(small_disk)
    assert 0.4 < found.f_bavail / found.f_blocks < 0.55
    assert recorder.counts.dropped_disk > 0


def test_a_limit_of_the_process_drops_too(tmp_path: Path) -> None:
    """RLIMIT_FSIZE cuts a write in the middle; no torn line may stay."""
    code = """
import os, resource, time
from serving.capture import Exchange, from_environment
from tests.ports import free_port
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
recorder = from_environment(os.environ)
for number in range(9):
    recorder.offer(Exchange(f"event-{number}", time.time(), "text/csv", b"1" * 3000, "text/csv", b"2"))
    while recorder.counts.waiting:
        time.sleep(0.001)
assert recorder.close(30)
print(recorder.counts.written, recorder.counts.dropped_disk)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment(tmp_path), capture_output=True, text=True, check=True
    )
    written, dropped = (int(word) for word in done.stdout.split())
    assert (written + dropped, len(ids(tmp_path))) == (9, written)
    assert dropped
    assert all(path.read_bytes().endswith(b"\n") for path in files(tmp_path))


# ---- S3 ---------------------------------------------------------------------------------------------------


class Store:
    """moto's server, which can be stopped and started at the same address."""

    def __init__(self, log: Path) -> None:
        self.port, self._log = free_port(), log
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with self._log.open("a") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        until(self._listens)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def store(tmp_path: Path, monkeypatch) -> Iterator[Store]:
    made = Store(tmp_path / "moto.log")
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{made.port}"),
    ):
        monkeypatch.setenv(name, value)
    yield made
    made.stop()


@pytest.fixture
def bucket(store: Store):
    client = boto3.client("s3")
    client.create_bucket(Bucket="captures")
    yield client
    client.close()


def objects(client) -> list[dict]:
    return client.list_objects_v2(Bucket="captures").get("Contents", [])


def test_files_go_to_the_bucket_and_leave_the_spool(bucket, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    settings = {"spool": str(spool), "kms_key_id": "alias/own", "rotate_seconds": 0.01}
    recorder = from_environment(environment("s3://captures/some/prefix", **settings))
    assert recorder
    recorder.offer(exchange(1))
    until(lambda: recorder.counts.sent)
    recorder.offer(exchange(2))
    assert recorder.close(30)
    keys = [one["Key"] for one in objects(bucket)]
    assert len(keys) == recorder.counts.sent == 2
    assert all(key.startswith("some/prefix/late/blue/20") and key.endswith(".jsonl") for key in keys)
    head = bucket.head_object(Bucket="captures", Key=keys[0])
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/own")
    assert files(spool) == []
    copy = tmp_path / "copy.jsonl"
    bucket.download_file("captures", keys[0], str(copy))
    assert json.loads(next(read(copy)))["eventMetadata"]["eventId"].startswith("event-")


def test_an_absent_store_costs_nothing_but_time(store: Store, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    settings = environment("s3://captures", spool=str(spool), rotate_seconds=0.01)
    store.stop()
    recorder = from_environment(settings)
    assert recorder
    recorder.offer(exchange(1))
    until(lambda: files(spool))
    assert not recorder.close(0.2)
    assert recorder.counts.written == 1
    store.start()
    client = boto3.client("s3")
    client.create_bucket(Bucket="captures")
    again = from_environment(settings)
    assert again
    assert again.close(30)
    assert (len(objects(client)), again.counts.sent, files(spool)) == (1, 1, [])
    client.close()
