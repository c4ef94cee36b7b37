"""Whether an alarm may take an endpoint back to the version before, and the wish that does it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from deploy.plan import at_once
from deploy.release import RESTORE, Request
from deploy.rollout import Phase
from deploy.stored import Endpoint, Rollout

DEADLINE = timedelta(minutes=5)
"""How long the version before may take to start."""


def refusal(
    endpoint: Endpoint | None, active: Rollout | None, rollouts: Sequence[Rollout], version: str
) -> str:
    """Why an endpoint must not be rolled back because of a version; empty when it may.

    Args:
        endpoint: as it is now.
        active: the rollout that runs on it.
        rollouts: its latest, newest first.
        version: the one that was found bad.
    """
    if endpoint is None or endpoint.stable is None or endpoint.removed:
        return "the endpoint serves nothing any more"
    if active:
        return f"rollout {active.request.id} is running; its own judge decides"
    if endpoint.stable.version != version:
        return f"version {version} does not serve any more; version {endpoint.stable.version} does"
    if endpoint.previous is None:
        return f"the endpoint has served nothing before version {version}"
    promoted = next((one for one in rollouts if one.state.phase is Phase.PROMOTED), None)
    if promoted and promoted.request.restores:
        before = endpoint.previous.version
        return (
            f"version {version} was itself restored, in the place of version {before}; a person must decide"
        )
    return ""


def wish(action: str, endpoint: Endpoint, why: str, notify: tuple[str, ...]) -> Request:
    """The previous release, at once; the same action always makes the same wish, so it is granted once.

    Args:
        action: id of the action.
        endpoint: one that `refusal` allows.
        why: for the history.
        notify: who is told of the end.
    """
    if endpoint.previous is None:
        raise ValueError(f"endpoint {endpoint.name} has nothing to return to; ask `refusal` first")
    return Request(
        id=f"{action}{RESTORE}",
        endpoint=endpoint.name,
        release=endpoint.previous,
        plan=at_once(DEADLINE),
        champion=endpoint.champion,
        requested_by=why,
        notify=notify,
    )
