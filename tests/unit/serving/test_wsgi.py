from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from serving import eventstream, wsgi
from serving.app import Limits
from serving.errors import ModelFailed, RequestRefused
from serving.handlers.byo import ByoResponder, wsgi_environ
from serving.responder import Answer, Request
from serving.wsgi import WsgiApplication


class Echo:
    """Answers with what it was asked."""

    execution_parameters: Mapping[str, object] = {"MaxPayloadInMB": 1}

    def respond(self, request: Request) -> Answer:
        if request.body == b"refuse":
            raise RequestRefused("no", field="a", row=2)
        if request.body == b"stream":
            return Answer(200, content_type="text/plain", stream=iter([b"a", b"b"]))
        seen = f"{request.content_type}|{request.accept}|{request.headers.get('x-trace')}|".encode()
        return Answer(200, seen + request.body, "text/plain", (("x-mine", "1"),))


def call(
    app: Any, method: str, path: str, body: bytes = b"", **lines: str
) -> tuple[str, dict[str, str], bytes]:
    started: list[Any] = []
    request = Request(body, lines.pop("kind", ""), lines.pop("accept", ""), lines)
    parts = app(wsgi_environ(method, path, request), lambda *given: started.extend(given))
    return started[0], dict(started[1]), b"".join(parts)


@pytest.fixture
def app() -> WsgiApplication:
    return WsgiApplication(Echo(), Limits(payload=1000))


def test_answers_as_the_contract_says(app: WsgiApplication) -> None:
    assert call(app, "GET", "/ping") == ("200 OK", {"content-length": "0"}, b"")
    status, lines, body = call(
        app, "POST", "/invocations", b"x", kind="text/csv", accept="a/b", **{"x-trace": "7"}
    )
    assert (status, body) == ("200 OK", b"text/csv|a/b|7|x")
    assert lines == {"content-type": "text/plain", "x-mine": "1", "content-length": str(len(body))}
    assert call(app, "GET", "/execution-parameters")[2] == b'{"MaxPayloadInMB":1}'


def test_refuses_as_the_model_server_does(app: WsgiApplication) -> None:
    assert call(app, "GET", "/elsewhere")[0::2] == ("404 Not Found", b"{}")
    assert call(app, "GET", "/invocations")[0].startswith("405")
    assert call(app, "POST", "/invocations", b"x" * 1001)[0].startswith("413")
    assert call(app, "POST", "/invocations", b"refuse")[2] == b'{"error":"no","field":"a","row":2}'


def test_streams_have_no_length(app: WsgiApplication) -> None:
    _, lines, body = call(app, "POST", "/invocations", b"stream")
    assert (lines, body) == ({"content-type": "text/plain"}, b"ab")


def test_body_in_chunks_is_read_to_its_end(app: WsgiApplication) -> None:
    environ = wsgi_environ("POST", "/invocations", Request(b""))
    del environ["CONTENT_LENGTH"]
    environ |= {"wsgi.input": io.BytesIO(b"x" * 10), "HTTP_TRANSFER_ENCODING": "chunked"}
    assert b"".join(app(environ, lambda *_: None)).endswith(b"|xxxxxxxxxx")


def test_the_module_makes_nothing_but_app() -> None:
    with pytest.raises(AttributeError, match="other"):
        wsgi.other  # noqa: B018


def test_an_application_that_never_gets_ready_is_refused() -> None:
    def broken(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("500 Internal Server Error", [])
        return [b"no model.pkl"]

    with pytest.raises(ModelFailed, match=r"500: no model\.pkl"):
        ByoResponder(broken, {}).await_ready(10)


def test_an_application_may_load_for_a_while() -> None:
    codes = iter(["503 Busy", "200 OK"])

    def slow(_environ: Any, start_response: Any) -> list[bytes]:
        start_response(next(codes), [])
        return [b""]

    ByoResponder(slow, {}).await_ready(10)


def test_an_application_is_asked_again_and_again_whether_it_is_ready() -> None:
    said = ["200 OK"]

    def changing(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(said[0], [])
        yield b"gone"
        if said[0] == "200 Broken":
            raise OSError("no disk")

    served = ByoResponder(changing, {})
    assert served.unready() == ()
    said[0] = "404 Not Found"
    assert served.unready() == ("/ping of the application answers 404: gone",)
    said[0] = "200 Broken"
    assert served.unready() == ("/ping of the application fails: no disk",)
    said[0] = "200 OK"
    assert served.unready() == ()


def test_an_application_that_answers_is_not_asked_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.handlers.byo._PATIENCE", 0.001)
    asked = []

    def nested(environ: Any, start_response: Any) -> list[bytes]:
        asked.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Length", "0")])
        if environ["PATH_INFO"] == "/invocations":
            assert served.unready() == ()
        return []

    served = ByoResponder(nested, {})
    assert served.respond(Request(b"")).status == 200
    assert asked == ["/invocations"]


def test_an_application_s_stream_stays_one() -> None:
    closed = []

    class Parts:
        def __iter__(self) -> Iterator[bytes]:
            yield from (b"a", b"b")

        def close(self) -> None:
            closed.append(True)

    def streaming(_environ: Any, start_response: Any) -> Parts:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close"), ("X-Mine", "1")])
        return Parts()

    answer = ByoResponder(streaming, {}).respond(Request(b""))
    assert answer.stream is not None
    assert (answer.content_type, answer.headers) == ("text/plain", (("x-mine", "1"),))
    assert not closed
    assert list(answer.stream) == [b"a", b"b"]
    assert closed == [True]


def test_an_application_that_raises_is_the_model_s_failure() -> None:
    def raising(_environ: Any, _start_response: Any) -> list[bytes]:
        raise KeyError("weights")

    with pytest.raises(ModelFailed, match="KeyError"):
        ByoResponder(raising, {}).respond(Request(b""))


class Many(Echo):
    """Tells which path it is managed by."""

    def lane(self, _path: str, _headers: Mapping[str, str]) -> int:
        return 0

    def manage(self, method: str, path: str, _headers: Mapping[str, str], _body: bytes) -> Answer | None:
        return Answer(200, f"{method} {path}".encode()) if path.startswith("/models") else None


class Kept:
    """Remembers what it is offered."""

    def __init__(self) -> None:
        self.offered: list[Any] = []

    def offer(self, exchange: Any) -> None:
        self.offered.append(exchange)

    @property
    def outcomes(self) -> list[tuple[int, str | None]]:
        return [(one.outcome.status, one.missing) for one in self.offered]


class Breaking(Echo):
    """Breaks off in the middle."""

    def respond(self, request: Request) -> Answer:
        def parts() -> Iterator[bytes]:
            yield b"half"
            raise ValueError("weights")

        return Answer(200, content_type="text/plain", stream=parts())


def recorded(responder: Any) -> tuple[WsgiApplication, Kept]:
    kept: Any = Kept()
    return WsgiApplication(responder, Limits(payload=1000), kept), kept


def test_answers_as_an_event_stream() -> None:
    app, kept = recorded(Echo())
    status, lines, body = call(
        app, "POST", "/invocations-response-stream", b"x", **{"x-amzn-sagemaker-accept": "a/b"}
    )
    assert (status, lines["content-type"]) == ("200 OK", "application/vnd.amazon.eventstream")
    assert lines["x-amzn-sagemaker-content-type"] == "text/plain"
    assert [frame.payload for frame in eventstream.decode(body)] == [b"|a/b|None|x"]
    _, _, body = call(app, "POST", "/invocations-response-stream", b"stream")
    assert [frame.payload for frame in eventstream.decode(body)] == [b"a", b"b"]
    assert kept.outcomes == [(200, "streamed")] * 2


def test_an_event_stream_that_breaks_off_says_so_and_counts_as_a_failure() -> None:
    app, kept = recorded(Breaking())
    status, _, body = call(app, "POST", "/invocations-response-stream", b"x")
    half, last = eventstream.decode(body)
    assert (status, half.payload) == ("200 OK", b"half")
    assert (":exception-type", "ModelStreamError") in last.headers
    assert kept.outcomes == [(500, "failed")]


def test_a_refused_event_stream_is_an_ordinary_answer() -> None:
    app, kept = recorded(Echo())
    status, lines, _ = call(app, "POST", "/invocations-response-stream", b"refuse")
    assert (status, lines["content-type"]) == ("400 Bad Request", "application/json")
    assert kept.outcomes == [(400, "failed")]


def test_what_the_model_was_never_asked_is_no_outcome() -> None:
    app, kept = recorded(Echo())
    assert call(app, "GET", "/invocations-response-stream")[0].startswith("405")
    assert call(app, "GET", "/invocations")[0].startswith("405")
    assert call(app, "GET", "/ping")[0] == "200 OK"
    assert kept.offered == []


def test_the_list_of_models_is_paged_by_its_query() -> None:
    app = WsgiApplication(Many(), Limits())
    environ = wsgi_environ("GET", "/models", Request(b"")) | {"QUERY_STRING": "next_page_token=YQ%3D%3D"}
    assert b"".join(app(environ, lambda *_: None)) == b"GET /models?next_page_token=YQ%3D%3D"
    environ = wsgi_environ("GET", "/models/a", Request(b"")) | {"QUERY_STRING": "x=1"}
    assert b"".join(app(environ, lambda *_: None)) == b"GET /models/a"
    environ = wsgi_environ("POST", "/invocations", Request(b"x")) | {"QUERY_STRING": "x=1"}
    assert b"".join(app(environ, lambda *_: None)).endswith(b"|x")
