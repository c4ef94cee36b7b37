"""One attempt at one request: input from the store to the endpoint, its answer into the staging file.

Neither is ever held as a whole: both pass in parts of a mebibyte.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson

from serving import contract
from serving.asynchronous.admission import INPUT_BYTES, Accepted
from serving.asynchronous.backlog import Outcome
from serving.asynchronous.configuration import SUCCESS, Configuration
from serving.asynchronous.errors import InputRefused, Interrupted, NoCapacity
from serving.asynchronous.metrics import Metrics
from serving.asynchronous.objects import MIB, Inline, Source, Stores
from serving.relay import Broken, ClientGone, Relay, Reply, Unreachable

PATH = "/async/endpoints/{endpoint}/invocations"
"""Where the gateway takes requests that may last an hour."""
FAILURE_BYTES = MIB
"""Most of a failing model's answer that is kept."""
MESSAGE_BYTES = 128 * 1024
"""Longest answer that a message carries."""
REASON = 2048
"""Most characters of a reason."""

_LATER = frozenset(
    ("ServiceUnavailable", "ThrottlingException", "ModelNotReadyException", "ThrottledException")
)
"""Error types by which a gateway says that no model has seen the request."""
_BROKEN = "InternalFailure"
"""Error type by which it says that an instance broke off."""


class ModelSaidNo(Exception):
    """The endpoint answered with a status other than 2xx."""

    def __init__(self, status: int, body: bytes, content_type: str) -> None:
        self.body, self.content_type = body, content_type
        super().__init__(_reason(status, body))


class Invoker:
    """Sends requests to their endpoints.

    Args:
        relay: connections to the gateway.
        stores: where inputs and answers are.
        metrics: counts and times.
        clock: seconds since 1970.
    """

    def __init__(self, relay: Relay, stores: Stores, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._relay = relay
        self._stores = stores
        self._metrics = metrics
        self._clock = clock

    async def answer(self, request: Accepted, configuration: Configuration | None, staging: Path) -> Outcome:
        """Bring the endpoint's answer into the staging file.

        Raises:
            NoCapacity: no instance saw the request.
            Interrupted: a connection or the disk failed half-way.
            InputRefused: there is no such input.
            ModelSaidNo: the model's own failure.
            TimeoutError: it took too long.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.timeout
        began = time.perf_counter()
        source = await asyncio.to_thread(self._open, request, configuration)
        self._metrics.took(request.endpoint, "RequestDownloadLatency", time.perf_counter() - began)
        sending, began = _Sending(source), time.perf_counter()
        try:
            async with self._relay.ask(
                "POST",
                PATH.format(endpoint=request.endpoint),
                _headers(request, source.length),
                sending.parts(),
                deadline,
            ) as reply:
                if not 200 <= reply.status < 300:
                    await _refuse(reply, deadline)
                await _keep(reply, staging, deadline)
            self._metrics.took(request.endpoint, "ModelLatency", time.perf_counter() - began)
        except Unreachable as error:
            raise NoCapacity(str(error)) from error
        except Broken as error:
            raise Interrupted(str(error)) from error
        except ClientGone as error:
            raise sending.problem or Interrupted("the input broke off") from error
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise Interrupted(f"the answer cannot be kept on this machine: {error.strerror}") from error
        finally:
            source.close()
        return await asyncio.to_thread(self._outcome, reply, configuration, staging)

    def _open(self, request: Accepted, configuration: Configuration | None) -> Source:
        if not request.input_location:
            return Inline(request.body)
        source = self._stores.of(request.input_location, configuration).open(request.input_location)
        if source.length > INPUT_BYTES:
            source.close()
            raise InputRefused(
                f"{request.input_location} is longer than {INPUT_BYTES} bytes; split the input"
            )
        return source

    def _outcome(self, reply: Reply, configuration: Configuration | None, staging: Path) -> Outcome:
        included = configuration is not None and SUCCESS in configuration.include_inference_response_in
        short = included and staging.stat().st_size <= MESSAGE_BYTES
        return Outcome(
            completed=True,
            at=self._clock(),
            content_type=reply.content_type,
            answer=staging.read_bytes() if short else None,
        )


class _Sending:
    """An input on its way; remembers why it broke off."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.problem: Exception | None = None

    async def parts(self) -> AsyncIterator[bytes]:
        left = self._source.length
        while left:
            try:
                part = await asyncio.to_thread(self._source.read, min(MIB, left))
            except Interrupted as error:
                self.problem = error
                raise ClientGone from error
            if not part:
                self.problem = Interrupted("the input became shorter while it was read")
                raise ClientGone
            left -= len(part)
            yield part


def _headers(request: Accepted, length: int) -> list[tuple[str, str]]:
    """A length rather than chunks: not every container takes a body of unknown length."""
    lines = {
        "content-length": str(length),
        "content-type": request.content_type,
        "accept": request.accept,
        contract.CUSTOM_ATTRIBUTES: request.custom_attributes,
        contract.INFERENCE_ID: request.inference_id,
    }
    return [(name, value) for name, value in lines.items() if value]


async def _refuse(reply: Reply, deadline: float) -> None:
    """Say what the endpoint's refusal means; its error type is the gateway's, which takes a model's off."""
    kept: list[bytes] = []
    async for part in reply.parts(deadline):
        kept.append(part)
        if sum(map(len, kept)) >= FAILURE_BYTES:
            break
    body = b"".join(kept)[:FAILURE_BYTES]
    kind = dict(reply.headers).get("x-amzn-errortype", "").partition(":")[0]
    if kind in _LATER:
        raise NoCapacity(_reason(reply.status, body))
    if kind == _BROKEN:
        raise Interrupted(_reason(reply.status, body))
    raise ModelSaidNo(reply.status, body, reply.content_type)


async def _keep(reply: Reply, staging: Path, deadline: float) -> None:
    """Write the answer and flush it to the disk."""
    with await asyncio.to_thread(staging.open, "wb", 0) as file:
        waiting: list[bytes] = []
        size = 0
        async for part in reply.parts(deadline):
            waiting.append(part)
            size += len(part)
            if size >= MIB:
                await asyncio.to_thread(_write, file, b"".join(waiting))
                waiting, size = [], 0
        await asyncio.to_thread(_write, file, b"".join(waiting))
        await asyncio.to_thread(os.fsync, file.fileno())


def _write(file: Any, content: bytes) -> None:
    """All of it: an unbuffered file may take less at a time."""
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]


def _reason(status: int, body: bytes) -> str:
    """One sentence; the gateway's own when it has one."""
    try:
        said = orjson.loads(body)
        message = said.get("Message") or said.get("message") or ""
    except (orjson.JSONDecodeError, AttributeError):
        message = ""
    if not isinstance(message, str) or not message:
        text = body[: REASON // 2].decode(errors="replace")
        message = f'the endpoint answered {status} with message "{text}"'
    return message[:REASON]
