"""Endpoint tests that test: what a staging endpoint must answer before production is even planned.

They go through the gateway as a client would, so that routing, contract and model are tested together. Every
check gives a result, also when it cannot be carried out; none stops the others. A package that a build made
is asked all that its manifest promises; any other version is asked its samples.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import httpx

from configs.endpoints import Case, EndpointTests
from deploy.asking import Caller, Check, CheckFailed, expect_ok, model_status, refusal
from deploy.sampled import of_samples
from steps.samples import Sample

VARIANT = "x-Amzn-Invoked-Production-Variant"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One question and what came back."""

    name: str
    passed: bool
    detail: str
    """What was found; for a failure, what was expected too."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """The package's own request with the predictions recorded when it was made."""

    columns: tuple[str, ...]
    """Names of the inputs in model order."""
    rows: tuple[Mapping[str, Any], ...]
    predictions: tuple[Mapping[str, Any], ...]
    required: tuple[str, ...] = ()
    """Inputs that must not be missing."""
    numeric: tuple[str, ...] = ()


def run(
    url: str,
    variant: str,
    asked: SampleRequest | Sequence[Sample],
    tests: EndpointTests,
    client: httpx.Client | None = None,
) -> tuple[CheckResult, ...]:
    """Carry out every test against `POST {url}`.

    Args:
        url: the endpoint's invocation address at the gateway.
        variant: the variant that must answer.
        asked: the package's sample request, or samples of any shape, at least one.
        tests: latency budget, tolerance and the user's cases.
        client: an HTTP client to use; a new one when not given.
    """
    with client or httpx.Client(timeout=70) as http:
        caller = Caller(http, url)
        if isinstance(asked, SampleRequest):
            requests = [Sample("row", _json([row])) for row in asked.rows]
            first, own = Sample("rows", _json(asked.rows[:1])), _of_package(caller, asked, tests)
        else:
            requests, first, own = list(asked), asked[0], of_samples(caller, asked, tests)
        checks: list[Check] = [
            ("answers", lambda: _answers(caller, variant, first)),
            *own,
            *((f"case {case.name}", _case(caller, case)) for case in tests.cases),
            ("latency budget", lambda: _latency(caller, requests, tests)),
        ]
        return tuple(_result(name, check) for name, check in checks)


def _of_package(caller: Caller, sample: SampleRequest, tests: EndpointTests) -> list[Check]:
    """What a manifest promises."""
    return [
        ("recorded predictions, JSON", lambda: _recorded_json(caller, sample, tests.tolerance)),
        ("recorded predictions, CSV", lambda: _recorded_csv(caller, sample, tests.tolerance)),
        *((f"refuses {name}", _refusal(caller, *request)) for name, request in _bad_requests(sample)),
    ]


def _result(name: str, check: Callable[[], str]) -> CheckResult:
    start = perf_counter()
    try:
        detail, passed = check(), True
    except CheckFailed as failure:
        detail, passed = str(failure), False
    except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
        detail, passed = f"{type(error).__name__}: {error}", False
    return CheckResult(name, passed, detail, round(perf_counter() - start, 3))


def _answers(caller: Caller, variant: str, sample: Sample) -> str:
    answer = caller.ask(sample)
    expect_ok(answer)
    if answer.headers.get(VARIANT) != variant:
        raise CheckFailed(f"{VARIANT} is {answer.headers.get(VARIANT)!r}, expected {variant!r}")
    if not answer.headers.get("x-amzn-RequestId"):
        raise CheckFailed("the answer carries no x-amzn-RequestId")
    return f"variant {variant} answers"


def _recorded_json(caller: Caller, sample: SampleRequest, tolerance: float) -> str:
    answer = caller.send(_json(sample.rows), accept="application/json")
    expect_ok(answer)
    return _compare(answer.json()["predictions"], sample.predictions, tolerance)


def _recorded_csv(caller: Caller, sample: SampleRequest, tolerance: float) -> str:
    lines = [",".join(_cell(row.get(name)) for name in sample.columns) for row in sample.rows]
    answer = caller.send("\n".join(lines).encode(), "text/csv", "text/csv")
    expect_ok(answer)
    found = [line.split(",") for line in answer.text.strip().splitlines()]
    expected = [_cells(prediction) for prediction in sample.predictions]
    return _compare_cells(found, expected, tolerance)


def _cells(prediction: Mapping[str, Any]) -> list[Any]:
    label = [prediction["predicted_label"]] if "predicted_label" in prediction else []
    return [*label, *(prediction["scores"] if "scores" in prediction else [prediction["score"]])]


def _compare(found: Sequence[Any], expected: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    return _compare_cells([_cells(row) for row in found], [_cells(row) for row in expected], tolerance)


def _compare_cells(
    found: Sequence[Sequence[Any]], expected: Sequence[Sequence[Any]], tolerance: float
) -> str:
    if len(found) != len(expected):
        raise CheckFailed(f"{len(found)} predictions for {len(expected)} rows")
    largest = 0.0
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        if len(one) != len(other):
            raise CheckFailed(f"row {number}: {len(one)} values, expected {len(other)}")
        for left, right in zip(one, other, strict=True):
            largest = max(largest, _difference(left, right, number))
    if largest > tolerance:
        raise CheckFailed(
            f"predictions differ from the recorded ones by {largest:.3g}, allowed {tolerance:g}"
        )
    return f"{len(found)} rows, largest difference {largest:.2g}"


def _difference(found: Any, expected: Any, row: int) -> float:
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return abs(float(found) - float(expected))
    if str(found) != str(expected):
        raise CheckFailed(f"row {row}: {found!r}, expected {expected!r}")
    return 0.0


def _bad_requests(sample: SampleRequest) -> Iterable[tuple[str, tuple[bytes, str]]]:
    good = dict(sample.rows[0])
    yield "a body that is not JSON", (b"{", "application/json")
    yield "an empty body", (b"", "application/json")
    yield "an unknown content type", (b"?", "application/x-unheard-of")
    if sample.numeric:
        bad = {**good, sample.numeric[0]: "not a number"}
        yield f"text in {sample.numeric[0]}", (_json([bad]), "application/json")
    if sample.required:
        lacking = {name: value for name, value in good.items() if name != sample.required[0]}
        yield f"a request without {sample.required[0]}", (_json([lacking]), "application/json")


def _refusal(caller: Caller, body: bytes, content_type: str) -> Callable[[], str]:
    return refusal(caller, Sample("", body, content_type))


def _case(caller: Caller, case: Case) -> Callable[[], str]:
    def check() -> str:
        body = case.body.encode() if isinstance(case.body, str) else json.dumps(case.body).encode()
        answer = caller.send(body, case.content_type)
        status = model_status(answer)
        if status != case.status:
            raise CheckFailed(f"status {status}, expected {case.status}: {answer.text[:200]}")
        if case.contains is not None and case.contains not in answer.text:
            raise CheckFailed(f"{case.contains!r} does not occur in: {answer.text[:200]}")
        return f"{status}"

    return check


def _latency(caller: Caller, requests: Sequence[Sample], tests: EndpointTests) -> str:
    budget = tests.latency

    def timed(number: int) -> tuple[float, bool]:
        start = perf_counter()
        answer = caller.ask(requests[number % len(requests)])
        return perf_counter() - start, answer.status_code == 200

    with ThreadPoolExecutor(budget.concurrency) as pool:
        times = sorted(pool.map(timed, range(budget.requests)))
    failed = sum(not good for _, good in times)
    if failed:
        raise CheckFailed(f"{failed} of {budget.requests} requests failed")
    p50, p99 = (times[min(len(times) - 1, math.ceil(q * len(times)) - 1)][0] * 1000 for q in (0.5, 0.99))
    found = (
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms over {budget.requests} requests, {budget.concurrency} at a time"
    )
    allowed = budget.p99.total_seconds() * 1000
    if p99 > allowed:
        raise CheckFailed(f"{found}; p99 may take {allowed:g} ms")
    return found


def _json(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps({"instances": list(rows)}).encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n') else text
