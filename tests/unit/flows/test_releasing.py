"""What the model servers are told is what they understand."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from configs.load import load
from configs.project import Project
from deploy.backlogs import ServiceBacklogs
from deploy.release import Release
from flows.releasing import instance_environment, instances, kind
from serving import capture, explain
from serving.asynchronous.configuration import Configurations
from serving.serverless import config

FLIGHTS = Path(__file__).parents[3] / "examples" / "flights" / "project.yaml"


def production(**more):
    document = load(FLIGHTS).project.model_dump(mode="json", by_alias=True)
    document["production"] |= more
    return Project.model_validate(document, strict=False).production


def offered(asked, revision):
    release = Release("m", "1", "a" * 64, environment=instance_environment(asked, Path("/home")))
    return {**release.asynchronous, "revision": revision}


def test_nothing_is_told_of_what_nobody_asked_for():
    assert instance_environment(production(), Path("/home")) == ()


def test_every_option_is_read_by_the_server_it_is_meant_for():
    asked = production(
        capture={"sampling": "20%", "mode": "Input", "encryption_key": "env:KEY", "max_disk": "80%"},
        explain={"time_share": "30%", "groups": {"where": ["origin", "dest"]}},
        serverless={"memory_size_in_mb": 2048, "max_concurrency": 3, "idle": "90s"},
        asynchronous={"output_path": "s3://local/out", "max_payload": 100},
    )
    told = dict(instance_environment(asked, Path("/home")))
    captured = capture.parse(told["SEAWAY_CAPTURE"])
    assert (captured.destination, captured.sampling, captured.key_variable) == ("/home/captures", 20, "KEY")
    explained = explain.parse(told["SEAWAY_EXPLAIN"])
    assert (explained.time_share, explained.groups) == (0.3, {"where": ("origin", "dest")})
    scaled = config.read(told)
    assert (scaled.max_concurrency, scaled.idle_seconds, scaled.max_request_mb) == (3, 90, 100)
    assert told["SAGEMAKER_MAX_PAYLOAD_IN_MB"] == "100"
    assert instances(asked) == 1
    assert json.loads(told["SEAWAY_ASYNCHRONOUS"])["output_path"] == "s3://local/out"
    assert scaled.changes == "/home/serverless"


@pytest.mark.parametrize(
    ("more", "at_once"),
    [({"instance_count": 3}, 12), ({"serverless": {"memory_size_in_mb": 1024, "max_concurrency": 2}}, 2)],
)
def test_the_asynchronous_service_reads_what_it_is_offered(tmp_path, more, at_once):
    asked = production(asynchronous={"output_path": "s3://local/out"}, **more)
    service = ServiceBacklogs("http://127.0.0.1:9", tmp_path / "async")
    service.offer(asked.endpoint, offered(asked, "v1"))
    found = Configurations(tmp_path / "async").find(asked.endpoint)
    assert found is not None
    assert (found.concurrency, found.revision) == (at_once, "v1")
    service.offer(asked.endpoint, offered(asked, "v2"))
    again = Configurations(tmp_path / "async").find(asked.endpoint)
    assert again is not None
    assert again.digest != found.digest, "an update is announced"
    service.offer(asked.endpoint, None)
    assert Configurations(tmp_path / "async").find(asked.endpoint) is None


def test_an_update_keeps_the_number_of_instances_that_scaling_found(tmp_path):
    scaling = {"max_instances": 4, "scale_in_after": "30s"}
    asked = production(asynchronous={"output_path": "s3://local/out", "scaling": scaling})
    backlogs = ServiceBacklogs("http://127.0.0.1:9", tmp_path / "async")
    backlogs.offer(asked.endpoint, offered(asked, "v1"), scaled=True)
    settings = Configurations(tmp_path / "async")
    first = settings.find(asked.endpoint)
    assert first is not None
    assert first.instance_count == asked.instance_count
    for count in (0, 0, 3):
        backlogs.tell(asked.endpoint, count)
        found = settings.find(asked.endpoint)
        assert found is not None
        assert (found.instance_count, found.revision) == (count, "v1")
        assert found.digest == first.digest, "scaling is not announced"
    backlogs.offer(asked.endpoint, offered(asked, "v2"), scaled=True)
    found = settings.find(asked.endpoint)
    assert found is not None
    assert (found.instance_count, found.revision) == (3, "v2")
    backlogs.tell("nobody", 3)
    assert settings.names() == [asked.endpoint]
    assert backlogs.look(asked.endpoint) is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"instance_count": 5}, "set it to 1 to 4"),
        ({"serverless": {"memory_size_in_mb": 1024, "max_concurrency": 2}}, "remove asynchronous.scaling"),
    ],
)
def test_scaling_that_cannot_be_is_refused(more, said):
    asked = {"output_path": "s3://local/out", "scaling": {"max_instances": 4}}
    with pytest.raises(ValueError, match=said):
        production(asynchronous=asked, **more)


@pytest.mark.parametrize(
    ("file", "found"), [("seaway.json", ""), ("pipeline.json", "pipeline"), ("models.json", "multi-model")]
)
def test_a_package_says_what_it_holds(tmp_path, file, found):
    (tmp_path / file).write_text("{}")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / file, f"./{file}")
        tar.add(tmp_path / file, f"first/{'pipeline.json'}")
    assert kind(tmp_path / "model.tar.gz") == found
