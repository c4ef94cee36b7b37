"""Batch transform from bucket to bucket, against a real S3 protocol server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serving import package
from steps.transform.job import CSV, DataCaptureConfig, DataProcessing, Job, TransformInput, TransformOutput
from steps.transform.port import Model
from steps.transform.processes import Processes
from steps.transform.run import transform
from tests.ports import free_port
from tests.processes import until

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
CONTAINER = Path(__file__).with_name("container.py")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import boto3

    port = free_port()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}"),
    ):
        monkeypatch.setenv(name, value)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    try:
        until(lambda: listens(port))
        client = boto3.client("s3")
        client.create_bucket(Bucket="lake")
        yield client
        client.close()
    finally:
        process.terminate()
        process.wait(20)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_from_bucket_to_bucket(bucket: Any, tmp_path: Path) -> None:
    for key, body in {
        "in/a.csv": b"1,x\n2,xx\n",
        "in/deep/b.csv": b"3,xxx\n",
        "in/bad.csv": b"4,refuse\n",
        "other/c": b"",
    }.items():
        bucket.put_object(Bucket="lake", Key=key, Body=body)
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "weights").write_text("1")
    digest = package.write(tmp_path / "content", tmp_path / "model.tar.gz")
    model = Model(tmp_path / "model.tar.gz", digest, (str(CONTAINER), "{port}"))
    job = Job(
        "j",
        "m/1",
        TransformInput("s3://lake/in/", content_type=CSV, split_type="Line"),
        TransformOutput("s3://lake/out", CSV, "Line"),
        data_processing=DataProcessing(join_source="Input"),
        data_capture_config=DataCaptureConfig("s3://lake/captured"),
    )
    ended = transform(job, model, Processes(2), tmp_path / "job", NOW)
    assert [one.key for one in ended.failures] == ["bad.csv"]
    found = objects(bucket)
    assert found["out/a.csv.out"] == b"1,x,3\n2,xx,4\n"
    assert found["out/deep/b.csv.out"] == b"3,xxx,5\n"
    assert "out/bad.csv.out" not in found
    manifest = json.loads(found["captured/input/2026/11/23/04/j.json"])
    assert manifest == [{"prefix": "s3://lake/in/"}, "a.csv", "deep/b.csv"]
    bucket.delete_object(Bucket="lake", Key="in/bad.csv")
    again = transform(job, model, Processes(), tmp_path / "job", NOW)
    assert (again.status, again.skipped) == ("Completed", 2)
    source = replace(
        job.transform_input,
        s3_uri="s3://lake/captured/input/2026/11/23/04/j.json",
        s3_data_type="ManifestFile",
    )
    copied = replace(
        job,
        transform_job_name="k",
        transform_input=source,
        transform_output=TransformOutput("s3://lake/k", CSV, "Line"),
    )
    transform(copied, model, Processes(), tmp_path / "job-k", NOW)
    assert objects(bucket)["k/deep/b.csv.out"] == b"3,xxx,5\n"


def objects(bucket: Any) -> dict[str, bytes]:
    keys = [one["Key"] for one in bucket.list_objects_v2(Bucket="lake")["Contents"]]
    found = {}
    for key in keys:
        with bucket.get_object(Bucket="lake", Key=key)["Body"] as body:
            found[key] = body.read()
    return found
