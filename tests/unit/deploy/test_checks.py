"""The endpoint tests find what is wrong: a good endpoint passes all, each fault fails the test meant for it."""

import json

import httpx
import pytest

from configs.endpoints import EndpointTests
from deploy.checks import SampleRequest, run

SAMPLE = SampleRequest(
    columns=("delay", "carrier"),
    rows=({"delay": 1.0, "carrier": "UA"}, {"delay": None, "carrier": 'a "quoted", one'}),
    predictions=({"predicted_label": 1, "score": 0.75}, {"predicted_label": 0, "score": 0.25}),
    required=("carrier",),
    numeric=("delay",),
)
TESTS = {"latency": {"requests": 20, "concurrency": 2, "p99": "5s"}}


class Endpoint:
    """A well-behaved gateway and model; `fault` names what it gets wrong."""

    def __init__(self, fault=""):
        self.fault = fault

    def __call__(self, request):
        status, body = self.answer(request)
        headers = {"x-Amzn-Invoked-Production-Variant": "v1" if self.fault == "variant" else "v2"}
        if self.fault != "request id":
            headers["x-amzn-RequestId"] = "1"
        if status != 200:
            wrapped = {"OriginalStatusCode": status, "OriginalMessage": body, "Message": body}
            return httpx.Response(424, json=wrapped, headers=headers)
        return httpx.Response(200, text=body, headers=headers)

    def answer(self, request):
        kind = request.headers["content-type"]
        if kind not in {"application/json", "text/csv"}:
            return (200 if self.fault == "content type" else 415), "unsupported"
        if kind == "text/csv":
            return 200, "1,0.75\n0,0.5\n" if self.fault == "csv" else "1,0.75\n0,0.25\n"
        try:
            rows = json.loads(request.content)["instances"]
        except ValueError:
            return (500 if self.fault == "bad json" else 400), "not JSON"
        if any(isinstance(row.get("delay"), str) for row in rows) and self.fault != "schema":
            return 400, "delay must be a number"
        if any("carrier" not in row for row in rows):
            return 400, "carrier is missing"
        return 200, json.dumps({"predictions": self.predictions(len(rows))})

    def predictions(self, count):
        drift = 0.01 if self.fault == "drift" else 0.0
        made = [{**p, "score": p["score"] + drift} for p in SAMPLE.predictions[:count]]
        return made[:-1] if self.fault == "rows" else made


def results(fault="", **tests):
    client = httpx.Client(transport=httpx.MockTransport(Endpoint(fault)))
    configured = EndpointTests.model_validate({**TESTS, **tests}, strict=False)
    return run("http://gateway/endpoints/late/invocations", "v2", SAMPLE, configured, client)


def failed(found):
    return [result.name for result in found if not result.passed]


def test_a_good_endpoint_passes_everything():
    found = results()
    assert failed(found) == []
    assert len(found) == 9


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("variant", ["answers"]),
        ("request id", ["answers"]),
        ("drift", ["recorded predictions, JSON"]),
        ("csv", ["recorded predictions, CSV"]),
        ("bad json", ["refuses a body that is not JSON", "refuses an empty body"]),
        ("content type", ["refuses an unknown content type"]),
        ("schema", ["refuses text in delay"]),
    ],
)
def test_each_fault_fails_the_test_meant_for_it(fault, names):
    assert failed(results(fault)) == names


def test_a_lost_prediction_is_found():
    assert "recorded predictions, JSON" in failed(results("rows"))


def test_an_endpoint_that_does_not_answer_fails_every_test_with_a_reason():
    def refuse(_request):
        raise httpx.ConnectError("refused")

    client = httpx.Client(transport=httpx.MockTransport(refuse))
    found = run("http://gateway/x", "v2", SAMPLE, EndpointTests(), client)
    assert not any(result.passed for result in found)
    assert all("refused" in result.detail for result in found)


def test_the_users_own_cases():
    body = {"instances": [{"delay": 1.0, "carrier": "UA"}]}
    good = {"name": "good", "body": body, "contains": '"predicted_label": 1'}
    text = {"name": "text", "body": body, "contains": "nowhere to be found"}
    status = {"name": "status", "body": body, "status": 400}
    refused = {"name": "refused", "body": {"instances": [{"delay": "x"}]}, "status": 400, "contains": "delay"}
    assert failed(results(cases=[good, text, status, refused])) == ["case text", "case status"]


def test_a_latency_budget_that_is_broken():
    found = results(latency={"requests": 5, "concurrency": 1, "p99": "0ms"})
    assert failed(found) == ["latency budget"]
    assert "may take 0 ms" in found[-1].detail
