"""The controller's address for labels: what really happened, sent as it becomes known."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from steps import labels

if TYPE_CHECKING:
    from starlette.requests import Request

    from flows.wiring import Wiring

LARGEST = 8 << 20
"""Bytes of one request."""


async def post(wiring: Wiring, request: Request, now: datetime) -> Response:
    """Keep the labels of a request: 200 with counts, 400 when none is good, 404 for an unknown endpoint."""
    endpoint = request.path_params["endpoint"]
    if await run_in_threadpool(wiring.store.endpoint, endpoint) is None:
        return JSONResponse({"error": f"there is no endpoint {endpoint}"}, 404)
    body = await _body(request)
    if body is None:
        problem = f"the body is longer than {LARGEST >> 20} MiB; send fewer labels at a time"
        return JSONResponse({"error": problem}, 413)
    records = parsed(body)
    if not records:
        return JSONResponse({"error": "the body holds no label; send JSON Lines or a JSON list"}, 400)
    home = wiring.settings.home
    found = await run_in_threadpool(labels.accept, home, endpoint, records, now)
    return JSONResponse(document(found), 200 if found.accepted else 400)


def document(found: labels.Added) -> dict[str, Any]:
    """What became of labels, as plain data."""
    return {
        "accepted": found.accepted,
        "refused": found.refused,
        "reasons": dict(found.reasons),
        "examples": [{"record": number, "reason": reason} for number, reason in found.examples],
    }


def parsed(body: bytes) -> list[object]:
    """The records of a JSON list, of one JSON object, or of JSON Lines; a line that is no JSON stays text."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return [_line(line) for line in body.splitlines() if line.strip()]
    return found if isinstance(found, list) else [found]


def _line(line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return "not JSON"


async def _body(request: Request) -> bytes | None:
    """The body; None when it is too long."""
    held = bytearray()
    async for chunk in request.stream():
        held += chunk
        if len(held) > LARGEST:
            return None
    return bytes(held)
