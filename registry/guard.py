"""A thin ASGI layer around MLflow that knows who sets the status tag, and stops who may not.

MLflow records no actor and has no permission per tag. The layer notes the gesture before MLflow sees it and
confirms it when MLflow has accepted it, so nobody can read the new tag without finding its author beside it.
A user name counts only when MLflow has checked the password: that is what its 2xx behind basic-auth says.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from configs.project import Approval
from registry.decide import Wish
from registry.entry import Entry
from registry.gestures import ANONYMOUS, Gestures
from registry.ledger import Ledger
from registry.policy import Act, Proposal, may_decide
from registry.port import STATUS
from registry.rest import SERVICE_HEADER
from registry.standing import APPROVED, PENDING, standing

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_PATH = re.compile(r"/(ajax-)?api/\d\.\d/(preview/)?mlflow/model-versions/(set|delete)-tag/?")
_LARGEST = 1 << 20
"""Bytes of a tag request that are read; MLflow itself takes values of a few kilobytes."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A request to set the status tag."""

    model: str
    version: str
    value: str
    user: str = ""
    """As the request claims."""
    peer: str = ""


class Guard:
    """MLflow's ASGI app, watched.

    Args:
        app: MLflow.
        gestures: where gestures are noted.
        ledger: holds the policy each version was registered under.
        auth: MLflow asks for passwords; only then are people refused and names believed.
        service: the user under which Seaway itself mirrors the ledger.
        clock: the current time.
    """

    def __init__(
        self,
        app: App,
        gestures: Gestures,
        ledger: Ledger,
        *,
        auth: bool,
        service: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._app = app
        self._gestures = gestures
        self._ledger = ledger
        self._auth = auth
        self._service = service
        self._clock = clock

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Watch changes of the status tag; everything else passes untouched."""
        if scope["type"] != "http" or not _PATH.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            await _answer(send, 400, "INVALID_PARAMETER_VALUE", "The request is too large for a tag.")
            return
        setting = parse(scope["path"], body)
        replay = _replayed(body, receive)
        if setting is None:
            await self._app(scope, replay, send)
            return
        setting = replace(setting, user=user_of(scope), peer=(scope.get("client") or ("",))[0])
        if self._is_service(setting, scope):
            await self._app(scope, replay, send)
            return
        await self._watch(setting, scope, replay, send)

    async def _watch(self, setting: Setting, scope: Message, receive: Receive, send: Send) -> None:
        try:
            refusal = await asyncio.to_thread(self._refusal, setting)
            if refusal:
                await _answer(send, 403, "PERMISSION_DENIED", refusal)
                return
            seq = await asyncio.to_thread(self._begin, setting)
        except SQLAlchemyError:
            log.exception("the store does not answer; a status change was refused")
            message = "Seaway's store does not answer, so nobody could be noted; try again."
            await _answer(send, 503, "TEMPORARILY_UNAVAILABLE", message)
            return
        await self._app(scope, receive, self._settling(seq, send))

    def _refusal(self, setting: Setting) -> str:
        """Why this user may not do this; empty when nothing speaks against it."""
        if not self._auth or not setting.user:
            return ""  # MLflow itself answers 401 to people without a name
        entries = self._ledger.entries(setting.model, setting.version)
        return refusal(entries, setting)

    def _begin(self, setting: Setting) -> int:
        named = self._auth and bool(setting.user)
        return self._gestures.begin(
            at=self._clock(),
            model=setting.model,
            version=setting.version,
            value=setting.value,
            actor=setting.user if named else ANONYMOUS,
            authenticated=named,
            peer=setting.peer,
        )

    def _settling(self, seq: int, send: Send) -> Send:
        """A `send` that confirms or drops the gesture before the client learns of the outcome."""

        async def settle(message: Message) -> None:
            if message["type"] == "http.response.start":
                accepted = 200 <= message["status"] < 300
                act = self._gestures.confirm if accepted else self._gestures.drop
                try:
                    await asyncio.to_thread(act, seq)
                except SQLAlchemyError:
                    log.exception("gesture %d stays unconfirmed, so its author counts as unknown", seq)
            await send(message)

        return settle

    def _is_service(self, setting: Setting, scope: Message) -> bool:
        marked = any(name.decode("latin-1") == SERVICE_HEADER for name, _ in scope["headers"])
        return marked and (not self._auth or setting.user == self._service)


def refusal(entries: list[Entry], setting: Setting) -> str:
    """What the ledger and the version's policy say against a named user; empty when nothing. Pure."""
    current = standing(entries)
    wanted = Wish(setting.value).status
    if current.registered is None:
        ours = wanted == APPROVED
        return "This version was not registered by Seaway: build it with `seaway build`." if ours else ""
    text = current.registered.policy
    policy = Approval.model_validate_json(text) if text else Approval()
    acts: dict[str | None, Act] = {APPROVED: "approve", PENDING: "withdraw"}
    proposal = Proposal(acts.get(wanted, "reject"), setting.user, authenticated=True)
    decision = may_decide(policy, proposal, current.author)
    return decision.reason if decision else ""


def parse(path: str, body: bytes) -> Setting | None:
    """The status change that a request asks for; None when it is about something else. Pure."""
    try:
        document = json.loads(body)
        if isinstance(document, str):  # MLflow accepts JSON inside a JSON string
            document = json.loads(document)
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("key") != STATUS:
        return None
    removed = "delete-tag" in path
    value = "" if removed else str(document.get("value", ""))
    return Setting(str(document.get("name", "")), str(document.get("version", "")), value)


def user_of(scope: Message) -> str:
    """The user that the one Basic header claims; empty without one, or with several. Pure."""
    claims = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(claims) != 1 or claims[0][:6].lower() != b"basic ":
        return ""
    try:
        return base64.b64decode(claims[0][6:]).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None when it is larger than a tag can be."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > _LARGEST:
            return None
        if not message.get("more_body", False):
            return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once more, then what the client does."""
    first = [True]

    async def replay() -> Message:
        if first:
            first.clear()
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


async def _answer(send: Send, status: int, code: str, message: str) -> None:
    """MLflow's error shape, which its UI shows."""
    body = json.dumps({"error_code": code, "message": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
