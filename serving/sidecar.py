"""Beside a container of which only the address is known: `python -m serving.sidecar --upstream URL --port N`.

It hands `/ping`, `/invocations` and `/execution-parameters` on, captures what succeeded, holds the time
limit, and gives the container what few have: answers as an event stream.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from serving import contract, eventstream
from serving.answers import JSON, MIB, failure, send
from serving.errors import ServingError
from serving.kept import Kept
from serving.relay import HELD, HOP, Broken, ClientGone, Relay, Reply, Unreachable
from serving.responder import Answer

if TYPE_CHECKING:
    from serving.capture import Recorder

"""Asks for the answer as an event stream."""
ROUTES = {
    contract.PING: "GET",
    contract.INVOCATIONS: "POST",
    contract.EXECUTION_PARAMETERS: "GET",
    contract.RESPONSE_STREAM: "POST",
}
PING_SECONDS = 2.0
"""Time a container has for `/ping`."""
DISCARDED = 64 * MIB
"""Bytes of a too long body that are read before its refusal: a client that still sends would not see it."""
CLOSE_SECONDS = 10.0
"""Time captured exchanges get to be written when the sidecar ends."""

_NOT_ASKED = HOP | {"host", "content-length", contract.STREAM_ACCEPT}
_NOT_ANSWERED = HOP | {"date", "server"}
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
        except ClientGone:
            self._refuse(protocol, 400, "the body is shorter than its Content-Length")
        except Unreachable as error:
            self._refuse(protocol, 503, str(error))
        except Broken as error:
            self._refuse(protocol, 502, str(error))
        except TimeoutError:
            self._refuse(protocol, 504, "the container did not answer in time; send less, or allow more time")
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
        if ROUTES.get(path) != scope.method:
            send(_refusal(scope.method, path), protocol, close=self.draining)
            return
        came, loop = time.time(), asyncio.get_running_loop()
        headers = dict(scope.headers.items())
        kept = self._keeps(path, headers)
        body = await self._body(headers, protocol, kept)
        if body is None:
            limit = self._limits.payload / MIB
            self._refuse(protocol, 413, f"the body is longer than {limit:g} MiB; send fewer rows at a time")
            return
        deadline = loop.time() + (PING_SECONDS if path == contract.PING else self._limits.seconds)
        target = contract.INVOCATIONS if path == contract.RESPONSE_STREAM else path
        async with self._relay.ask(
            scope.method, target, _asked(headers, path, body), body, deadline
        ) as reply:
            if path == contract.RESPONSE_STREAM and 200 <= reply.status < 300:
                until = loop.time() + self._limits.stream_seconds
                complete = await self._framed(reply, until, protocol, kept)
            else:
                complete = await self._plain(reply, deadline, protocol, kept, scope.client)
        if complete and 200 <= reply.status < 300:
            self._offer(came, headers, reply, kept)

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

    async def _plain(self, reply: Reply, deadline: float, protocol: Any, kept: Kept, client: str) -> bool:
        """Hand the answer on: at once when it is short, else as it comes; true when it is complete."""
        head = [(name, value) for name, value in reply.headers if name not in _NOT_ANSWERED]
        if reply.length is not None and reply.length <= HELD:
            body = kept.answered(await reply.read(deadline))
            head = [(name, value) for name, value in head if name != "content-length"]
            protocol.response_bytes(reply.status, self._closing(head), body)
            return True
        transport = protocol.response_stream(reply.status, self._closing(head))
        try:
            async for part in reply.parts(deadline):
                await transport.send_bytes(kept.answered(part))
        except (Broken, TimeoutError) as error:
            from serving.connections import cut

            log.error("an answer broke off after it had begun; its connection is cut: %s", error)  # noqa: TRY400
            cut(client)
            return False
        except RuntimeError:  # Granian's RSGIProtocolClosed: the client has gone
            return False
        return True

    async def _framed(self, reply: Reply, deadline: float, protocol: Any, kept: Kept) -> bool:
        """Hand the answer on as an event stream; what goes wrong is its last frame."""
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
        whole = False

        async def parts() -> AsyncIterator[bytes]:
            nonlocal whole
            async for part in reply.parts(deadline):
                yield kept.answered(part)
            whole = True

        try:
            async for frame in eventstream.frames_async(parts()):
                await transport.send_bytes(frame)
        except RuntimeError:  # Granian's RSGIProtocolClosed: the client has gone
            return False
        return whole

    def _closing(self, head: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [*head, ("connection", "close")] if self.draining else head

    def _refuse(self, protocol: Any, status: int, message: str) -> None:
        log.warning("%d: %s", status, message)
        send(failure(status, message), protocol, close=self.draining)

    # ---- capture ------------------------------------------------------------------------------------------

    def _keeps(self, path: str, headers: Mapping[str, str]) -> Kept:
        recorder, asked = self._recorder, path in {contract.INVOCATIONS, contract.RESPONSE_STREAM}
        wanted = asked and recorder is not None and recorder.samples(headers.get(contract.REQUEST_ID, ""))
        return Kept(wanted=wanted, limit=self._limits.payload)

    def _offer(self, came: float, headers: Mapping[str, str], reply: Reply, kept: Kept) -> None:
        """Hand a successful exchange to the recorder; its answer is already on the way."""
        if self._recorder is None or not kept.wanted:
            return
        if kept.too_long:
            self._recorder.miss()
        else:
            self._recorder.offer(kept.exchange(came, headers, reply.content_type))


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
