"""The file of an asynchronous endpoint."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from serving.asynchronous.configuration import _CHECKS, Configuration, Configurations, parse
from serving.asynchronous.errors import ConfigurationInvalid


def read(**entries):
    return parse(json.dumps({"output_path": "s3://local/answers", **entries}).encode(), "late.json")


def test_every_setting_is_checked():
    assert set(_CHECKS) == {one.name for one in fields(Configuration)} - {"digest"}


def test_all_settings():
    found = read(
        failure_path="s3://local/failures",
        max_concurrent_invocations_per_instance=1000,
        success_topic="arn:aws:sns:eu-west-1:123456789012:done",
        error_topic="env:ALARM_URL",
        include_inference_response_in=["SUCCESS_NOTIFICATION_TOPIC", "ERROR_NOTIFICATION_TOPIC"],
        kms_key_id="alias/answers",
        s3_endpoint_url="http://127.0.0.1:9000",
        sns_endpoint_url="https://sns.example",
    )
    assert found.concurrency == 1000
    assert found.topics == (found.success_topic, found.error_topic)
    assert read(success_topic="https://a.example/x", error_topic="https://a.example/x").topics == (
        "https://a.example/x",
    )


def test_what_is_sent_at_once_follows_the_instances():
    assert [read(instance_count=count).concurrency for count in (0, 1, 3)] == [1, 4, 12]
    assert read(instance_count=2).digest != read(instance_count=3).digest
    assert read(revision="approval-1").digest != read(revision="approval-2").digest
    assert read(revision="a", instance_count=2).digest == read(revision="a", instance_count=3).digest


@pytest.mark.parametrize(
    "entries",
    [
        {"output_path": "/srv"},
        {"instance_count": -1},
        {"revision": "x" * 257},
        {"include_inference_response_in": [["SUCCESS_NOTIFICATION_TOPIC"]]},
        {"output_path": "s3://b/../c"},
        {"output_path": "s3://b/" + "x" * 512},
        {"failure_path": 1},
        {"max_concurrent_invocations_per_instance": 0},
        {"max_concurrent_invocations_per_instance": 1001},
        {"max_concurrent_invocations_per_instance": True},
        {"success_topic": "mailto://user:secret@example.org"},
        {"error_topic": "arn:aws:sqs:eu-west-1:123456789012:x"},
        {"include_inference_response_in": ["success"]},
        {"s3_endpoint_url": "127.0.0.1:9000"},
        {"output": "s3://local/answers"},
    ],
)
def test_what_nobody_can_follow_is_named(entries):
    with pytest.raises(ConfigurationInvalid, match=next(iter(entries))):
        read(**entries)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"{"])
def test_no_settings(content):
    with pytest.raises(ConfigurationInvalid, match=r"late\.json"):
        parse(content, "late.json")


def test_a_changed_file_is_read_again(tmp_path):
    configurations, path = Configurations(tmp_path), tmp_path / "late.json"
    assert configurations.find("late") is None
    path.write_text('{"output_path": "s3://a"}')
    first = configurations.find("late")
    assert first.output_path == "s3://a"
    assert configurations.find("late") is first
    fresh = tmp_path / "new"
    fresh.write_text('{"output_path": "s3://b"}')
    fresh.replace(path)
    assert configurations.find("late").output_path == "s3://b"
    assert configurations.names() == ["late"]
    path.write_text("{")
    with pytest.raises(ConfigurationInvalid):
        configurations.find("late")
    assert configurations.last("late") is None
    path.write_text('{"output_path": "s3://c"}')
    assert configurations.last("late").output_path == "s3://c"
    path.unlink()
    assert configurations.find("late") is None
    assert configurations.last("late").output_path == "s3://c"
