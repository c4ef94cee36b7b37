"""Answers that every responder shares: what is wrong, said in JSON; and answers as Granian takes them."""

from __future__ import annotations

import logging
from typing import Any

import orjson

from serving import contract
from serving.errors import PayloadTooLarge
from serving.responder import Answer

JSON = "application/json"
MIB = 1024 * 1024

log = logging.getLogger("serving")


def too_large(limit: int) -> PayloadTooLarge:
    """The error for a body over the limit."""
    return PayloadTooLarge(f"the body is longer than {limit / MIB:g} MiB; send fewer rows at a time")


def too_slow(seconds: float) -> Answer:
    """The answer when the model's time is over."""
    problem = f"the model did not answer within {seconds:g} s; send less, or set {contract.TIMEOUT} higher"
    log.error("%s", problem)
    return failure(504, problem)


def send(answer: Answer, protocol: Any, *, close: bool) -> None:
    """Hand an answer to Granian; `close` asks the client to connect anew."""
    protocol.response_bytes(answer.status, head(answer, close=close), answer.body)


def head(answer: Answer, *, close: bool) -> list[tuple[str, str]]:
    """The header lines of an answer, names in lower case."""
    lines = [("content-type", answer.content_type)] if answer.content_type else []
    lines.extend(answer.headers)
    if close:
        lines.append(("connection", "close"))
    return lines


def failure(status: int, message: str, *, field: str | None = None, row: int | None = None) -> Answer:
    """An answer that says what is wrong."""
    content = {"error": message, "field": field, "row": row}
    kept = {name: value for name, value in content.items() if value is not None}
    return Answer(status, orjson.dumps(kept), JSON)
