"""Messages to people, about how rollouts ended and about alarms, through Apprise.

A project names environment variables; their values are addresses, which hold secrets. So no address, and no
text of Apprise that may repeat one, is ever logged.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deploy.rollout import Phase
from deploy.stored import Rollout
from flows.artifacts import rollout_sentence

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """What people are told."""

    title: str
    body: str
    good: bool
    """Good news."""


def notify(rollout: Rollout, environment: Mapping[str, str]) -> None:
    """Send the end of a rollout to the addresses of its project.

    Never raises: each address that cannot be told is one line in the log, and the others are told.
    """
    for trouble in tell(rollout.request.notify, _message(rollout), environment):
        log.error("rollout %s: %s", rollout.request.id, trouble)


def tell(names: tuple[str, ...], message: Message, environment: Mapping[str, str]) -> list[str]:
    """Send a message to addresses; never raises. Returns a sentence for each that could not be told."""
    found = [(name, _attempt(name, environment, message)) for name in names]
    return [f"nobody was told through {name}: {trouble}" for name, trouble in found if trouble]


def problems(names: tuple[str, ...], environment: Mapping[str, str]) -> list[str]:
    """Why messages to these addresses would fail, one sentence each, found without sending anything."""
    found = [(name, _attempt(name, environment, None)) for name in names]
    return [f"nobody will be told through {name}: {trouble}" for name, trouble in found if trouble]


def _attempt(name: str, environment: Mapping[str, str], message: Message | None) -> str:
    """Send the message, or none when there is none; returns what is wrong, or nothing."""
    with _quiet() as said:
        try:
            messenger, trouble = _open(name, environment)
            if trouble or message is None or messenger.notify(**_spoken(message)):
                return trouble
        except Exception as error:  # noqa: BLE001 - a service's plugin may raise anything, and name the address
            return f"Apprise failed with {type(error).__name__}; check the address"
    status = re.search(r"error=(\d{3})\b", " ".join(said))
    what = f"answered with status {status[1]}" if status else "cannot be reached, or did not take the message"
    return f"the receiver {what}; check the address and the service behind it"


def _message(rollout: Rollout) -> Message:
    good = rollout.state.phase in {Phase.PROMOTED, Phase.ENDED}
    return Message(f"Seaway: endpoint {rollout.request.endpoint}", rollout_sentence(rollout), good)


def _spoken(message: Message) -> dict[str, Any]:
    import apprise

    kind = apprise.NotifyType.SUCCESS if message.good else apprise.NotifyType.FAILURE
    return {"title": message.title, "body": message.body, "notify_type": kind}


def _open(name: str, environment: Mapping[str, str]) -> tuple[Any, str]:
    """A messenger for the address in the variable `env:NAME`, and what is wrong with it."""
    import apprise

    messenger, variable = apprise.Apprise(), name.removeprefix("env:")
    address = environment.get(variable, "").strip()
    if not address:
        return messenger, f"set the environment variable {variable}, then run `seaway down` and `seaway up`"
    if not messenger.add(address):
        return messenger, f"{variable} does not hold an address that Apprise understands; correct it"
    return messenger, ""


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """Keep Apprise's own lines out of the log; gives the list into which they go."""
    said: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        said.append(record.getMessage())
        return False

    logger = logging.getLogger("apprise")
    logger.addFilter(keep)
    try:
        yield said
    finally:
        logger.removeFilter(keep)
