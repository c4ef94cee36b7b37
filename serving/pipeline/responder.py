"""A chain of 2 to 15 stages as one model: the answer of each is the request of the next.

A stage is a folder in this process or the address of another one; what a caller sees is the same. The
caller's content type reaches the first stage, its `Accept` the last. The first failure ends the chain, and
the answer names the stage.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from serving import contract, several
from serving.answers import MIB, failure
from serving.environment import EnvironmentInvalid, wanted
from serving.errors import Permanent, RequestRefused, ServingError
from serving.pipeline.remote import HttpStage
from serving.pipeline.stages import Stage, read
from serving.responder import Answer, Request, Responder

TIMINGS = "x-seaway-stage-timings"
"""Header of the answer: milliseconds of each stage that ran, as in `Server-Timing`."""
HOP_LIMIT = "SEAWAY_MAX_HOP_PAYLOAD_IN_MB"
"""Variable: most MiB from one stage to the next, 5 when not set."""
LONGEST_MESSAGE = 2000
"""Characters of a failed stage's own text that are handed on."""

_OF_THE_BODY = frozenset({"content-type", "contenttype", "content-length", "content-encoding", "accept"})

log = logging.getLogger("serving")


class HopTooLarge(Permanent):
    """A stage answers with more than may go to the next one."""

    status = 413


@dataclass(frozen=True, slots=True)
class StageCounts:
    """What a stage has done since the server started."""

    calls: int = 0
    failures: int = 0
    seconds: float = 0.0
    """In all its calls."""

    def with_call(self, seconds: float, *, failed: bool) -> StageCounts:
        """The counts after one more call."""
        return StageCounts(self.calls + 1, self.failures + failed, self.seconds + seconds)


class PipelineResponder:
    """Asks its stages one after the other.

    Args:
        stages: names and responders, in order.
        hop_limit: most bytes from one stage to the next.
        accepts: by name, what a stage is asked for where the caller's `Accept` does not reach or is empty.
        clock: seconds, to time the stages.
    """

    def __init__(
        self,
        stages: Sequence[tuple[str, Responder]],
        *,
        hop_limit: int = 5 * MIB,
        accepts: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._stages = tuple(stages)
        self._hop_limit = hop_limit
        self._accepts = dict(accepts or {})
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = {name: StageCounts() for name, _ in self._stages}

    def respond(self, request: Request) -> Answer:
        """See `serving.responder.Responder.respond`; what fails is an answer that names the stage."""
        timings: list[str] = []
        failed: tuple[tuple[str, str], ...] = ()
        answer = Answer(200, request.body, request.content_type)
        for number, (name, _) in enumerate(self._stages):
            answer = self._timed(number, self._request(number, request, answer), timings)
            if not 200 <= answer.status < 300:
                log.info("stage %s failed with status %d", name, answer.status)
                failed = ((contract.STAGE, name),)
                break
        kept = tuple(line for line in answer.headers if line[0] not in (TIMINGS, contract.STAGE))
        return replace(answer, headers=(*kept, *failed, (TIMINGS, ", ".join(timings))))

    @property
    def stages(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(name for name, _ in self._stages)

    @property
    def counts(self) -> Mapping[str, StageCounts]:
        """What each stage has done, by name."""
        with self._lock:
            return dict(self._counts)

    @property
    def execution_parameters(self) -> Mapping[str, object]:
        """What every stage can bear; see `merged`."""
        return merged([stage.execution_parameters for _, stage in self._stages])

    def unready(self) -> tuple[str, ...]:
        """Why the pipeline cannot answer now: one sentence for each stage elsewhere that does not."""
        told: list[str] = []
        for name, stage in self._stages:
            problems = stage.unready() if isinstance(stage, HttpStage | PipelineResponder) else ()
            told.extend(f'stage "{name}": {problem}' for problem in problems)
        return tuple(told)

    def metrics(self) -> str:
        """Counters of all stages, in Prometheus' text format."""
        lines = []
        for metric, field in (("calls", "calls"), ("failures", "failures"), ("seconds", "seconds")):
            lines.append(f"# TYPE seaway_stage_{metric}_total counter")
            for name, counts in self.counts.items():
                lines.append(f'seaway_stage_{metric}_total{{stage="{name}"}} {getattr(counts, field):g}')
        return "\n".join(lines) + "\n"

    def _request(self, number: int, first: Request, before: Answer) -> Request:
        own = self._accepts.get(self._stages[number][0], "")
        accept = own
        if number == len(self._stages) - 1 and first.accept.strip() not in ("", "*/*"):
            accept = first.accept
        if number == 0:
            return replace(first, accept=accept, headers=_with(first.headers, accept))
        kept = {name: value for name, value in first.headers.items() if name not in _OF_THE_BODY}
        kept |= {"content-type": before.content_type} if before.content_type else {}
        return Request(before.body, before.content_type, accept, _with(kept, accept))

    def _timed(self, number: int, request: Request, timings: list[str]) -> Answer:
        began = self._clock()
        answer = self._answer(number, request)
        seconds = self._clock() - began
        name = self._stages[number][0]
        timings.append(
            f"{name};dur={seconds * 1000:.3g}" if seconds < 1 else f"{name};dur={seconds * 1000:.0f}"
        )
        with self._lock:
            failed = not 200 <= answer.status < 300
            self._counts[name] = self._counts[name].with_call(seconds, failed=failed)
        return answer

    def _answer(self, number: int, request: Request) -> Answer:
        """What the stage answers; an answer that names it where that is a failure."""
        name, stage = self._stages[number]
        where = f'stage "{name}" ({number + 1} of {len(self._stages)})'
        last = number == len(self._stages) - 1
        try:
            answer = stage.respond(request)
            if not 200 <= answer.status < 300:
                body = _cut(answer.body, answer.stream or (), 4 * LONGEST_MESSAGE)
                said = failure(answer.status, f"{where}: {_said(body, answer.status)}")
                return replace(said, headers=answer.headers)
            return answer if last else self._whole(answer)
        except RequestRefused as error:
            return failure(error.status, f"{where}: {error}", field=error.field, row=error.row)
        except ServingError as error:
            log.exception("%s failed", where)
            return failure(error.status, f"{where}: {error}")
        except Exception as error:
            log.exception("%s failed unexpectedly", where)
            return failure(500, f"{where}: {type(error).__name__}: {error}")

    def _whole(self, answer: Answer) -> Answer:
        """The answer in one piece, which the next stage may take."""
        body = answer.body
        if answer.stream is not None:
            body = _cut(b"", answer.stream, self._hop_limit + 1)
        if len(body) > self._hop_limit:
            raise HopTooLarge(
                f"its answer is longer than the {self._hop_limit / MIB:g} MB that may go from one stage to "
                f"the next; send fewer rows at a time, or set {HOP_LIMIT} higher"
            )
        return replace(answer, body=body, stream=None)


def load(folder: Path, environ: Mapping[str, str], load_one: several.Loader) -> PipelineResponder:
    """The pipeline of an unpacked folder with `pipeline.json`, every stage ready.

    Raises:
        ServingError: a stage cannot be loaded or reached; the message names it.
    """
    described = read(folder)
    timeout = wanted(environ, 1).timeout
    responders: list[tuple[str, Responder]] = []
    for number, stage in enumerate(described):
        last = number == len(described) - 1
        responders.append((stage.name, _load(folder, stage, environ, load_one, last=last, timeout=timeout)))
    accepts = {stage.name: stage.accept for stage in described if stage.accept}
    pipeline = PipelineResponder(responders, hop_limit=_hop_limit(environ), accepts=accepts)
    _await(pipeline, wanted(environ, 1).startup_timeout)
    return pipeline


def merged(parameters: Iterable[Mapping[str, object]]) -> dict[str, object]:
    """Parameters that all can bear: the smallest of each number, single records if one wants them."""
    found: dict[str, object] = {}
    for one in parameters:
        for name, value in one.items():
            there = found.get(name)
            if isinstance(value, int | float) and isinstance(there, int | float):
                found[name] = min(there, value)
            elif there is None or value == "SINGLE_RECORD":
                found[name] = value
    return found


def _load(
    root: Path,
    stage: Stage,
    environ: Mapping[str, str],
    load_one: several.Loader,
    *,
    last: bool,
    timeout: float,
) -> Responder:
    if stage.url:
        return HttpStage(stage.url, stage.timeout or timeout)
    # The default answer format is the caller's business: it holds for the last stage alone.
    own = {name: value for name, value in environ.items() if last or name != contract.DEFAULT_ACCEPT}
    try:
        return several.load(load_one, root / stage.folder, own)
    except ServingError as error:
        raise type(error)(f'stage "{stage.name}": {error}') from error


def _await(pipeline: PipelineResponder, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while problems := pipeline.unready():
        if time.monotonic() >= deadline:
            raise StagesUnready(f"{'; '.join(problems)}; start what is missing")
        time.sleep(0.1)


class StagesUnready(Permanent):
    """Stages in other processes did not come up in time; the message lists them all."""


def _hop_limit(environ: Mapping[str, str]) -> int:
    text = environ.get(HOP_LIMIT) or "5"
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < 1e6:
        raise EnvironmentInvalid(f"{HOP_LIMIT} is {text!r}; set it to a positive number")
    return max(1, int(size * MIB))


def _with(headers: Mapping[str, str], accept: str) -> dict[str, str]:
    kept = {name: value for name, value in headers.items() if name != "accept"}
    return {**kept, "accept": accept} if accept else kept


def _cut(begun: bytes, parts: Iterable[bytes], most: int) -> bytes:
    """The bytes of a body; of one that comes in parts no more than `most`, and then it is closed."""
    found = [begun]
    size = len(begun)
    for part in parts:
        found.append(part)
        size += len(part)
        if size >= most:
            break
    close = getattr(parts, "close", None)
    if close is not None:
        close()
    return b"".join(found)


def _said(body: bytes, status: int) -> str:
    """What a failed stage says, without the JSON around it."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    if isinstance(content, dict):
        for name in ("error", "message", "Message", "error-message"):
            if isinstance(content.get(name), str):
                return str(content[name])[:LONGEST_MESSAGE]
    text = body.decode("utf-8", "replace").strip()[:LONGEST_MESSAGE]
    return text or f"it answered with status {status}"
