"""How an endpoint is asked in its tests, and how an answer is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx

from steps.samples import Sample

ORIGINAL = "OriginalStatusCode"
Check = tuple[str, Callable[[], str]]
"""Name of a question, and how to ask it; it returns what was found."""


class CheckFailed(Exception):
    """The answer is not what it must be; the message says what was expected and found."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Sends requests to one endpoint."""

    http: httpx.Client
    url: str
    """The endpoint's invocation address."""

    def send(
        self, body: bytes, content_type: str = "application/json", accept: str = "*/*"
    ) -> httpx.Response:
        """The answer to a body."""
        return self.ask(Sample("", body, content_type, accept))

    def ask(self, sample: Sample) -> httpx.Response:
        """The answer to a sample; whether it is the expected one is for the caller to say."""
        return self.http.post(self.url, content=sample.body, headers=sample.headers)


def refusal(caller: Caller, sample: Sample) -> Callable[[], str]:
    """A check that the model itself refuses a request with a 4xx."""

    def check() -> str:
        answer = caller.ask(sample)
        status = model_status(answer)
        if not 400 <= status < 500:
            raise CheckFailed(f"the model answered {status}, expected a 4xx")
        return f"{status}"

    return check


def model_status(answer: httpx.Response) -> int:
    """The status the model itself gave; the gateway wraps failures in 424."""
    if answer.status_code == 424:
        return int(answer.json()[ORIGINAL])
    return answer.status_code


def expect_ok(answer: httpx.Response) -> None:
    """Raise CheckFailed unless the status is 200."""
    if answer.status_code != 200:
        raise CheckFailed(f"status {answer.status_code}: {answer.text[:300]}")
