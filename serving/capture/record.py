"""What is captured of one exchange, in SageMaker's shape: a JSON object in one line.

Sampling is decided by the event id alone, so every process that sees the id decides the same.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from serving.capture.settings import JSON, Settings, media_type

_SCALE = 1 << 64

Missing = Literal["failed", "streamed", "too long"]
"""Why an exchange has no bodies to capture: no success, an event stream, or more than is remembered."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request went, without what was in it."""

    status: int
    """As the model server gave it."""
    microseconds: int | None = None
    """From the whole request to the whole answer; None when the model was not asked."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer."""

    event_id: str
    """`x-amzn-requestid`; when empty, the recorder gives it one."""
    at: float
    """When the request came, in seconds since the epoch."""
    content_type: str
    """Of the request, as it was sent; empty when the client sent none."""
    body: bytes
    answer_content_type: str
    answer_body: bytes
    inference_id: str = ""
    """`X-Amzn-SageMaker-Inference-Id`; empty when the client sent none."""
    custom_attributes: str = ""
    """`X-Amzn-SageMaker-Custom-Attributes`; empty when the client sent none."""
    outcome: Outcome | None = None
    """How it went; None when nobody wants to know."""
    missing: Missing | None = None
    """Why there is nothing to capture; None when there is."""

    @property
    def size(self) -> int:
        """Bytes that waiting for the writer costs, nearly."""
        return len(self.body) + len(self.answer_body) + 512


def sampled(event_id: str, percent: float) -> bool:
    """Whether the event belongs to this share of all events: by the first 64 bits of the id's SHA-256.

    A larger share holds every event of a smaller one.
    """
    if percent >= 100:
        return True
    digest = hashlib.sha256(event_id.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") < math.floor(percent / 100 * _SCALE)


def line(exchange: Exchange, settings: Settings) -> bytes:
    """The exchange as a line with its end."""
    captured: dict[str, Any] = {}
    if settings.input:
        kind = exchange.content_type
        captured["endpointInput"] = _side("INPUT", kind, exchange.body, settings)
    if settings.output:
        kind = exchange.answer_content_type
        captured["endpointOutput"] = _side("OUTPUT", kind, exchange.answer_body, settings)
    metadata: dict[str, Any] = {"eventId": exchange.event_id}
    if exchange.custom_attributes:
        metadata["customAttributes"] = [exchange.custom_attributes]
    if exchange.inference_id:
        metadata["inferenceId"] = exchange.inference_id
    metadata["inferenceTime"] = datetime.fromtimestamp(exchange.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    record = {"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"}
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _side(mode: str, observed: str, body: bytes, settings: Settings) -> dict[str, str]:
    """One direction. Text that is not UTF-8 is kept as BASE64; no type is JSON, as toolkits take it."""
    encoding = _encoding(media_type(observed) or JSON, settings)
    data = None
    if encoding != "BASE64":
        with contextlib.suppress(UnicodeDecodeError):
            data = body.decode()
    if data is None:
        encoding, data = "BASE64", base64.b64encode(body).decode()
    return {"observedContentType": observed, "mode": mode, "data": data, "encoding": encoding}


def _encoding(kind: str, settings: Settings) -> str:
    if kind in settings.csv_content_types:
        return "CSV"
    return "JSON" if kind in settings.json_content_types else "BASE64"


def body(side: Mapping[str, str]) -> bytes:
    """The bytes that `endpointInput` or `endpointOutput` of a record stands for."""
    data = side["data"]
    return base64.b64decode(data) if side["encoding"] == "BASE64" else data.encode()
