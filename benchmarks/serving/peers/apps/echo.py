"""The least a server can do: read the body and send it back. `asgi` for uvicorn, `rsgi` for Granian."""

from __future__ import annotations

from typing import Any

ASGI_HEADERS = [(b"content-type", b"application/json")]
RSGI_HEADERS = [("content-type", "application/json")]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    headers = [*ASGI_HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def rsgi(_scope: Any, protocol: Any) -> None:
    protocol.response_bytes(200, RSGI_HEADERS, await protocol())
