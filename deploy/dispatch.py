"""Several targets of one home as one: each fleet runs where it says, all behind the same gateway."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.errors import PlanRefused
from deploy.port import Capabilities, Fleet, Readiness, Share, Target, Totals


class Dispatch:
    """A `Target` made of targets that share a `deploy.dataplane.DataPlane`'s home.

    Args:
        targets: by the name in `Fleet.target`; the first one runs fleets that name none.
    """

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = dict(targets)
        self._first = next(iter(self._targets.values()))

    @property
    def capabilities(self) -> Capabilities:
        """What every one of them can do."""
        all_of = [target.capabilities for target in self._targets.values()]
        return Capabilities(
            mirror=all(one.mirror for one in all_of),
            rolling=all(one.rolling for one in all_of),
            weights=all(one.weights for one in all_of),
            max_instances=min(one.max_instances for one in all_of),
        )

    def start(self, fleet: Fleet) -> None:
        """See `deploy.port.Target.start`.

        Raises:
            PlanRefused: there is no such target here.
        """
        self._of(fleet).start(fleet)

    def ready(self, fleet: Fleet) -> Readiness:
        """See `deploy.port.Target.ready`."""
        return self._of(fleet).ready(fleet)

    def route(self, endpoint: str, split: tuple[Share, ...], sticky: str = "") -> None:
        """See `deploy.port.Target.route`."""
        self._first.route(endpoint, split, sticky)

    def observe(self, endpoint: str) -> dict[str, Totals]:
        """See `deploy.port.Target.observe`."""
        return self._first.observe(endpoint)

    def stop(self, fleet: Fleet) -> None:
        """See `deploy.port.Target.stop`."""
        self._of(fleet).stop(fleet)

    def _of(self, fleet: Fleet) -> Target:
        if not fleet.target:
            return self._first
        if fleet.target not in self._targets:
            known = ", ".join(sorted(self._targets))
            raise PlanRefused(f"there is no target {fleet.target!r} here; choose one of {known}")
        return self._targets[fleet.target]
