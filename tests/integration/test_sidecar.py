"""The sidecar between real clients and a container that does what containers do, good and bad."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import EventStreamError

from serving import eventstream
from serving.capture import body, read_captures, read_outcomes
from serving.contract import RESPONSE_STREAM as STREAM
from tests.ports import free_port
from tests.processes import until

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
SECONDS = 30


class Container(ThreadingHTTPServer):
    """A model server of a few lines; the body of a request says how it behaves."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.gate = threading.Event()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.began = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Container

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        parameters = b'{"MaxPayloadInMB": 6}' if self.path == "/execution-parameters" else b""
        self.whole(200, parameters, "application/json")

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        sent = self.rfile.read(length)
        if len(sent) < length:
            self.reset()
            return
        self.server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.server.began += 1
        behave = getattr(self, sent.decode() if sent.isalpha() and len(sent) < 10 else "echo")
        behave(sent)

    def whole(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.send_header("X-Amzn-SageMaker-Custom-Attributes", "from-container")
        with contextlib.suppress(ConnectionError):
            self.end_headers()
            self.wfile.write(content)

    def chunk(self, part: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # whoever asked may have gone
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def echo(self, sent: bytes) -> None:
        self.whole(200, sent, "text/csv")

    def wrong(self, _) -> None:
        self.whole(400, b"too few columns", "text/plain")

    def gated(self, _) -> None:
        self.begin()
        self.chunk(b"one\n")
        assert self.server.gate.wait(SECONDS)
        self.chunk(b"two\n")
        self.chunk(b"")

    def slow(self, _) -> None:
        self.server.gate.wait(SECONDS)
        self.whole(200, b"late", "text/plain")

    def silent(self, _) -> None:
        self.reset()

    def broken(self, _) -> None:
        self.begin()
        self.chunk(b"one\n")
        self.server.gate.wait(SECONDS)
        self.reset()

    def short(self, _) -> None:
        self.send_response(200)
        self.send_header("content-length", "5000000")
        self.end_headers()
        self.wfile.write(b"x" * 100_000)
        self.reset()


@pytest.fixture
def container() -> Iterator[Container]:
    server = Container()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Running:
    """A sidecar process."""

    def __init__(self, upstream: str, *options: str, **environ: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "serving.sidecar", "--upstream", upstream, "--port", str(self.port)]
        self.process = subprocess.Popen([*command, *options], cwd=ROOT, env=os.environ | environ)
        until(lambda: listens(self.port))

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@pytest.fixture
def start(container: Container):
    made = []

    def begin(*options: str, upstream: str = container.url, **environ: str) -> Running:
        made.append(Running(upstream, *options, **environ))
        return made[-1]

    yield begin
    for one in made:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def runtime():
    made = []

    def client(url: str):
        made.append(
            boto3.client(
                "sagemaker-runtime",
                endpoint_url=url,
                region_name="local",
                aws_access_key_id="x",
                aws_secret_access_key="x",
                config=Config(retries={"total_max_attempts": 1}, read_timeout=SECONDS),
            )
        )
        return made[-1]

    yield client
    for one in made:
        one.close()


def stream(client, behaviour: bytes, **more):
    return client.invoke_endpoint_with_response_stream(EndpointName="late", Body=behaviour, **more)


def test_plain_requests_pass(start, container: Container) -> None:
    sidecar = start(SAGEMAKER_MAX_PAYLOAD_IN_MB="4")
    with httpx.Client(base_url=sidecar.url, timeout=SECONDS) as client:
        assert (client.get("/ping").status_code, client.get("/ping").content) == (200, b"")
        assert client.get("/execution-parameters").json() == {"MaxPayloadInMB": 6}
        sent = {
            "content-type": "text/csv",
            "x-amzn-sagemaker-custom-attributes": "a",
            "x-amzn-requestid": "7",
        }
        answer = client.post("/invocations", content=b"1,2", headers=sent)
        assert (answer.status_code, answer.content) == (200, b"1,2")
        assert answer.headers["content-type"] == "text/csv"
        assert answer.headers["x-amzn-sagemaker-custom-attributes"] == "from-container"
        assert container.asked[-1][1].items() >= sent.items()
        refused = client.post("/invocations", content=b"wrong")
        assert (refused.status_code, refused.text) == (400, "too few columns")
        assert client.post("/v2/models/late/infer", content=b"{}").content == b"{}"
        assert container.asked[-1][0] == "/v2/models/late/infer"
        assert (client.get("/models").status_code, client.get("/models").content) == (404, b"{}")
        assert (client.get("/invocations").status_code, client.get("/invocations").headers["allow"]) == (
            405,
            "POST",
        )


def test_long_bodies_pass_and_too_long_ones_do_not(start, container: Container) -> None:
    sidecar = start(SAGEMAKER_MAX_PAYLOAD_IN_MB="4")
    content = os.urandom(3_900_000)
    with httpx.Client(base_url=sidecar.url, timeout=SECONDS) as client:
        assert client.post("/invocations", content=content).content == content
        chunked = client.post("/invocations", content=iter([content[:1000], content[1000:2000]]))
        assert chunked.content == content[:2000]
        assert container.asked[-1][1]["content-length"] == "2000"
        assert client.post("/invocations", content=bytes(5_000_000)).status_code == 413
        assert client.post("/invocations", content=iter([bytes(1_000_000)] * 5)).status_code == 413
        assert client.post("/invocations", content=b"").content == b""


def test_a_client_that_leaves_reaches_no_model(start, container: Container) -> None:
    sidecar = start()
    with socket.create_connection(("127.0.0.1", sidecar.port)) as gone:
        gone.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + bytes(2_000_000)
        )
    assert httpx.post(f"{sidecar.url}/invocations", content=b"1").content == b"1"
    assert sidecar.end() == 0
    assert container.began == 1


def test_failures_before_the_answer_have_a_status(start, container: Container) -> None:
    sidecar = start("--timeout", "0.5")
    with httpx.Client(base_url=sidecar.url, timeout=SECONDS) as client:
        late = client.post("/invocations", content=b"slow")
        assert late.status_code == 504
        assert "in time" in late.json()["error"]
        assert client.post("/invocations", content=b"silent").status_code == 502
        assert client.post("/invocations", content=b"1").content == b"1"
    nobody = start(upstream=f"http://127.0.0.1:{free_port()}")
    assert httpx.get(f"{nobody.url}/ping").status_code == 503


def test_answers_that_break_off_never_look_whole(start, container: Container) -> None:
    sidecar = start()
    with httpx.Client(base_url=sidecar.url, timeout=SECONDS) as client:
        with client.stream("POST", "/invocations", content=b"broken") as answer:
            parts = answer.iter_raw()
            assert next(parts) == b"one\n"
            container.gate.set()
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                list(parts)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            client.post("/invocations", content=b"short")


def test_parts_arrive_as_they_are_made(start, container: Container, runtime) -> None:
    client = runtime(start().url)
    answer = stream(
        client, b"gated", ContentType="text/x", Accept="text/plain", CustomAttributes="a", InferenceId="7"
    )
    assert answer["ContentType"] == "text/plain"
    path, asked = container.asked[-1]
    assert path == "/invocations"
    assert (asked["accept"], asked["content-type"]) == ("text/plain", "text/x")
    assert asked["x-amzn-sagemaker-inference-id"] == "7"
    assert "x-amzn-sagemaker-accept" not in asked
    events = iter(answer["Body"])
    assert next(events)["PayloadPart"]["Bytes"] == b"one\n"
    assert not container.gate.is_set()
    container.gate.set()
    assert b"".join(event["PayloadPart"]["Bytes"] for event in events) == b"two\n"


def test_the_same_without_a_stream(start, runtime) -> None:
    client = runtime(start().url)
    answer = client.invoke_endpoint(EndpointName="late", Body=b"1,2", ContentType="text/csv")
    assert (answer["Body"].read(), answer["ContentType"], answer["CustomAttributes"]) == (
        b"1,2",
        "text/csv",
        "from-container",
    )


@pytest.mark.parametrize(
    ("behaviour", "code"), [(b"gated", "ModelInvocationTimeExceeded"), (b"broken", "StreamBroken")]
)
def test_failures_in_the_middle_are_raised_there(
    start, container: Container, runtime, behaviour, code
) -> None:
    seconds = "0.5" if behaviour == b"gated" else "30"
    sidecar = start("--stream-timeout", seconds)
    answer = stream(runtime(sidecar.url), behaviour)
    events = iter(answer["Body"])
    assert next(events)["PayloadPart"]["Bytes"] == b"one\n"
    if behaviour == b"broken":
        container.gate.set()
    with pytest.raises(EventStreamError) as raised:
        next(events)
    answer["Body"].close()
    assert raised.value.response["Error"]["Code"] == "ModelStreamError"
    raw = httpx.post(f"{sidecar.url}{STREAM}", content=behaviour, timeout=SECONDS).content
    last = eventstream.decode(raw)[-1]
    assert dict(last.headers)[":exception-type"] == "ModelStreamError"
    assert json.loads(last.payload)["ErrorCode"] == code  # boto3 does not show it


def test_a_stream_that_never_begins_is_an_ordinary_answer(start, runtime) -> None:
    client = runtime(start("--timeout", "0.5").url)
    for behaviour, status in ((b"slow", 504), (b"wrong", 400)):
        with pytest.raises(client.exceptions.ClientError) as raised:
            stream(client, behaviour)
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_every_end_of_a_request_is_noted(start, container: Container, tmp_path: Path) -> None:
    told = {"SEAWAY_ENDPOINT": "late", "SEAWAY_VARIANT": "blue", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1"}
    settings = json.dumps({"destination": str(tmp_path / "captures")})
    sidecar = start("--timeout", "2", SEAWAY_CAPTURE=settings, **told)
    ends = {"fine": 200, "wrong": 400, "silent": 502, "slow": 504, "broken": 504, "short": 502}
    with httpx.Client(base_url=sidecar.url, timeout=SECONDS) as client:
        for sent in ends:
            with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
                content = b"1,2" if sent == "fine" else sent.encode()
                client.post("/invocations", content=content, headers={"x-amzn-requestid": sent})
        long = {"x-amzn-requestid": "long"}
        assert client.post("/invocations", content=bytes(2_000_000), headers=long).status_code == 413
    container.gate.set()
    assert sidecar.end() == 0
    always = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    found = {one.event_id: one.outcome for one in read_outcomes(tmp_path / "captures-outcomes", *always)}
    assert {name: outcome.status for name, outcome in found.items()} == ends | {"long": 413}
    assert found["long"].microseconds is None
    assert 1_900_000 < found["slow"].microseconds < 30_000_000
    assert len(list(read_captures(tmp_path / "captures", *always))) == 1


def test_capture_and_an_orderly_end(start, container: Container, runtime, tmp_path: Path) -> None:
    settings = {"destination": str(tmp_path), "flush_seconds": 60}
    sidecar = start(SEAWAY_CAPTURE=json.dumps(settings), SEAWAY_ENDPOINT="late", SEAWAY_VARIANT="blue")
    container.gate.set()
    with httpx.Client(base_url=sidecar.url, timeout=SECONDS) as client:
        sent = {"content-type": "text/csv", "x-amzn-requestid": "one", "x-amzn-sagemaker-inference-id": "7"}
        client.post("/invocations", content=b"1,2", headers=sent)
        client.post("/invocations", content=b"wrong")
        client.post("/invocations", content=b"silent")
        client.get("/ping")
    list(stream(runtime(sidecar.url), b"gated", ContentType="application/json")["Body"])
    container.gate.clear()
    with httpx.Client(base_url=sidecar.url, timeout=SECONDS) as client:
        with client.stream(
            "POST", "/invocations", content=b"gated", headers={"x-amzn-requestid": "last"}
        ) as running:
            sidecar.process.send_signal(signal.SIGTERM)
            until(lambda: not listens(sidecar.port))
            container.gate.set()
            assert running.read() == b"one\ntwo\n"
    assert sidecar.process.wait(SECONDS) == 0
    found = list(read_captures(tmp_path, datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)))
    sides = {
        (body(one["captureData"]["endpointInput"]), body(one["captureData"]["endpointOutput"]))
        for one in found
    }
    assert len(found) == 3
    assert sides == {(b"1,2", b"1,2"), (b"gated", b"one\ntwo\n")}
    metadata = {one["eventMetadata"]["eventId"]: one["eventMetadata"] for one in found}
    assert metadata["one"]["inferenceId"] == "7"
    assert "last" in metadata


@pytest.mark.parametrize(
    ("environ", "named"),
    [({"SEAWAY_CAPTURE": "{}"}, "destination"), ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "much"}, "much")],
)
def test_wrong_settings_end_it_at_once(environ: dict[str, str], named: str) -> None:
    command = [sys.executable, "-m", "serving.sidecar", "--upstream", "http://127.0.0.1:1", "--port", "1"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr
