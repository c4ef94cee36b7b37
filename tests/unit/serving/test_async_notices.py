"""Messages in SageMaker's shape, and the numbers."""

from __future__ import annotations

import base64

from serving.asynchronous.admission import admit
from serving.asynchronous.backlog import Entry, Outcome, Waiting
from serving.asynchronous.configuration import Configuration
from serving.asynchronous.metrics import Metrics
from serving.asynchronous.notices import message, region, topic

PLACES = Configuration(
    "s3://b/answers", "s3://b/failures", success_topic="https://a", error_topic="https://b"
)
HEADERS = {
    "x-amzn-sagemaker-inputlocation": "s3://b/in",
    "x-amzn-sagemaker-content-type": "text/csv",
    "x-amzn-sagemaker-inference-id": "order 1",
}


def entry(**outcome):
    request = admit("late", HEADERS, b"", PLACES, 1650655801.0, "id-1")
    values = {"completed": True, "at": 1650655802.31, "content_type": "application/json", **outcome}
    return Entry(request, 1, 1, Outcome(**values))


def test_success():
    assert message(entry(), "eu-west-1") == {
        "awsRegion": "eu-west-1",
        "eventTime": "2022-04-22T19:30:02.310Z",
        "receivedTime": "2022-04-22T19:30:01.000Z",
        "invocationStatus": "Completed",
        "requestParameters": {
            "contentType": "text/csv",
            "endpointName": "late",
            "inputLocation": "s3://b/in",
        },
        "responseParameters": {
            "contentType": "application/json",
            "outputLocation": "s3://b/answers/id-1.out",
        },
        "inferenceId": "order 1",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    assert topic(entry().outcome, PLACES) == "https://a"
    assert topic(entry().outcome, None) == ""


def test_failure():
    said = message(entry(completed=False, reason="no such column"), "local")
    assert (said["invocationStatus"], said["failureReason"]) == ("Failed", "no such column")
    assert said["responseParameters"]["failureLocation"] == "s3://b/failures/id-1-error.out"
    assert "failureLocation" not in message(entry(completed=False, staged=False), "x")["responseParameters"]
    assert topic(entry(completed=False).outcome, PLACES) == "https://b"


def test_an_answer_in_the_message():
    text = message(entry(answer=b'{"a": 1}'), "x")["responseParameters"]["responseBody"]
    assert text == {"content": '{"a": 1}', "encoding": "UTF-8"}
    for raw in (b"\xff\x00", b"\x01" * 128 * 1024):
        sent = message(entry(answer=raw), "x")["responseParameters"]["responseBody"]
        assert sent["encoding"] == "BASE64"
        assert base64.b64decode(sent["content"]) == raw


def test_the_region_is_the_topics_or_the_machines():
    assert region("arn:aws:sns:eu-west-1:123456789012:done", {}) == "eu-west-1"
    assert region("https://a", {"AWS_REGION": "eu-west-2"}) == "eu-west-2"
    assert region("https://a", {}) == "local"


def test_numbers():
    metrics = Metrics()
    metrics.count("late", "InvocationsProcesssed")
    metrics.took("late", "TimeInBacklog", 0.25)
    metrics.took("late", "TimeInBacklog", 0.75)
    metrics.capacity("late", there=False)
    report = metrics.report("late", Waiting(3, 90.0), 100.0, 2)
    assert report["ApproximateBacklogSize"] == 3
    assert report["ApproximateBacklogSizePerInstance"] == 1.5
    assert report["ApproximateAgeOfOldestRequest"] == 10
    assert report["HasBacklogWithoutCapacity"] == 1
    assert report["InvocationsProcesssed"] == 1
    assert report["TimeInBacklog"] == 500
    assert report["ModelLatency"] is None
    assert metrics.report("late", None, 100.0, 1)["HasBacklogWithoutCapacity"] == 0
    assert metrics.report("late", Waiting(3, 90.0), 100.0, 0)["ApproximateBacklogSizePerInstance"] is None
    report = Metrics().report("late", Waiting(3, 90.0, 2), 100.0, 0)
    assert (report["HasBacklogWithoutCapacity"], report["RequestsInProcess"]) == (1, 2)
    text = metrics.text({"late": Waiting(3, 90.0)}, 100.0, {"late": 0, "idle": 2})
    assert 'backlog_size_per_instance{endpoint="idle"} 0\n' in text
    assert 'backlog_size_per_instance{endpoint="late"}' not in text
    assert 'seaway_async_approximate_age_of_oldest_request{endpoint="late"} 10\n' in text
    assert 'seaway_async_time_in_backlog_seconds_sum{endpoint="late"} 1.000000\n' in text
    assert text.count("# TYPE") == len({line.split()[2] for line in text.splitlines() if line[0] == "#"})
