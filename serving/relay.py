"""Asks one container over kept connections, without holding bodies: aiohttp behind four names.

aiohttp took 0.37 ms for a small call where httpx took 0.88 ms, for it parses in C.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from serving.errors import Temporary

HELD = 1024 * 1024
"""Bodies up to this many bytes are held as one piece; a failure can then still be answered as such."""
CONNECT_SECONDS = 1.0
"""Time a container has to accept a connection."""
IDLE_SECONDS = 1.0
"""Age at which an unused connection is not used again. Servers close theirs after two seconds or more, and a
request that meets a closing connection fails."""

_SILENT = ("accept", "accept-encoding", "content-type", "user-agent")
HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "proxy-connection",
        "expect",
    )
)
"""Header lines that concern one connection alone and are not handed on, names in lower case."""


class Unreachable(Temporary):
    """The container does not accept connections."""

    status = 503


class Broken(Temporary):
    """The container broke off before its answer was complete."""

    status = 502


class ClientGone(Exception):
    """The client ended before its body was complete."""


class Reply:
    """A container's answer, of which the header lines are there."""

    def __init__(self, response: Any, problem: str) -> None:
        self._response = response
        self._problem = problem
        self.status: int = response.status
        self.headers = [(name.lower(), value) for name, value in response.headers.items()]
        """Names in lower case."""
        self.content_type: str = response.headers.get("content-type", "")

    @property
    def length(self) -> int | None:
        """Bytes of the body, None when only its end will tell."""
        length: int | None = self._response.content_length
        return length

    async def parts(self, deadline: float) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises:
            Broken: it ended early.
            TimeoutError: the loop's clock reached the deadline.
        """
        import aiohttp

        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    part: bytes = await self._response.content.readany()
            except TimeoutError as error:
                raise TimeoutError("the container did not finish its answer in time") from error
            except (aiohttp.ClientError, OSError) as error:
                raise Broken(self._problem) from error
            if not part:
                return
            yield part

    async def read(self, deadline: float) -> bytes:
        """The whole body; raises as `parts`."""
        return b"".join([part async for part in self.parts(deadline)])


class Relay:
    """Connections to one container.

    Args:
        url: the container's address, without a path.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: Any = None

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]],
        body: bytes | AsyncIterator[bytes],
        deadline: float,
    ) -> AsyncIterator[Reply]:
        """Send a request; the reply is there when its header lines are.

        Raises:
            Unreachable: no connection.
            Broken: a connection, but no answer.
            ClientGone: raised by `body`.
            TimeoutError: the loop's clock reached the deadline.
        """
        response = await self._response(method, path, headers, body, deadline)
        try:
            yield Reply(response, "the container broke off its answer; its log may say why")
        finally:
            if response.content.is_eof():
                response.release()
            else:
                response.close()

    async def _response(
        self, method: str, path: str, headers: Iterable[tuple[str, str]], body: Any, deadline: float
    ) -> Any:
        import aiohttp

        gone: list[ClientGone] = []
        data = body if isinstance(body, bytes) else _noting(body, gone)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._open().request(
                    method, self._url + path, headers=list(headers), data=data, allow_redirects=False
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable("the container does not accept connections; see whether it runs") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            if gone:
                raise gone[0] from error
            raise Broken(
                "the container closed the connection without an answer; its log may say why"
            ) from error

    def _open(self) -> Any:
        """The session; made at the first request, for it belongs to the running loop."""
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_SILENT,
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        """Close all connections; a further request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _noting(body: AsyncIterator[bytes], gone: list[ClientGone]) -> AsyncIterator[bytes]:
    """The body; whether it failed is noted, for aiohttp tells only that the connection did."""
    try:
        async for part in body:
            yield part
    except ClientGone as error:
        gone.append(error)
        raise
