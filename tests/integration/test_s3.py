"""Artifacts in an S3 store instead of a folder: MLflow as we run it, against a real S3 protocol server."""

from datetime import UTC, datetime

import boto3
import pytest

from registry.mlflow import MlflowRegistry
from registry.port import Candidate
from registry.tracking import RunReport, log_run
from tests.mlflow_server import mlflow_server
from tests.moto_server import moto_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with moto_server(tmp_path_factory.mktemp("moto")) as address:
        yield address


def test_a_package_goes_to_the_bucket_and_comes_back(s3, tmp_path, monkeypatch):
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL_S3", s3),
    ):
        monkeypatch.setenv(name, value)
    bucket = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    bucket.create_bucket(Bucket="models")
    package = tmp_path / "model.tar.gz"
    package.write_bytes(bytes(range(256)) * 40)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3)
    with mlflow_server(home, artifacts="s3://models/seaway") as server:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        report = RunReport("s3", "build", now, now, artifacts={"package/model.tar.gz": package})
        run = log_run(server.url, report)
        registry = MlflowRegistry(server.url)
        version = registry.register(Candidate("late", run, {"digest": "d"}))
        (tmp_path / "back").mkdir()
        back = registry.download(version, "package/model.tar.gz", tmp_path / "back")
        assert back.read_bytes() == package.read_bytes()
        registry.close()
    keys = [one["Key"] for one in bucket.list_objects_v2(Bucket="models")["Contents"]]
    bucket.close()
    assert any(key.startswith("seaway/") and key.endswith("package/model.tar.gz") for key in keys)
