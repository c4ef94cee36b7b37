"""The asynchronous service as a process: boto3 before it, a container behind it, a folder and S3 beside it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.fakes.container import Container
from tests.ports import free_port
from tests.processes import until

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
SECONDS = 30
AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Service:
    """`python -m serving.asynchronous` on its folders."""

    def __init__(self, folder: Path, gateway: str, **environment: str) -> None:
        self.objects, self.config, self.home = folder / "objects", folder / "async", folder / "home"
        for one in (self.objects, self.config):
            one.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        self.command = [
            *(sys.executable, "-m", "serving.asynchronous", "--port", str(self.port), "--gateway", gateway),
            *("--home", str(self.home), "--config", str(self.config)),
            *("--object-store", f"local={self.objects}"),
        ]
        self._environment = {**os.environ, **AWS, **environment}
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, endpoint: str = "late", **entries: object) -> None:
        entries = {"output_path": "s3://local/answers", "failure_path": "s3://local/failures", **entries}
        fresh = self.config / f".{endpoint}.new"
        fresh.write_text(json.dumps(entries))
        fresh.replace(self.config / f"{endpoint}.json")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        until(self.answers, SECONDS)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/ping", timeout=5).status_code == 200
        return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def end(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def backlog(self, endpoint: str = "late") -> dict:
        return httpx.get(f"{self.url}/async/endpoints/{endpoint}/backlog").json()

    def file(self, location: str) -> Path:
        return self.objects / location.removeprefix("s3://local/")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def container() -> Iterator[Container]:
    with Container() as running:
        yield running


@pytest.fixture
def service(tmp_path: Path, container: Container) -> Iterator[Service]:
    running = Service(tmp_path, container.url, NOTIFY=container.url.replace("http", "json") + "/hook")
    running.configure()
    running.start()
    yield running
    if running.process and running.process.poll() is None:
        running.kill()


@pytest.fixture
def client(service: Service):
    found = runtime(service.url)
    yield found
    found.close()


def runtime(url: str):
    settings = Config(retries={"total_max_attempts": 2}, read_timeout=20)
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    return boto3.client("sagemaker-runtime", endpoint_url=url, config=settings, **keys)


def test_boto3_sends_a_body_and_finds_the_answer(service, client, container):
    said = client.invoke_endpoint_async(
        EndpointName="late",
        Body=b"1,2,3",
        ContentType="text/csv",
        Accept="application/json",
        CustomAttributes="trace-1",
        InferenceId="order 4711",
    )
    assert said["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert said["InferenceId"] == "order 4711"
    assert said["FailureLocation"].endswith("-error.out")
    answer = service.file(said["OutputLocation"])
    until(answer.exists, SECONDS)
    assert answer.read_bytes() == b"answer to 1,2,3"
    path, headers, _ = container.asked[0]
    assert path == "/async/endpoints/late/invocations"
    assert headers["content-type"] == "text/csv"
    assert headers["accept"] == "application/json"
    assert headers["x-amzn-sagemaker-custom-attributes"] == "trace-1"
    assert headers["x-amzn-sagemaker-inference-id"] == "order 4711"
    assert not service.file(said["FailureLocation"]).exists()
    assert [one.name for one in answer.parent.iterdir()] == [answer.name]


def test_an_input_in_the_store_and_a_chosen_name(service, client):
    (service.objects / "in").mkdir()
    (service.objects / "in" / "rows.csv").write_bytes(b"4,5")
    said = client.invoke_endpoint_async(
        EndpointName="late",
        InputLocation="s3://local/in/rows.csv",
        S3OutputPathExtension="2026/06",
        Filename="june.csv",
    )
    assert said["OutputLocation"] == "s3://local/answers/2026/06/june.csv"
    assert said["FailureLocation"] == "s3://local/failures/2026/06/june.csv-error.out"
    until(service.file(said["OutputLocation"]).exists, SECONDS)
    assert service.file(said["OutputLocation"]).read_bytes() == b"answer to 4,5"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"fail now", "Failed", b"no such column"),
        (b"break", "Failed", b"closed the connection without an answer"),
        (b"half", "Failed", b"broke off"),
    ],
)
def test_a_failure_leaves_one_object_and_one_message(service, client, container, body, status, text):
    service.configure(success_topic=container.url + "/hook", error_topic="env:NOTIFY")
    said = client.invoke_endpoint_async(EndpointName="late", Body=body)
    failure = service.file(said["FailureLocation"])
    until(failure.exists, SECONDS)
    assert text in failure.read_bytes()
    assert not service.file(said["OutputLocation"]).exists()
    told = until(lambda: [one for one in container.messages if "has failed" in str(one)], SECONDS)
    assert len(told) == 1
    assert len(container.asked) == (1 if body == b"fail now" else 3)
    until(lambda: service.backlog()["InvocationFailures"] == 1)
    assert not list(service.objects.glob("**/.*"))


def test_what_the_api_does_not_allow_is_a_validation_error(client):
    for call, words in (
        ({"Body": b"x", "InputLocation": "s3://local/x"}, "either InputLocation or Body"),
        ({}, "either InputLocation or Body"),
        ({"Body": b"x" * 128_001}, "128000 bytes"),
        ({"Body": b"x", "RequestTTLSeconds": 21601}, "from 60 to 21600"),
        ({"Body": b"x", "InvocationTimeoutSeconds": 3601}, "from 1 to 3600"),
        ({"Body": b"x", "Filename": "a.b.c"}, "one dot"),
        ({"Body": b"x", "EndpointName": "other"}, "no asynchronous configuration"),
        ({"Body": b"x", "EndpointName": "bad/name"}, "endpoint name"),
    ):
        with pytest.raises(ClientError) as caught:
            client.invoke_endpoint_async(**{"EndpointName": "late", **call})
        error = caught.value.response
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert error["Error"]["Code"] == "ValidationError"
        assert words in error["Error"]["Message"]


def test_inputs_that_cannot_be_had_fail(service, client):
    (service.objects.parent / "secret").write_text("secret")
    (service.objects / "link").symlink_to(service.objects.parent / "secret")
    for location in ("s3://local/nothing", "s3://local/../secret", "s3://local/link"):
        said = client.invoke_endpoint_async(EndpointName="late", InputLocation=location)
        failure = service.file(said["FailureLocation"])
        until(failure.exists, SECONDS)
        assert b"secret" not in failure.read_bytes().replace(b"../secret", b"")
    until(lambda: service.backlog()["RequestDownloadFailures"] == 3)


def test_no_more_at_once_than_configured_and_a_change_counts_at_once(service, client, container):
    service.configure(max_concurrent_invocations_per_instance=2)
    said = [client.invoke_endpoint_async(EndpointName="late", Body=b"wait %d" % one) for one in range(9)]
    until(lambda: container.now == 2, SECONDS)
    report = service.backlog()
    assert report["ApproximateBacklogSize"] == 9
    assert report["ApproximateAgeOfOldestRequest"] > 0
    service.configure(max_concurrent_invocations_per_instance=5)
    until(lambda: container.now == 5, SECONDS)
    container.gate.set()
    for one in said:
        until(service.file(one["OutputLocation"]).exists, SECONDS)
    assert container.most == 5
    until(lambda: service.backlog()["InvocationsProcesssed"] == 9)
    text = httpx.get(f"{service.url}/metrics").text
    assert 'seaway_async_approximate_backlog_size{endpoint="late"} 0' in text
    assert 'seaway_async_invocations_processsed_total{endpoint="late"} 9' in text


def test_requests_wait_for_capacity(service, client, container):
    path = "/async/endpoints/late/invocations"
    container.refusals[path] = 1000
    said = client.invoke_endpoint_async(EndpointName="late", Body=b"patient")
    until(lambda: service.backlog()["HasBacklogWithoutCapacity"] == 1, SECONDS)
    container.refusals[path] = 0
    until(service.file(said["OutputLocation"]).exists, SECONDS)
    assert service.backlog()["HasBacklogWithoutCapacity"] == 0
    assert service.backlog()["InvocationFailures"] == 0


def test_messages_are_sagemakers(service, client, container):
    hook = container.url + "/hook"
    service.configure(success_topic=hook, include_inference_response_in=["SUCCESS_NOTIFICATION_TOPIC"])
    test = {"eventVersion": "1.0", "eventSource": "aws:sagemaker", "eventName": "TestNotification"}
    until(lambda: container.messages == [test], SECONDS)
    container.refusals["/hook"] = 1
    said = client.invoke_endpoint_async(
        EndpointName="late", Body=b"7", ContentType="text/csv", InferenceId="i"
    )
    told = until(lambda: container.messages[1:], SECONDS)[0]
    assert told.pop("eventTime") >= told.pop("receivedTime")
    assert told == {
        "awsRegion": "us-east-1",
        "invocationStatus": "Completed",
        "requestParameters": {"contentType": "text/csv", "endpointName": "late"},
        "responseParameters": {
            "contentType": "text/csv",
            "outputLocation": said["OutputLocation"],
            "responseBody": {"content": "answer to 7", "encoding": "UTF-8"},
        },
        "inferenceId": "i",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def test_a_model_that_takes_too_long_has_failed(service, client):
    said = client.invoke_endpoint_async(EndpointName="late", Body=b"wait", InvocationTimeoutSeconds=1)
    failure = service.file(said["FailureLocation"])
    until(failure.exists, SECONDS)
    assert b"did not answer within 1 s" in failure.read_bytes()


def test_a_call_that_the_client_repeats_is_one_request(service):
    headers = {"amz-sdk-invocation-id": str(uuid.uuid4())}
    url = f"{service.url}/endpoints/late/async-invocations"
    first, second = (httpx.post(url, content=b"once", headers=headers) for _ in range(2))
    assert first.json() == second.json()
    place = "x-amzn-sagemaker-outputlocation"
    assert first.headers[place] == second.headers[place]


def test_killed_again_and_again_every_request_ends_once(service, client, container):
    service.configure(
        success_topic=container.url + "/hook",
        error_topic=container.url + "/hook",
        max_concurrent_invocations_per_instance=8,
    )
    chance = random.Random(4)
    said = {}
    for round_ in range(6):
        for number in range(25):
            word = "fail" if number % 5 == 0 else "fine"
            one = client.invoke_endpoint_async(EndpointName="late", Body=f"{word} {round_} {number}".encode())
            said[one["InferenceId"]] = (word, one, f"{word} {round_} {number}")
        pause = time.monotonic() + chance.uniform(0, 0.15)
        until(lambda pause=pause: time.monotonic() > pause)
        service.kill()
        service.start()
    until(lambda: service.backlog()["ApproximateBacklogSize"] == 0, 60)
    for word, one, text in said.values():
        output, failure = service.file(one["OutputLocation"]), service.file(one["FailureLocation"])
        assert output.exists() == (word == "fine")
        assert failure.exists() == (word == "fail")
        if word == "fine":
            assert output.read_bytes() == f"answer to {text}".encode()
    until(lambda: {m.get("inferenceId") for m in container.messages} >= set(said), 60)
    ends = {(m["inferenceId"], m["invocationStatus"]) for m in container.messages if "inferenceId" in m}
    assert len(ends) == len(said), Counter(ident for ident, _ in ends).most_common(3)
    assert not list(service.objects.glob("**/.*"))


def test_the_end_by_signal_is_clean_and_the_queue_stays(service, client, container):
    said = client.invoke_endpoint_async(EndpointName="late", Body=b"fine")
    until(service.file(said["OutputLocation"]).exists, SECONDS)
    assert service.end() == 0


def test_a_second_process_on_the_queue_is_refused(service):
    second = subprocess.run(
        service.command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert "end it first" in second.stderr


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[str]:
    """moto's server as its own process; yields its address."""
    port = free_port()
    with (tmp_path / "moto").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=out, stderr=out
        )
        try:
            until(lambda: listens(port), SECONDS)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def test_s3_and_sns(service, client, container, aws):
    with contextlib.ExitStack() as open_clients:
        s3, sns, sqs = (local(kind, aws, open_clients) for kind in ("s3", "sns", "sqs"))
        s3.create_bucket(Bucket="objects")
        topic = sns.create_topic(Name="ends")["TopicArn"]
        queue = sqs.create_queue(QueueName="ends")["QueueUrl"]
        where = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=where)
        service.configure(
            "cloud",
            output_path="s3://objects/answers",
            failure_path="s3://objects/failures",
            success_topic=topic,
            error_topic=topic,
            s3_endpoint_url=aws,
            sns_endpoint_url=aws,
        )
        said = {}
        for name, content in (("short", b"1,2"), ("long", b"size 20000000"), ("bad", b"fail")):
            s3.put_object(Bucket="objects", Key=f"in/{name}", Body=content)
            said[name] = client.invoke_endpoint_async(
                EndpointName="cloud", InputLocation=f"s3://objects/in/{name}", InferenceId=name
            )
        gone = {"EndpointName": "cloud", "InputLocation": "s3://objects/none", "InferenceId": "gone"}
        said["gone"] = client.invoke_endpoint_async(**gone)
        told: dict[str, dict] = {}
        until(lambda: read_queue(sqs, queue, told) >= set(said), SECONDS)
        states = {name: told[name]["invocationStatus"] for name in said}
        assert states == {"short": "Completed", "long": "Completed", "bad": "Failed", "gone": "Failed"}
        keys = {one["Key"] for one in s3.list_objects_v2(Bucket="objects")["Contents"]}
        for name, state in states.items():
            for key in ("OutputLocation", "FailureLocation"):
                wanted = (state == "Completed") == (key == "OutputLocation")
                assert (said[name][key].removeprefix("s3://objects/") in keys) == wanted
        key = said["long"]["OutputLocation"].removeprefix("s3://objects/")
        assert s3.head_object(Bucket="objects", Key=key)["ContentLength"] == 20_000_000
        key = said["short"]["OutputLocation"].removeprefix("s3://objects/")
        assert s3.head_object(Bucket="objects", Key=key)["ContentType"] == "text/csv"
        assert not list((service.home / "spool").iterdir())


def test_an_answer_that_no_bucket_takes_is_a_failure(service, client, aws):
    service.configure("cloud", output_path="s3://nowhere/answers", s3_endpoint_url=aws)
    said = client.invoke_endpoint_async(EndpointName="cloud", Body=b"x")
    failure = service.file(said["FailureLocation"])
    until(failure.exists, SECONDS)
    assert b"NoSuchBucket" in failure.read_bytes()
    assert service.backlog("cloud")["ResponseUploadFailures"] == 1


def local(kind: str, url: str, clients: contextlib.ExitStack):
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    return clients.enter_context(contextlib.closing(boto3.client(kind, endpoint_url=url, **keys)))


def read_queue(sqs, queue: str, told: dict[str, dict]) -> set[str]:
    """What arrived, by inference id."""
    for one in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        content = json.loads(json.loads(one["Body"])["Message"])
        told[content.get("inferenceId", "test")] = content
    return set(told)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_gigabyte_passes_without_being_held(service, client, container):
    service.configure("big")
    size = 1024**3
    with (service.objects / "huge").open("wb") as file:
        file.truncate(size)
    before = peak(service)
    said = client.invoke_endpoint_async(EndpointName="big", InputLocation="s3://local/huge")
    answer = service.file(said["OutputLocation"])
    until(answer.exists, 150)
    assert answer.stat().st_size == size
    zeros = hashlib.sha256()
    for _ in range(1024):
        zeros.update(bytes(1024**2))
    assert container.asked[0][1]["digest"] == zeros.hexdigest()
    grown = peak(service) - before
    answer.unlink()
    print(f"peak RSS {peak(service)} MiB, {grown} MiB more than before")
    assert grown < 64


def peak(service: Service) -> int:
    """Most MiB the process ever had in memory."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024
