"""The Open Inference Protocol, version 2, over HTTP: health, metadata and inference below `/v2`.

An endpoint holds one model, and the gateway has chosen the endpoint by its name: every model name is accepted
and given back. The tensors themselves are in `serving.tensors`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from serving import about, tensors
from serving.answers import JSON
from serving.codecs import Columns, lenient
from serving.errors import BadBody, ServingError
from serving.manifest import Manifest
from serving.model import ModelResponder
from serving.predictions import Predictions
from serving.responder import Answer, Responder

HEADER_LENGTH = "inference-header-content-length"
"""Bytes of JSON at the beginning of a body; tensors in binary follow."""
BINARY = "application/octet-stream"

_PATH = re.compile(
    r"/v2(?:|/health/(?P<health>live|ready)"
    r"|/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<act>|/ready|/infer))/?"
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One call of `infer`, its tensors apart."""

    content: Mapping[str, Any]
    binary: bytes
    model: str
    version: str | None


def answer(
    responder: Responder, method: str, path: str, headers: Mapping[str, str], body: bytes, *, ready: bool
) -> Answer:
    """The response to a request below `/v2`.

    `ready` says whether the server would answer `/ping` with 200.

    Raises:
        ServingError: the model failed on a request that is in order.
    """
    found = _PATH.fullmatch(path)
    if found is None:
        return _problem(404, f"{path[:200]} is no path of the Open Inference Protocol")
    allowed = "POST" if found["act"] == "/infer" else "GET"
    if method != allowed:
        refusal = _problem(405, f"this path takes {allowed}, not {method}")
        return Answer(405, refusal.body, JSON, (("allow", allowed),))
    if (status := _status(found, ready=ready)) is not None:
        return status
    if not isinstance(responder, ModelResponder):
        return _problem(400, "this endpoint's model has no tensors by name; send to /invocations instead")
    if not found["act"]:
        description = _model(responder.predictor.manifest, found["model"], found["version"])
        return Answer(200, orjson.dumps(description), JSON)
    return _infer(responder, found["model"], found["version"], headers, body)


def _status(found: re.Match[str], *, ready: bool) -> Answer | None:
    """Health and the server's own description; None for what needs the model."""
    if found["health"] == "live":
        return Answer(200, orjson.dumps({"live": True}), JSON)
    if found["health"] == "ready":
        return Answer(200 if ready else 503, orjson.dumps({"ready": ready}), JSON)
    if found["model"] is None:
        return Answer(200, orjson.dumps(about.server()), JSON)
    if found["act"] == "/ready":
        return Answer(200 if ready else 503, orjson.dumps({"name": found["model"], "ready": ready}), JSON)
    return None


def _model(manifest: Manifest, model: str, version: str | None) -> dict[str, Any]:
    return {
        "name": model,
        "versions": [] if version is None else [version],
        "platform": "onnxruntime_onnx" if manifest.runtime == "onnx" else f"sklearn_{manifest.runtime}",
        "inputs": tensors.input_metadata(manifest),
        "outputs": tensors.output_metadata(manifest),
    }


def _infer(
    responder: ModelResponder, model: str, version: str | None, headers: Mapping[str, str], body: bytes
) -> Answer:
    try:
        asked = _asked(model, version, headers, body)
        manifest = responder.predictor.manifest
        selected = tensors.Selection.of(asked.content, manifest)
        columns: Columns = tensors.columns(asked.content, asked.binary, responder.layout, responder.limit)
        return _answer(asked, selected, responder.predictor.predict(columns), manifest)
    except ServingError as error:
        if error.status >= 500:
            raise
        return _problem(error.status, str(error))


def _asked(model: str, version: str | None, headers: Mapping[str, str], body: bytes) -> _Asked:
    length = len(body)
    if (text := headers.get(HEADER_LENGTH)) is not None:
        if not text.isascii() or not text.isdecimal() or len(text) > 12 or int(text) > len(body):
            raise BadBody(f"Inference-Header-Content-Length must be a number of at most {len(body)}")
        length = int(text)
    try:
        content = lenient.loads(body[:length])
    except orjson.JSONDecodeError as error:
        raise BadBody(f"the request is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise BadBody('the request must be an object, {"inputs": [...]}')
    if not isinstance(content.get("id", ""), str):
        raise BadBody("id must be text")
    return _Asked(content, body[length:], model, version)


def _answer(
    asked: _Asked, selected: tensors.Selection, predictions: Predictions, manifest: Manifest
) -> Answer:
    outputs, binary = selected.encode(predictions, manifest)
    content = {"model_name": asked.model, "model_version": asked.version, "id": asked.content.get("id")}
    kept = {name: value for name, value in content.items() if value is not None}
    head = orjson.dumps({**kept, "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    if not binary:
        return Answer(200, head, JSON)
    return Answer(200, head + b"".join(binary), BINARY, ((HEADER_LENGTH, str(len(head))),))


def _problem(status: int, message: str) -> Answer:
    return Answer(status, orjson.dumps({"error": message}), JSON)
