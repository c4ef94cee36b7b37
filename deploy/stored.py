"""Endpoints, rollouts and events as the store keeps them: values, and how they are read from rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from deploy.judge import Case, Opinion
from deploy.release import Release, Request
from deploy.rollout import State

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What an endpoint serves."""

    name: str
    stable: Release | None = None
    previous: Release | None = None
    champion: bool = False
    """It is some model's production."""
    removed: bool = False
    """Somebody asked for its removal; the controller takes it down."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A request and how far it has come."""

    request: Request
    state: State
    case: Case = field(default_factory=Case)
    opinion: Opinion | None = None
    abort: str = ""
    announced: bool = False
    """The registry and the people concerned know how it ended."""


@dataclass(frozen=True, slots=True)
class Event:
    """A line of an endpoint's history."""

    at: datetime
    endpoint: str
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    rollout: str | None = None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def text_of(value: Any, kind: Any = None) -> str:
    """A value as JSON; `kind` where its type does not say all, as that of a dict."""
    return json.dumps(_adapter(kind or cast("Any", type(value))).dump_python(value, mode="json"))


def value_of(kind: type[T], text: str) -> T:
    """What `text_of` wrote."""
    value: T = _adapter(cast("Any", kind)).validate_python(json.loads(text), strict=False)
    return value


def endpoint_of(row: Any) -> Endpoint | None:
    """The endpoint of a row, if there is a row."""
    if row is None:
        return None
    stable = value_of(Release, row.stable) if row.stable else None
    previous = value_of(Release, row.previous) if row.previous else None
    return Endpoint(row.name, stable, previous, row.champion, row.removed)


def rollout_of(row: Any) -> Rollout:
    """The rollout of a row."""
    return Rollout(
        value_of(Request, row.request),
        value_of(State, row.state),
        value_of(Case, row.judged),
        value_of(Opinion, row.opinion) if row.opinion else None,
        row.abort,
        row.announced,
    )


def event_of(row: Any) -> Event:
    """The event of a row."""
    return Event(
        datetime.fromtimestamp(row.at, UTC), row.endpoint, row.kind, json.loads(row.data), row.rollout
    )
