"""How many instances an asynchronous endpoint should have: target tracking on its backlog, down to none.

Scale-out is immediate, and from none to one as soon as something waits. Scale-in waits until fewer instances
were enough for the whole cool-down, and until nothing is in process. Decisions only; time is an argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime

from configs.hosting import Scaling


@dataclass(frozen=True, slots=True)
class Scale:
    """The number of instances an endpoint was last given."""

    instances: int
    since: datetime
    """When the number changed, or was last seen to be needed."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at an endpoint and its queue."""

    scale: Scale
    """What was decided before."""
    backlog: int | None
    """Requests queued and in process; None when the queue does not say."""
    in_flight: int = 0
    """Those of them that are in process."""
    served: bool = False
    """Requests were answered since the look before, however few wait now."""


def wanted(policy: Scaling, observed: Observed, now: datetime) -> int:
    """How many instances there should be now, between the policy's bounds."""
    held = within(policy, observed.scale.instances)
    needed = _needed(policy, observed)
    if needed is None or needed >= held:
        return held if needed is None else needed
    if observed.in_flight or now - observed.scale.since < policy.scale_in_after:
        return held
    return needed


def advance(policy: Scaling, observed: Observed, now: datetime) -> Scale:
    """What to remember after a look. While it is not known what is needed, everything is."""
    count, before = wanted(policy, observed, now), observed.scale
    if count != before.instances:
        return Scale(count, now)
    needed = _needed(policy, observed)
    busy = bool(count) and (needed is None or needed >= count)
    return replace(before, since=now) if busy else before


def within(policy: Scaling, instances: int, least: int = 0) -> int:
    """The number brought into the policy's bounds, and not below `least`."""
    return max(least, min(max(instances, policy.min_instances), policy.max_instances))


def awake(policy: Scaling) -> Scaling:
    """The policy while a rollout runs: both versions have an instance, so that they can be compared."""
    return policy.model_copy(update={"min_instances": max(1, policy.min_instances)})


def _needed(policy: Scaling, observed: Observed) -> int | None:
    """As many as bring the backlog per instance to its target; None when the backlog is not known."""
    if observed.backlog is None:
        return None
    by_backlog = math.ceil(observed.backlog / policy.backlog_per_instance)
    at_work = bool(observed.backlog or observed.in_flight or observed.served)
    return within(policy, max(by_backlog, int(at_work)))
