"""Endpoint tests of versions whose answers have any shape: each fault fails the test meant for it."""

import json

import httpx
import pytest

from configs.endpoints import EndpointTests
from deploy.checks import run
from steps.samples import Sample

TESTS = EndpointTests.model_validate(
    {"latency": {"requests": 6, "concurrency": 2, "p99": "5s"}, "tolerance": 1e-3}, strict=False
)
PLAIN = (
    Sample("late", b'{"minutes": [30, -90]}', answer=b'{"late": [true, false], "score": [0.9, 0.1]}'),
    Sample("free", b"hello", "text/plain", "text/plain", deterministic=False),
)
MANY = tuple(
    Sample(name, b"[1]", target_model=f"{name}.tar.gz", answer=b'{"model": "%s"}' % name.encode())
    for name in ("up", "down")
)


class Endpoint:
    """A gateway with a model that knows both; `fault` names what it gets wrong."""

    def __init__(self, fault=""):
        self.fault, self.calls = fault, 0

    def __call__(self, request):
        self.calls += 1
        status, kind, body = self.answer(request)
        headers = {"x-Amzn-Invoked-Production-Variant": "v1", "x-amzn-RequestId": "1", "content-type": kind}
        if status != 200:
            wrapped = {"OriginalStatusCode": status, "OriginalMessage": body}
            return httpx.Response(424, json=wrapped, headers={**headers, "content-type": "application/json"})
        return httpx.Response(200, text=body, headers=headers)

    def answer(self, request):
        target = request.headers.get("x-amzn-sagemaker-target-model")
        if request.content == b"[1]":
            known = (target or "").removesuffix(".tar.gz")
            if known not in {"up", "down"} and self.fault != "unknown model":
                return (404 if target else 400), "application/json", "no such model"
            return 200, "application/json", json.dumps({"model": known})
        if request.content == b"hello":
            return 200, "text/html" if self.fault == "free type" else "text/plain", f"hi {self.calls}"
        if self.fault == "status":
            return 500, "application/json", "broken"
        kind = "text/csv" if self.fault == "type" else "application/json; charset=utf-8"
        late = self.fault == "answer"
        drift = {"drift": 0.01, "noise": self.calls}.get(self.fault, 1e-5)
        return 200, kind, json.dumps({"score": [0.9, 0.1 + drift], "late": [True, late]})


def failed(fault, samples=PLAIN):
    client = httpx.Client(transport=httpx.MockTransport(Endpoint(fault)))
    found = run("http://gateway/endpoints/any/invocations", "v1", samples, TESTS, client)
    return [result.name for result in found if not result.passed]


def test_what_answers_as_expected_passes():
    assert failed("") == []
    assert failed("", MANY) == []


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("status", ["answers", "sample late", "sample late again", "latency budget"]),
        ("answer", ["sample late"]),
        ("drift", ["sample late"]),
        ("noise", ["sample late", "sample late again"]),
        ("free type", ["sample free"]),
    ],
)
def test_each_fault_fails_the_test_meant_for_it(fault, names):
    assert failed(fault) == names


def test_the_content_type_is_the_one_that_was_registered():
    known = (Sample("late", PLAIN[0].body, answer=PLAIN[0].answer, answer_type="application/json"),)
    assert failed("", known) == []
    assert failed("type", known) == ["sample late"]


def test_a_target_model_that_is_none_must_be_refused():
    names = ["refuses an unknown target model", "refuses a request without a target model"]
    assert failed("unknown model", MANY) == names
