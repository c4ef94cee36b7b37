"""An archive is tried before it becomes a version: a real model server, its samples, their answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from steps.errors import Permanent
from steps.samples import Differs, Sample, difference
from steps.transform.server import Server

if TYPE_CHECKING:
    import httpx

SERVE = ("-m", "serving", "--package", "{package}", "--port", "{port}")
SECONDS = 70.0
"""Most time for one answer."""


class TrialFailed(Permanent):
    """The archive does not answer as it should; the message names the sample."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One sample after its trial."""

    sample: Sample
    """With the answer that later answers are compared with."""
    expected: bool
    """Its answer was known before, and came back."""
    difference: float
    """Of numbers, from the expected answer or from call to call."""
    seconds: float
    """Of the second call."""


def run(
    folder: Path,
    wanted: Sequence[Sample],
    log: Path,
    *,
    tolerance: float,
    environment: Mapping[str, str] | None = None,
) -> tuple[Tried, ...]:
    """Serve a folder and send every sample twice.

    Args:
        folder: the unpacked archive; its code runs with the rights of this process.
        wanted: the samples.
        log: takes what the server says.
        tolerance: largest difference of numbers that counts as the same.
        environment: further variables of the server.

    Raises:
        TrialFailed: an answer is not the expected one, differs from call to call, or is an error.
        ServerFailed: it cannot be loaded; the message has the end of its log.
    """
    import httpx

    with (
        Server(SERVE, folder, dict(environment or {}), log) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=SECONDS, trust_env=False) as client,
    ):
        return tuple(_tried(client, one, tolerance) for one in wanted)


def _tried(client: httpx.Client, sample: Sample, tolerance: float) -> Tried:
    first = _ask(client, sample)
    began = time.perf_counter()
    again = _ask(client, sample)
    seconds = time.perf_counter() - began
    kind = first.headers.get("content-type", "")
    apart = 0.0
    if sample.deterministic:
        apart = _compared(sample, again.content, first.content, kind, tolerance, "the same request again")
    if sample.answer is not None:
        apart = _compared(sample, first.content, sample.answer, kind, tolerance, "the expected answer")
        return Tried(replace(sample, answer_type=kind), expected=True, difference=apart, seconds=seconds)
    kept = first.content if sample.deterministic else None
    return Tried(
        replace(sample, answer=kept, answer_type=kind), expected=False, difference=apart, seconds=seconds
    )


def _ask(client: httpx.Client, sample: Sample) -> httpx.Response:
    import httpx

    try:
        answer = client.post("/invocations", content=sample.body, headers=sample.headers)
    except httpx.HTTPError as error:
        raise TrialFailed(f"sample {sample.name}: no answer ({type(error).__name__}: {error})") from error
    if answer.status_code != 200:
        raise TrialFailed(f"sample {sample.name}: status {answer.status_code}: {answer.text[:500]}")
    return answer


def _compared(sample: Sample, found: bytes, other: bytes, kind: str, tolerance: float, what: str) -> float:
    advice = "; say deterministic: false in the samples file when that is meant" if "again" in what else ""
    try:
        apart = difference(found, other, kind)
    except Differs as error:
        raise TrialFailed(f"sample {sample.name}, {what}: {error}{advice}") from error
    if apart > tolerance:
        raise TrialFailed(
            f"sample {sample.name}, {what}: numbers differ by {apart:.3g}, allowed are {tolerance:g}{advice}"
        )
    return apart
