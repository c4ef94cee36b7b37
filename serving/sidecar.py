"""Beside a container of which only the address is known: `python -m serving.sidecar --upstream URL --port N`.

It hands `/ping`, `/invocations`, `/execution-parameters` and `/v2/...` on, captures invocations, holds the
time limit, and gives the container what few have: answers as an event stream.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from serving import contract, eventstream
from serving.answers import JSON, MIB, failure, send
from serving.capture import Outcome
from serving.errors import ServingError
from serving.kept import Kept
from serving.relay import HELD, HOP, Broken, ClientGone, Relay, Reply, Unreachable
from serving.responder import Answer

if TYPE_CHECKING:
    from serving.capture import Recorder

ROUTES = {
    contract.PING: "GET",
    contract.INVOCATIONS: "POST",
    contract.EXECUTION_PARAMETERS: "GET",
    contract.RESPONSE_STREAM: "POST",
}
OPEN_INFERENCE = "/v2/"
"""Paths below it are handed on as they are, for containers that speak the Open Inference Protocol."""
PING_SECONDS = 2.0
"""Time a container has for `/ping`."""
DISCARDED = 64 * MIB
"""Bytes of a too long body that are read before its refusal: a client that still sends would not see it."""
CLOSE_SECONDS = 10.0
"""Time captured exchanges get to be written when the sidecar ends."""

_NOT_ASKED = HOP | {"host", "content-length", contract.STREAM_ACCEPT}
_NOT_ANSWERED = HOP | {"date", "server", contract.UNSENT}
_LEVELS = ("debug", "info", "warning", "error")

log = logging.getLogger("serving")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take."""

    payload: int = 25 * MIB
    """Largest body in bytes; longer answers are handed on, but not captured."""
    seconds: float = 60.0
    """Time until an answer is complete; of an event stream, until it begins."""
    stream_seconds: float = 480.0
    """Time until an event stream is complete."""


class Sidecar:
    """Answers requests with what the container answers."""

    def __init__(self, relay: Relay, limits: Limits, recorder: Recorder | None = None) -> None:
        self._relay = relay
        self._limits = limits
        self._recorder = recorder
        self.in_flight = 0
        """Requests begun and not yet handed to the network."""
        self.draining = False
        """Set when the server ends; answers then close their connections."""

    def close(self, seconds: float) -> None:
        """Give captured exchanges up to `seconds` to be written."""
        if self._recorder is not None:
            self._recorder.close(seconds)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Serve one request of Granian's RSGI interface."""
        self.in_flight += 1
        try:
            await self._serve(scope, protocol)
        finally:
            self.in_flight -= 1
            if self.draining and not self.in_flight:
                await self._relay.close()

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Granian takes no more connections; without a request in flight nobody else closes ours."""
        if not self.in_flight:
            self._ending = loop.create_task(self._relay.close())

    async def _serve(self, scope: Any, protocol: Any) -> None:
        path = _short(scope.path)
        if ROUTES.get(path) != scope.method and not path.startswith(OPEN_INFERENCE):
            send(_refusal(scope.method, path), protocol, close=self.draining)
            return
        came, began = time.time(), time.perf_counter()
        headers = dict(scope.headers.items())
        kept = self._keeps(path, headers)
        try:
            status, kind = await self._relayed(scope, protocol, headers, kept)
        except (ClientGone, Unreachable, Broken, TimeoutError, _TooLong) as error:
            status, kind = self._refuse(protocol, error), ""
        if self._recorder is not None and kept.wanted and status is not None:
            took = None if status == 413 else round((time.perf_counter() - began) * 1e6)
            self._recorder.offer(kept.exchange(came, headers, kind, Outcome(status, took)))

    async def _relayed(
        self, scope: Any, protocol: Any, headers: Mapping[str, str], kept: Kept
    ) -> tuple[int | None, str]:
        """Ask the container and hand its answer on.

        Returns:
            How it went: the status, one of a failure when the answer broke off, None when the client left;
            and the answer's type.
        """
        path, loop = _short(scope.path), asyncio.get_running_loop()
        body = await self._body(headers, protocol, kept)
        if body is None:
            raise _TooLong(self._limits.payload / MIB)
        deadline = loop.time() + (PING_SECONDS if path == contract.PING else self._limits.seconds)
        target = contract.INVOCATIONS if path == contract.RESPONSE_STREAM else path
        async with self._relay.ask(
            scope.method, target, _asked(headers, path, body), body, deadline
        ) as reply:
            if path == contract.RESPONSE_STREAM and 200 <= reply.status < 300:
                until = loop.time() + self._limits.stream_seconds
                status = await self._framed(reply, until, protocol, kept)
            else:
                status = await self._plain(reply, deadline, protocol, kept, scope.client)
        return status, reply.content_type

    # ---- the request --------------------------------------------------------------------------------------

    async def _body(
        self, headers: Mapping[str, str], protocol: Any, kept: Kept
    ) -> bytes | AsyncIterator[bytes] | None:
        """The body, whole or in parts when it is long; None when it is longer than the limit."""
        length = headers.get("content-length")
        known = int(length) if length is not None and length.isdecimal() else None
        if known is not None and known <= min(HELD, self._limits.payload):
            return kept.sent(bytes(await protocol()))
        if known is not None and known <= self._limits.payload:
            return _parts(protocol, known, kept)
        return await self._collected(protocol, kept)

    async def _collected(self, protocol: Any, kept: Kept) -> bytes | None:
        """A body of unknown length: containers know what to do with a length, not all with chunks."""
        parts: list[bytes] = []
        size = 0
        async for part in protocol:
            size += len(part)
            if size <= self._limits.payload:
                parts.append(bytes(part))
            elif size > self._limits.payload + DISCARDED:
                break
        return kept.sent(b"".join(parts)) if size <= self._limits.payload else None

    # ---- the answer ---------------------------------------------------------------------------------------

    async def _plain(
        self, reply: Reply, deadline: float, protocol: Any, kept: Kept, client: str
    ) -> int | None:
        """Hand the answer on: at once when it is short, else as it comes; how it went, as of `_relayed`."""
        head = [(name, value) for name, value in reply.headers if name not in _NOT_ANSWERED]
        if reply.length is not None and reply.length <= HELD:
            body = kept.answered(await reply.read(deadline))
            head = [(name, value) for name, value in head if name != "content-length"]
            protocol.response_bytes(reply.status, self._closing(head), body)
            return reply.status
        transport = protocol.response_stream(reply.status, self._closing(head))
        try:
            async for part in reply.parts(deadline):
                await transport.send_bytes(kept.answered(part))
        except (Broken, TimeoutError) as error:
            from serving.connections import cut

            log.error("an answer broke off after it had begun; its connection is cut: %s", error)  # noqa: TRY400
            cut(client)
            return _refusal_of(error)[0]
        except RuntimeError:  # Granian's RSGIProtocolClosed: the client has gone
            return None
        return reply.status

    async def _framed(self, reply: Reply, deadline: float, protocol: Any, kept: Kept) -> int | None:
        """Hand the answer on as an event stream, what goes wrong is its last frame; how it went."""
        head = [
            (name, value)
            for name, value in reply.headers
            if name not in _NOT_ANSWERED | {"content-type", "content-length"}
        ]
        head += [
            ("content-type", eventstream.CONTENT_TYPE),
            (contract.STREAM_CONTENT_TYPE, reply.content_type or JSON),
        ]
        transport = protocol.response_stream(reply.status, self._closing(head))
        status = reply.status

        async def parts() -> AsyncIterator[bytes]:
            nonlocal status
            try:
                async for part in reply.parts(deadline):
                    yield kept.answered(part)
            except (Broken, TimeoutError) as error:
                status, _ = _refusal_of(error)
                raise

        try:
            async for frame in eventstream.frames_async(parts()):
                await transport.send_bytes(frame)
        except RuntimeError:  # Granian's RSGIProtocolClosed: the client has gone
            return None
        return status

    def _closing(self, head: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [*head, ("connection", "close")] if self.draining else head

    def _refuse(self, protocol: Any, error: Exception) -> int:
        """Tell the client what went wrong; returns the status it gets."""
        status, message = _refusal_of(error)
        log.warning("%d: %s", status, message)
        answer = failure(status, message)
        if isinstance(error, Unreachable):
            answer = replace(answer, headers=((contract.UNSENT, "1"),))
        send(answer, protocol, close=self.draining)
        return status

    # ---- capture ------------------------------------------------------------------------------------------

    def _keeps(self, path: str, headers: Mapping[str, str]) -> Kept:
        recorder, asked = self._recorder, path in {contract.INVOCATIONS, contract.RESPONSE_STREAM}
        wanted = asked and recorder is not None and recorder.samples(headers.get(contract.REQUEST_ID, ""))
        return Kept(wanted=wanted, limit=self._limits.payload)


async def _parts(protocol: Any, length: int, kept: Kept) -> AsyncIterator[bytes]:
    """A long body as it comes; a container must not take a part for the whole."""
    async for part in protocol:
        length -= len(part)
        yield kept.sent(bytes(part))
    if length:
        raise ClientGone


def _short(path: str) -> str:
    """The path as containers know it: the runtime API's `/endpoints/NAME` before it is left out."""
    if path.startswith("/endpoints/"):
        return "/" + path.removeprefix("/endpoints/").partition("/")[2]
    return path


def _asked(
    headers: Mapping[str, str], path: str, body: bytes | AsyncIterator[bytes]
) -> list[tuple[str, str]]:
    """The header lines for the container."""
    lines = [(name, value) for name, value in headers.items() if name not in _NOT_ASKED]
    if path == contract.RESPONSE_STREAM:
        lines = [(name, value) for name, value in lines if name not in {"accept", "accept-encoding"}]
        lines += [("accept", headers[contract.STREAM_ACCEPT])] if contract.STREAM_ACCEPT in headers else []
    if not isinstance(body, bytes):
        lines.append(("content-length", headers["content-length"]))
    return lines


class _TooLong(Exception):
    """A body is longer than the limit, which is its argument in MiB."""


def _refusal_of(error: Exception) -> tuple[int, str]:
    """Status and words for a request that could not be handed on, or not be answered."""
    if isinstance(error, ClientGone):
        return 400, "the body is shorter than its Content-Length"
    if isinstance(error, _TooLong):
        return 413, f"the body is longer than {error.args[0]:g} MiB; send fewer rows at a time"
    if isinstance(error, Unreachable | Broken):
        return error.status, str(error)
    return 504, "the container did not answer in time; send less, or allow more time"


def _refusal(method: str, path: str) -> Answer:
    """404 and 405."""
    if path not in ROUTES:
        return Answer(404, b"{}", JSON)
    problem = failure(405, f"{path} takes {ROUTES[path]}, not {method}")
    return Answer(405, problem.body, JSON, (("allow", ROUTES[path]),))


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    from serving.capture import from_environment
    from serving.environment import wanted
    from serving.server import serve

    try:
        asked = wanted(os.environ, 1)
        recorder = from_environment(os.environ)
    except ServingError as error:
        log.error("the sidecar cannot start: %s", error)  # noqa: TRY400 - the message says it all
        return 1
    limits = Limits(int(asked.max_payload * MIB), options.timeout or asked.timeout, options.stream_timeout)
    sidecar = Sidecar(Relay(options.upstream), limits, recorder)
    log.info("%s:%d hands on to %s", options.host, options.port, options.upstream)
    code = serve(cast("Any", sidecar), options.host, options.port)
    sidecar.close(CLOSE_SECONDS)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.sidecar", description="Stand before one container."
    )
    parser.add_argument(
        "--upstream", required=True, help="the container's address, such as http://127.0.0.1:8081"
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--timeout", type=float, help="seconds until an answer is complete; 60 when not set")
    parser.add_argument(
        "--stream-timeout", type=float, default=480.0, help="seconds until an event stream is complete"
    )
    parser.add_argument("--log-level", default="info", choices=_LEVELS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
