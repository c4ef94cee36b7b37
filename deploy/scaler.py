"""Applies scaling policies: looks at queues, decides, remembers it, and tells the queue who is there.

What a fleet is to have stands in the store, so that another controller goes on where this one ended; the
controller brings the fleets to it through the target.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from deploy import scaling
from deploy.backlogs import Backlogs
from deploy.port import Fleet, Target
from deploy.release import Release
from deploy.scaling import Observed, Scale
from deploy.store import Store
from deploy.stored import Event

LATELY = timedelta(seconds=5)
"""An answer this long ago still counts as work: short requests are rarely seen waiting."""


class Scaler:
    """The numbers of instances of endpoints with a scaling policy; all others stay as they are.

    Args:
        store: what was decided.
        target: where fleets run.
        backlogs: what waits.
    """

    def __init__(self, store: Store, target: Target, backlogs: Backlogs) -> None:
        self._store = store
        self._target = target
        self._backlogs = backlogs

    def sized(self, endpoint: str, release: Release, least: int = 0) -> Release:
        """The release with as many instances as were last decided, and not fewer than `least`."""
        if release.scaling is None:
            return release
        scale = self._store.scale(endpoint)
        count = scale.instances if scale else release.instance_count
        return replace(release, instance_count=scaling.within(release.scaling, count, least))

    def decide(
        self, endpoint: str, release: Release, fleets: Iterable[str], now: datetime, *, rolling: bool = False
    ) -> None:
        """Look at the queue, decide, and remember what was decided.

        Args:
            endpoint: its name.
            release: whose policy and first number of instances count.
            fleets: ids of the fleets that answer.
            now: the time of the look.
            rolling: a rollout runs.
        """
        if release.scaling is None:
            return
        policy = scaling.awake(release.scaling) if rolling else release.scaling
        known = self._store.scale(endpoint)
        before = known or Scale(scaling.within(policy, release.instance_count), now)
        backlog = self._backlogs.look(endpoint)
        served = any(one.requests for fleet in fleets for one in self._store.samples(fleet, now - LATELY))
        seen = Observed(before, None, 0, served)
        if backlog:
            seen = replace(seen, backlog=backlog.size, in_flight=backlog.in_flight)
        after = scaling.advance(policy, seen, now)
        if after != known:
            self._remember(endpoint, before, after, seen, now)

    def tell(self, endpoint: str, release: Release, fleets: Iterable[Fleet]) -> None:
        """Tell the queue how many instances answer."""
        if release.scaling:
            self._backlogs.tell(endpoint, sum(self._target.ready(fleet).ready for fleet in fleets))

    def offer(self, endpoint: str, release: Release | None) -> None:
        """Tell the queue what an endpoint takes while a release serves it; nothing of none."""
        asked = release.asynchronous if release else None
        if release is None or asked is None:
            self._backlogs.offer(endpoint, None)
        elif asked:
            told = {**asked, "revision": f"{release.variant}-{release.digest[:12]}"}
            self._backlogs.offer(endpoint, told, scaled=release.scaling is not None)

    def _remember(self, endpoint: str, before: Scale, after: Scale, seen: Observed, now: datetime) -> None:
        with self._store.writing() as store:
            store.scale(endpoint, after)
            if after.instances != before.instances:
                data = {"from": before.instances, "to": after.instances, "backlog": seen.backlog}
                store.note(Event(now, endpoint, "scaled", data))
