"""MLflow's webhooks: who may wake the reconciler, and the one webhook that Seaway keeps in MLflow.

A webhook is only a hint that saves seconds: MLflow delivers at most once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from registry.errors import Permanent

NAME = "seaway"
"""The webhook's name in MLflow."""
WINDOW = timedelta(minutes=5)
"""Deliveries whose timestamp is further away are refused."""
EVENTS = (
    ("MODEL_VERSION", "CREATED"),
    ("MODEL_VERSION_ALIAS", "CREATED"),
    ("MODEL_VERSION_ALIAS", "DELETED"),
    ("MODEL_VERSION_TAG", "DELETED"),
    ("MODEL_VERSION_TAG", "SET"),
)


class DeliveryRefused(Permanent):
    """The delivery is not from our MLflow, too old, or a replay."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified delivery."""

    id: str
    event: str
    """For example `model_version_tag.set`."""
    data: Mapping[str, Any]
    """`name`, `version`, `key`, `value`, `alias`: whichever the event has."""


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secret: str,
    now: datetime,
    first: Callable[[str, datetime], bool],
) -> Delivery:
    """Check signature, age and novelty of a delivery.

    Args:
        headers: of the request; case does not matter.
        body: of the request, untouched.
        secret: shared with MLflow.
        now: the current time.
        first: whether a delivery id is seen for the first time, `registry.deliveries.Deliveries.first`.

    Raises:
        registry.webhook.DeliveryRefused: with the reason.
    """
    plain = {name.lower(): value for name, value in headers.items()}
    delivery, sent = plain.get("x-mlflow-delivery-id", ""), plain.get("x-mlflow-timestamp", "")
    if not _signed(plain.get("x-mlflow-signature", ""), f"{delivery}.{sent}.".encode() + body, secret):
        raise DeliveryRefused("the webhook's signature is missing or wrong; `seaway up` renews the secret")
    if not _fresh(sent, now):
        raise DeliveryRefused(
            f"the webhook was sent at {sent}, more than five minutes from now; check clocks"
        )
    if not delivery or not first(delivery, now):
        raise DeliveryRefused(f"the webhook delivery {delivery!r} was seen before; nothing needs to be done")
    try:
        content = json.loads(body)
        return Delivery(delivery, f"{content['entity']}.{content['action']}", dict(content.get("data") or {}))
    except (ValueError, KeyError, TypeError) as error:
        raise DeliveryRefused("the webhook's body is not an MLflow event; check its sender") from error


def sign(delivery: str, sent: str, body: bytes, secret: str) -> str:
    """The signature header that MLflow computes."""
    mac = hmac.new(secret.encode(), f"{delivery}.{sent}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def _signed(signature: str, content: bytes, secret: str) -> bool:
    """Whether any of the space-separated signatures fits."""
    if not secret:
        return False
    want = hmac.new(secret.encode(), content, hashlib.sha256).digest()
    return any(hmac.compare_digest(want, _decoded(part)) for part in signature.split() if part[:3] == "v1,")


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature[3:], validate=True)
    except (binascii.Error, ValueError):
        return b""


def _fresh(sent: str, now: datetime) -> bool:
    if not (sent.isascii() and sent.isdigit()) or len(sent) > 12:
        return False
    return abs(now.timestamp() - int(sent)) <= WINDOW.total_seconds()


def ensure_webhook(
    url: str, mlflow_url: str, secret: str, user: str | None = None, password: str | None = None
) -> str:
    """Make MLflow send its registry events to `url`, signed with `secret`; returns the webhook's id.

    Creates the webhook, or repairs the one of our name: address, events, status and secret. Doubles go.

    Raises:
        registry.errors.Unreachable: MLflow does not answer.
        registry.errors.Permanent: MLflow refuses, or cannot read its own webhooks any more.
    """
    from registry.rest import Rest

    rest = Rest(mlflow_url, user, password)
    wanted = {
        "name": NAME,
        "url": url,
        "description": "Wakes Seaway's reconciler. Made and repaired by Seaway.",
        "events": [{"entity": entity, "action": action} for entity, action in EVENTS],
        "secret": secret,
        "status": "ACTIVE",
    }
    with rest:
        mine = [hook["webhook_id"] for hook in _webhooks(rest) if hook.get("name") == NAME]
        if not mine:
            return str(rest.send("POST", "webhooks", wanted)["webhook"]["webhook_id"])
        for double in mine[1:]:
            rest.send("DELETE", f"webhooks/{double}", {})
        rest.send("PATCH", f"webhooks/{mine[0]}", wanted)
        return str(mine[0])


def _webhooks(rest: Any) -> list[dict[str, Any]]:
    try:
        return list(rest.pages("webhooks", "webhooks", {"max_results": 100}))
    except Permanent as error:
        raise Permanent(
            "MLflow cannot list its webhooks: most likely MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY is not the "
            f"key they were stored with; restore it, or empty MLflow's `webhooks` table ({error})"
        ) from error
