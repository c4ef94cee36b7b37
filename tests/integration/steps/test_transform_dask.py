"""The same job by processes and by a Dask cluster: the same bytes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serving import package
from steps.transform.errors import ServerFailed
from steps.transform.job import CSV, DataCaptureConfig, DataProcessing, Job, TransformInput, TransformOutput
from steps.transform.port import Model
from steps.transform.processes import Processes
from steps.transform.run import transform

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::ResourceWarning")]
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
CONTAINER = Path(__file__).with_name("container.py")


@pytest.fixture(scope="module")
def cluster() -> Any:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
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
