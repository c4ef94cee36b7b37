"""Answers that are sent part by part, each as soon as the model has made it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from serving import contract, eventstream
from serving.answers import failure, head, send, too_slow
from serving.connections import cut
from serving.errors import ModelFailed
from serving.lane import Lane
from serving.responder import Answer

log = logging.getLogger("serving")


def framed(answer: Answer, failed: Callable[[int], None]) -> Answer:
    """A successful answer as the event stream of `InvokeEndpointWithResponseStream`; others as they are.

    An error in the middle of the answer becomes the stream's last frame, and `failed` is told the status
    that it would have had as an ordinary answer.
    """
    if not 200 <= answer.status < 300:
        return answer
    parts = answer.stream if answer.stream is not None else iter([answer.body])
    named = (*answer.headers, (contract.STREAM_CONTENT_TYPE, answer.content_type))
    return Answer(
        answer.status, b"", eventstream.CONTENT_TYPE, named, eventstream.frames(_noticed(parts, failed))
    )


def _noticed(parts: Iterable[bytes], failed: Callable[[int], None]) -> Iterator[bytes]:
    try:
        yield from parts
    except Exception as error:
        failed(504 if isinstance(error, TimeoutError) else 500)
        raise


class Stream:
    """One streamed answer on its way.

    Parts are made on the lane, where all calls of the model are made. `seconds` is the time for each part,
    `kept` the number of bytes up to which the whole answer is remembered. With `events` these are frames of
    an event stream, whose last one tells of a failure.
    """

    def __init__(
        self, answer: Answer, lane: Lane, seconds: float, kept: int, *, events: bool = False
    ) -> None:
        self._answer = answer
        self._parts: Iterator[Any] = iter(answer.stream or ())
        self._lane = lane
        self._seconds = seconds
        self._kept = kept
        self._events = events
        self._memory: list[bytes] = []
        self.status = answer.status
        """How it went; of a stream that broke off, what a failure before its first part would have been."""
        self.left = False
        """The client has gone before the end."""

    async def send(self, protocol: Any, client: str, *, close: bool) -> Answer | None:
        """Send it all; returns the whole answer, None when it was not sent or was not remembered.

        What goes wrong before the first part is an ordinary answer. Later the connection is broken, so that
        no client takes a part for the whole.
        """
        try:
            part = await self._next()
        except Exception as error:  # noqa: BLE001 - the user's generator may raise anything
            refusal = self._refusal(error)
            self.status = refusal.status
            send(refusal, protocol, close=close)
            return None
        transport = protocol.response_stream(self._answer.status, head(self._answer, close=close))
        while part is not None:
            if not await self._sent(part, transport):
                return None
            try:
                part = await self._next()
            except Exception as error:  # noqa: BLE001 - as above
                self.status = 504 if isinstance(error, TimeoutError) else 500
                if self._events:
                    await self._sent(eventstream.failure(error), transport)
                    self._close()
                else:
                    self._break(error, client)
                return None
        return replace(self._answer, body=b"".join(self._memory), stream=None) if self._kept >= 0 else None

    async def _next(self) -> bytes | None:
        """The next part that is not empty, None at the end."""
        while (part := await self._lane.call(next, self._parts, None, seconds=self._seconds)) is not None:
            if not isinstance(part, bytes | bytearray | memoryview):
                raise ModelFailed(f"the model streams {type(part).__name__}; it must stream bytes")
            if part:
                return bytes(part)
        return None

    async def _sent(self, part: bytes, transport: Any) -> bool:
        """Send one part; when the client has gone, end the stream."""
        self._kept -= len(part)
        if self._kept >= 0:
            self._memory.append(part)
        try:
            await transport.send_bytes(part)
        except RuntimeError:  # Granian's RSGIProtocolClosed
            self.left = True
            log.info("the client has gone before the end of its stream")
            self._close()
            return False
        return True

    def _refusal(self, error: Exception) -> Answer:
        if isinstance(error, TimeoutError):
            return too_slow(self._seconds)
        log.error("the model failed before the first part of its stream", exc_info=error)
        return failure(500, f"the model failed: {type(error).__name__}: {error}")

    def _break(self, error: Exception, client: str) -> None:
        log.error("the model failed in the middle of a stream; its connection is broken", exc_info=error)
        if not cut(client):
            log.warning("the connection of %s is gone already", client)
        self._close()

    def _close(self) -> None:
        """Let a generator end itself, where generators run."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            self._lane.leave(close)
