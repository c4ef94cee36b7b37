"""Malformed headers and bodies: no answer is a 5xx, none is missing, and the next good request is served."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import package
from serving.asynchronous import admission
from tests.fakes.container import Container
from tests.integration.test_asynchronous import Service
from tests.integration.test_serverless import Endpoint, serverless
from tests.multiplier import multiplier

pytestmark = pytest.mark.integration
SECONDS = 20
FEW = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

line = st.binary(max_size=80).map(lambda text: re.sub(rb"[\r\n]", b" ", text))
"""Any bytes that stay in one header line."""
words = st.sampled_from(
    [
        *(
            b"s3://local/in",
            b"s3://b",
            b"https://b/k",
            b"s3://local/../../etc/passwd",
            b"s3://local/\xff\xfe",
        ),
        *(b"", b"0", b"-1", b"60", b"1e3", b"\xd9\xa3600", b"21600", b"a.b", b"..", b"a/../b", b"\xc3\xa9"),
        *(b"application/json", b"text/csv; header=", b"*/*", b"x" * 1100, b'"', b"\x00", b"\x7f"),
    ]
)
values = st.one_of(line, words)
lengths = st.sampled_from(
    [None, b"0", b"-1", b"+3", b"3, 3", b"0x3", b"1e3", b"99999999999999999999", b"\xb2"]
)


def names(*known: str) -> st.SearchStrategy[bytes]:
    usual = (
        "content-type",
        "accept",
        "accept-encoding",
        "content-encoding",
        "expect",
        "te",
        "cookie",
        "range",
    )
    return st.sampled_from([one.encode() for one in (*known, *usual)])


def calls(paths: list[bytes], *known: str) -> st.SearchStrategy[tuple[bytes, bytes]]:
    """Head and body of a request whose length is mostly right."""
    lines = st.lists(st.tuples(names(*known), values), max_size=6)
    bodies = st.one_of(
        st.binary(max_size=300), st.sampled_from([b"{}", b"[[", b'{"instances": [[1]]}', b"\xff"])
    )
    methods = st.sampled_from([b"POST", b"POST", b"POST", b"GET", b"PUT", b"HEAD", b"BREW"])
    return st.builds(_call, methods, st.sampled_from(paths), lines, bodies, lengths)


def _call(
    method: bytes, path: bytes, lines: list[tuple[bytes, bytes]], body: bytes, length: bytes | None
) -> tuple[bytes, bytes]:
    given = str(len(body)).encode() if length is None else length
    head = [method + b" " + path + b" HTTP/1.1", b"host: x", b"content-length: " + given]
    return b"\r\n".join([*head, *(name + b": " + value for name, value in lines), b"", b""]), body


def status(port: int, call: tuple[bytes, bytes]) -> int:
    """What a server answers, 0 when it closes without a word; fails when it does neither."""
    head, body = call
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head + body)
            if b"content-length: %d\r\n" % len(body) not in head:
                connection.shutdown(socket.SHUT_WR)  # nobody needs to wait for the rest of a body
            if found := _STATUS.match(connection.recv(64)):
                return int(found[1])
    return 0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Container() as container:
        running = Service(tmp_path_factory.mktemp("async"), container.url)
        running.configure()
        running.start()
        yield running
        running.kill()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("model")
    archive, digest = multiplier(folder / "model", 3.0)
    with serverless(
        package.unpack(archive, folder / "unpacked", digest), provisioned_concurrency=1
    ) as running:
        running.until_warm(1)
        yield running


_ASYNC = [
    *(b"/endpoints/late/async-invocations", b"/endpoints/late/async-invocations", b"/ping", b"/metrics"),
    *(b"/endpoints/%00/async-invocations", b"/endpoints/" + b"x" * 200 + b"/async-invocations", b"/%ff"),
    *(
        b"/endpoints/..%2f..%2fhome/async-invocations",
        b"/async/endpoints/%E9/backlog",
        b"*",
        b"//",
        b"/?\xff",
    ),
]


@given(
    call=calls(
        _ASYNC,
        *(admission.CONTENT_TYPE, admission.ACCEPT, admission.INPUT_LOCATION, admission.EXTENSION),
        *(admission.FILENAME, admission.TTL, admission.TIMEOUT, admission.CALL),
        *(admission.INFERENCE_ID, admission.CUSTOM_ATTRIBUTES),
    )
)
@FEW
def test_the_asynchronous_service_answers_anything(service: Service, call: tuple[bytes, bytes]) -> None:
    assert status(service.port, call) < 500
    good = _call(b"POST", _ASYNC[0], [], b"fine", None)
    assert status(service.port, good) == 202


@pytest.mark.parametrize("name", [*sorted(admission._PATTERNS), admission.CALL, admission.TTL])
@pytest.mark.parametrize("value", [b"\xff\xfe", b"s3://b/\xff", b"\xc3\xa9", b"\x85", b"x" * 5000])
def test_no_header_breaks_the_queue(service: Service, name: str, value: bytes) -> None:
    body = b"" if name == admission.INPUT_LOCATION else b"fine"
    assert status(service.port, _call(b"POST", _ASYNC[0], [(name.encode(), value)], body, None)) in {202, 400}


_SERVERLESS = [
    *(
        b"/invocations",
        b"/invocations",
        b"/ping",
        b"/metrics",
        b"/v2",
        b"/v2/models/m",
        b"/v2/models/m/infer",
    ),
    *(
        b"/v2/models/%ff/ready",
        b"/v2/models/m/versions/1/infer",
        b"/invocations-response-stream",
        b"//",
        b"/\xff",
    ),
]


@given(
    call=calls(
        _SERVERLESS,
        *(
            "x-amzn-sagemaker-custom-attributes",
            "x-amzn-sagemaker-inference-id",
            "inference-header-content-length",
        ),
        *("x-amzn-sagemaker-accept", "x-amzn-sagemaker-target-model", "x-amzn-sagemaker-enable-explanations"),
    )
)
@FEW
def test_the_activator_answers_anything(endpoint: Endpoint, call: tuple[bytes, bytes]) -> None:
    assert status(endpoint.port, call) < 500
    rows = json.dumps([[2.0]]).encode()
    good = _call(b"POST", b"/invocations", [(b"content-type", b"application/json")], rows, None)
    assert status(endpoint.port, good) == 200
