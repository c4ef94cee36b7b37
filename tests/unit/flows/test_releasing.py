"""What the model servers are told is what they understand."""

from __future__ import annotations

from pathlib import Path

from configs.load import load
from configs.project import Project
from flows.releasing import instance_environment, instances
from serving import capture, explain
from serving.serverless import config

FLIGHTS = Path(__file__).parents[3] / "examples" / "flights" / "project.yaml"


def production(**more):
    document = load(FLIGHTS).project.model_dump(mode="json", by_alias=True)
    document["production"] |= more
    return Project.model_validate(document, strict=False).production


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
