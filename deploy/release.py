"""What is rolled out, where and how: the wish a flow writes and the controller fulfils."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.hosting import Scaling
from configs.rollout import Alarm, Judge
from deploy.plan import Plan
from deploy.port import ASYNCHRONOUS, SERVERLESS, Fleet

RESTORE = ":restore"
"""How the ids of rollouts end that bring the previous version back; no approval stands behind them."""


@dataclass(frozen=True, slots=True)
class Container:
    """How a release runs in a container."""

    image: str = ""
    """Image that serves the package; empty for Seaway's own."""
    memory: int = 0
    """Most bytes of memory; 0 for the target's limit."""
    cpus: float = 0
    """Most processors; 0 for the target's limit."""
    profile: str = ""
    """`least`, also when empty, `root-compat` or `root-writable`: see `deploy.containers`."""


@dataclass(frozen=True, slots=True)
class Release:
    """One approved model version with the exact bytes that were approved."""

    model: str
    version: str
    digest: str
    """sha256 of the package."""
    instance_count: int = 1
    environment: tuple[tuple[str, str], ...] = ()
    """Environment variables of every instance."""
    container: Container = Container()
    """What a container target needs to know."""
    target: str = ""
    """Where it runs; empty for the installation's own choice."""
    scaling: Scaling | None = None
    """How its number of instances follows the backlog; `instance_count` is then where it begins."""

    @property
    def variant(self) -> str:
        """Name of the production variant that serves it."""
        return f"v{self.version}"

    @property
    def serverless(self) -> bool:
        """Its model servers run on demand."""
        return SERVERLESS in dict(self.environment)

    @property
    def asynchronous(self) -> dict[str, Any] | None:
        """What the asynchronous service is told of its endpoint; None when it answers at once.

        Empty for releases of former versions of Seaway, which do not say.
        """
        if (text := dict(self.environment).get(ASYNCHRONOUS)) is None:
            return None
        found = json.loads(text)
        return found if isinstance(found, dict) else {}

    def fleet(self, endpoint: str, archives: Path, share: int = 100) -> Fleet:
        """Instances of this release behind an endpoint: `share` percent of all, and at least one of any."""
        count = max(min(1, self.instance_count), -(-self.instance_count * share // 100))
        archive = archives / f"{self.digest}.tar.gz"
        named = (("SEAWAY_ENDPOINT", endpoint), ("SEAWAY_VARIANT", self.variant))
        box, environment = self.container, (*named, *self.environment)
        return Fleet(
            endpoint,
            self.variant,
            self.digest,
            archive,
            count,
            environment,
            box.image,
            box.memory,
            box.cpus,
            box.profile,
            self.target,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """A wish: this release on that endpoint, by this plan."""

    id: str
    """Chosen by who asks; asking again with the same id changes nothing."""
    endpoint: str
    release: Release
    plan: Plan
    judge: Judge = field(default_factory=Judge)
    alarms: tuple[Alarm, ...] = ()
    champion: bool = False
    """The endpoint is the model's production: promotion moves the aliases."""
    requested_by: str = ""
    notify: tuple[str, ...] = ()
    sticky: str = ""
    """What identifies a client, `header:NAME` or `cookie:NAME`; empty when each request stands alone."""

    @property
    def restores(self) -> bool:
        """A person asked for the previous version back."""
        return self.id.endswith(RESTORE)
