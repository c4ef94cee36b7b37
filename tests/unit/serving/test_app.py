from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from serving.app import Application, Limits
from serving.capture import Exchange
from serving.errors import ModelFailed, NotAcceptable
from serving.model import ModelResponder
from serving.responder import Answer, Request
from tests.fakes.model import MeanPredictor

BODY = b'[[1, 2, "x"]]'
LIMITS = Limits(payload=1000, seconds=5.0)


@dataclass
class Recorded:
    exchanges: list[Exchange] = field(default_factory=list)

    def offer(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def close(self, timeout: float) -> None: ...


class Headers(dict[str, str]):
    """As Granian's: no mapping, but with `items` and `get`."""


@dataclass
class Scope:
    method: str
    path: str
    headers: Headers
    client: str = "192.0.2.1:1"


class Wire:
    """The other side of Granian: gives the body, notes what is sent."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.status = 0
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []

    async def __call__(self) -> bytes:
        return self._body

    async def __aiter__(self) -> Any:
        for start in range(0, len(self._body), 400):
            yield self._body[start : start + 400]

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers = status, dict(headers)
        self.parts.append(body)

    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Wire:
        self.status, self.headers = status, dict(headers)
        return self

    async def send_bytes(self, part: bytes) -> None:
        self.parts.append(part)


@dataclass
class Streaming:
    """Answers with what a function makes of the request."""

    make: Any
    execution_parameters: Mapping[str, object] = field(default_factory=dict)

    def respond(self, request: Request) -> Answer:
        answer: Answer = self.make(request)
        return answer


def application(**more: Any) -> Application:
    return Application(ModelResponder(MeanPredictor(), limit=1000, **more), LIMITS)


async def ask(
    app: Application, body: bytes = BODY, method: str = "POST", path: str = "/invocations", **headers: str
) -> Wire:
    wire = Wire(body)
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    await app.__rsgi__(Scope(method, path, Headers(lines)), wire)
    return wire


def test_routes() -> None:
    app = application()
    assert app.answer("GET", "/ping", {}, b"") == Answer(200)
    assert app.answer("POST", "/invocations", {}, BODY).status == 200
    assert app.answer("GET", "/models", {}, b"").body == b"{}"
    refused = app.answer("GET", "/invocations", {}, b"")
    assert (refused.status, refused.headers) == (405, (("allow", "POST"),))
    parameters = json.loads(app.answer("GET", "/execution-parameters", {}, b"").body)
    assert parameters["MaxConcurrentTransforms"] == 1
    assert parameters["BatchStrategy"] == "MULTI_RECORD"
    assert parameters["MaxPayloadInMB"] == pytest.approx(1000 / 2**20)


@pytest.mark.parametrize(
    ("headers", "body", "status", "kind"),
    [
        ({"contenttype": "text/csv", "content-type": "image/png"}, b"1,2,x", 200, "text/csv"),
        ({"accept": "application/x-ndjson"}, BODY, 200, "application/jsonlines"),
        ({"content-type": "text/csv", "accept": "*/*"}, b"1,2,x", 200, "text/csv"),
        ({"content-type": "image/png"}, BODY, 415, "application/json"),
        ({"content-encoding": "gzip"}, BODY, 415, "application/json"),
        ({"accept": "image/png"}, BODY, 406, "application/json"),
        ({}, b" " * 1001, 413, "application/json"),
        ({}, b"[[1, null, null]]", 400, "application/json"),
    ],
)
def test_headers(headers: dict[str, str], body: bytes, status: int, kind: str) -> None:
    answer = application().answer("POST", "/invocations", headers, body)
    assert (answer.status, answer.content_type) == (status, kind)


def test_the_default_accept_is_a_setting() -> None:
    app = application(default_accept="text/csv")
    for accept in ("", "*/*"):
        assert app.answer("POST", "/invocations", {"accept": accept}, BODY).content_type == "text/csv"
    chosen = {"accept": "application/json"}
    assert app.answer("POST", "/invocations", chosen, BODY).content_type == "application/json"
    with pytest.raises(NotAcceptable):
        application(default_accept="image/png")


def test_limits_are_settings() -> None:
    assert Limits.read({}) == Limits()
    variables = {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0.5", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "2.5"}
    assert Limits.read(variables) == Limits(512 * 1024, 2.5)


def test_only_success_is_captured() -> None:
    recorder = Recorded()
    app = Application(ModelResponder(MeanPredictor(), limit=1000), LIMITS, recorder)  # type: ignore[arg-type]

    async def talk() -> Wire:
        named = {"x_amzn_sagemaker_inference_id": "i", "x_amzn_sagemaker_custom_attributes": "c"}
        await ask(app, b"[]")
        await ask(app, b"", "GET", "/ping")
        await ask(app, b'{"inputs": []}', path="/v2/models/m/infer")
        return await ask(
            app, x_amzn_requestid="e", content_type="application/json", content_length="13", **named
        )

    wire = asyncio.run(talk())
    failed, exchange = recorder.exchanges
    assert (failed.missing, failed.outcome.status, failed.body, failed.answer_body) == (
        "failed",
        400,
        b"",
        b"",
    )
    assert (exchange.missing, exchange.outcome.status) == (None, 200)
    assert 0 < exchange.outcome.microseconds < 10_000_000
    assert (exchange.event_id, exchange.inference_id, exchange.custom_attributes) == ("e", "i", "c")
    assert (exchange.content_type, exchange.body) == ("application/json", BODY)
    assert (exchange.answer_content_type, exchange.answer_body) == ("application/json", wire.parts[0])
    assert exchange.at > 1e9


def test_a_draining_server_closes_its_connections() -> None:
    app = application()
    app.draining = True
    assert asyncio.run(ask(app)).headers["connection"] == "close"
    assert app.in_flight == 0


def test_too_long_a_body_without_a_length() -> None:
    assert asyncio.run(ask(application(), b" " * 3000)).status == 413
    assert asyncio.run(ask(application(), b" " * 3000, content_length="3000")).status == 413


def test_parts_go_out_one_by_one() -> None:
    recorder = Recorded()
    made = Streaming(lambda _: Answer(200, b"", "text/plain", (), iter([b"a", b"", bytearray(b"b")])))
    wire = asyncio.run(ask(Application(made, LIMITS, recorder)))  # type: ignore[arg-type]
    assert (wire.status, wire.parts, wire.headers) == (200, [b"a", b"b"], {"content-type": "text/plain"})
    assert recorder.exchanges[0].answer_body == b"ab"


def test_a_stream_that_fails_at_once_is_an_ordinary_failure() -> None:
    def parts() -> Iterator[bytes]:
        raise ValueError("lost")
        yield b""

    wire = asyncio.run(ask(Application(Streaming(lambda _: Answer(200, stream=parts())), LIMITS)))
    assert wire.status == 500
    assert "lost" in json.loads(wire.parts[0])["error"]


def test_a_stream_that_fails_later_is_not_captured(caplog: pytest.LogCaptureFixture) -> None:
    closed = threading.Event()

    class Parts:
        left = 2

        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            self.left -= 1
            return b"a" if self.left else 7

        def close(self) -> None:
            closed.set()

    recorder = Recorded()
    made = Streaming(lambda _: Answer(200, stream=Parts()))
    wire = asyncio.run(ask(Application(made, LIMITS, recorder)))  # type: ignore[arg-type]
    assert wire.parts == [b"a"]
    (broken,) = recorder.exchanges
    assert (broken.missing, broken.outcome.status) == ("failed", 500)
    assert closed.wait(5)
    assert "middle of a stream" in caplog.text


def test_a_slow_model_is_given_up_and_the_server_says_it_is_not_well() -> None:
    held = threading.Event()

    def respond(_: Request) -> Answer:
        held.wait(10)
        return Answer(200)

    app = Application(Streaming(respond), Limits(1000, 0.02))

    async def talk() -> tuple[Wire, Wire, Wire, Wire]:
        slow, waiting = await asyncio.gather(ask(app), ask(app))
        while (ping := await ask(app, b"", "GET", "/ping")).status == 200:
            await asyncio.sleep(0.001)
        return slow, waiting, ping, await ask(app, b"", "GET", "/v2/health/ready")

    slow, waiting, ping, ready = asyncio.run(talk())
    assert [wire.status for wire in (slow, waiting, ping, ready)] == [504, 504, 503, 503]
    assert "0.02 s" in json.loads(slow.parts[0])["error"]
    held.set()

    async def again() -> Wire:
        while (await ask(app, b"", "GET", "/ping")).status != 200:
            await asyncio.sleep(0.001)
        return await ask(app)

    assert asyncio.run(again()).status == 200


@pytest.mark.parametrize(("error", "status"), [(ModelFailed("m"), 500), (KeyError("k"), 500)])
def test_what_a_responder_raises(error: Exception, status: int) -> None:
    def respond(_: Request) -> Answer:
        raise error

    answer = Application(Streaming(respond), LIMITS).answer("POST", "/invocations", {}, BODY)
    assert answer.status == status
