"""Endpoint tests of a version whose answers may have any shape: status, type, sameness, expected answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from configs.endpoints import EndpointTests
from deploy.asking import Caller, Check, CheckFailed, expect_ok, refusal
from steps.samples import Differs, Sample, difference


def of_samples(caller: Caller, samples: Sequence[Sample], tests: EndpointTests) -> list[Check]:
    """What can be asked of answers of any shape."""
    checks: list[Check] = []
    for sample in samples:
        checks.append((f"sample {sample.name}", _expected(caller, sample, tests.tolerance)))
        if sample.deterministic:
            checks.append((f"sample {sample.name} again", _repeated(caller, sample, tests.tolerance)))
    if chosen := next((one for one in samples if one.target_model), None):
        unknown = replace(chosen, target_model="there-is/no-such-model.tar.gz")
        checks.append(("refuses an unknown target model", refusal(caller, unknown)))
        checks.append(
            (
                "refuses a request without a target model",
                refusal(caller, replace(chosen, target_model="")),
            )
        )
    return checks


def _expected(caller: Caller, sample: Sample, tolerance: float) -> Callable[[], str]:
    """Status and content type, and the expected answer where there is one."""

    def check() -> str:
        answer = caller.ask(sample)
        expect_ok(answer)
        found, known = _media(answer.headers.get("content-type", "")), _media(sample.answer_type)
        if known and found != known:
            raise CheckFailed(f"content type {found or 'is missing'}, expected {known}")
        if not known and not _accepted(found, sample.accept):
            raise CheckFailed(f"content type {found or 'is missing'}, asked for {sample.accept or 'any'}")
        if sample.answer is None:
            return f"{len(answer.content)} bytes of {found}"
        return f"{found}, {_near(answer.content, sample.answer, found, tolerance)}"

    return check


def _repeated(caller: Caller, sample: Sample, tolerance: float) -> Callable[[], str]:
    """The same request gets the same answer."""

    def check() -> str:
        first, again = caller.ask(sample), caller.ask(sample)
        expect_ok(first)
        expect_ok(again)
        kind = first.headers.get("content-type", "")
        return _near(again.content, first.content, kind, tolerance)

    return check


def _near(found: bytes, expected: bytes, kind: str, tolerance: float) -> str:
    try:
        largest = difference(found, expected, kind)
    except Differs as error:
        raise CheckFailed(str(error)) from error
    if largest > tolerance:
        raise CheckFailed(f"numbers differ by {largest:.3g}, allowed {tolerance:g}")
    return f"largest difference {largest:.2g}"


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _accepted(found: str, accept: str) -> bool:
    """Whether an answer's type is among those asked for; wildcards take any."""
    wanted = {_media(one) for one in accept.split(",") if one.strip()}
    return bool(found) and (not wanted or found in wanted or any("*" in one for one in wanted))
