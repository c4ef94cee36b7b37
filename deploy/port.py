"""What a deployment target is asked to do, and the values that travel there and back.

A target converges: every call may be repeated, and repeating it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a target can do; `deploy.plan` refuses a project file that asks for more."""

    mirror: bool
    """Copy live traffic to a variant whose answers are discarded."""
    rolling: bool
    """Replace the instances of a fleet batch by batch."""
    weights: bool = True
    """Split live traffic in whole percents."""
    max_instances: int = 64
    """Most instances of one fleet."""


ASYNCHRONOUS = "SEAWAY_ASYNCHRONOUS"
"""Variable of fleets that take asynchronous calls only."""
SERVERLESS = "SEAWAY_SERVERLESS"
"""Variable of fleets whose model servers run on demand: their limits, as JSON."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Instances that serve one package as one variant of an endpoint."""

    endpoint: str
    """Name of the endpoint."""
    variant: str
    """Name of the variant, for example `v2`."""
    digest: str
    """sha256 of the package, 64 hexadecimal digits."""
    package: Path
    """Local path of `model.tar.gz`."""
    instance_count: int
    """How many instances are wanted now; with 0 the gateway knows the fleet and nobody answers."""
    environment: tuple[tuple[str, str], ...] = ()
    """Environment variables of every instance, by name."""
    image: str = ""
    """Container image that serves the package; empty for the target's own."""
    memory: int = 0
    """Most bytes of memory of one instance; 0 for the target's own limit."""
    cpus: float = 0
    """Most processors of one instance; 0 for the target's own limit."""
    profile: str = ""
    """What a container may do: `least` (also when empty), `root-compat` or `root-writable`, which
    `deploy.containers` explains."""
    target: str = ""
    """Which of several targets runs it; empty for the first."""

    @property
    def id(self) -> str:
        """Name under which gateway and processes know the fleet, stable over restarts."""
        return f"{self.endpoint}.{self.variant}.{self.digest[:12]}"

    @property
    def asynchronous(self) -> bool:
        """It takes asynchronous calls only."""
        return bool(dict(self.environment).get(ASYNCHRONOUS))


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far a fleet has come."""

    ready: int
    """Instances that the gateway finds healthy."""
    wanted: int
    """Instances asked for."""
    crashes: int = 0
    """Times an instance ended by itself since the fleet was started."""
    message: str = ""
    """Why it is not ready, with the last log lines of a failing instance."""
    gone: bool = False
    """Nothing of the fleet is left, or it was never started; a fleet without instances is not gone."""

    @property
    def complete(self) -> bool:
        """Every wanted instance answers."""
        return self.wanted > 0 and self.ready >= self.wanted


@dataclass(frozen=True, slots=True)
class Share:
    """A fleet's part in an endpoint's traffic."""

    fleet: str
    """`Fleet.id`."""
    variant: str
    """Value of the `x-Amzn-Invoked-Production-Variant` header."""
    weight: float
    """Percent of the live traffic."""
    mirror: int = 0
    """Whole percent of the live traffic copied to it; its answers are discarded."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals of one fleet since a gateway's start; a total that falls means that this gateway restarted.

    `latency` maps an upper bound in milliseconds to the number of answers that took at most that long;
    the last bound is infinity.
    """

    requests: int = 0
    errors_4xx: int = 0
    errors_5xx: int = 0
    latency: tuple[tuple[float, int], ...] = ()
    active: int = 0
    """Requests being answered right now (a gauge)."""
    refused: int = 0
    """Requests that no model saw, because too many waited already; also in `requests` and `errors_5xx`."""
    other: dict[str, int] = field(default_factory=dict)
    """Any further counter of the gateway by name."""
    uptime: int = 0
    """Whole seconds that this gateway has run (a gauge); one that falls means that it restarted."""


Totals: TypeAlias = Mapping[str, Counters]
"""One fleet's counters by the name of the gateway that counts; a gateway that is down is absent."""


class Target(Protocol):
    """A place where endpoints run."""

    @property
    def capabilities(self) -> Capabilities:
        """What this target can do."""
        ...

    def start(self, fleet: Fleet) -> None:
        """Bring the fleet to its wanted instance count; also scales it up or down.

        Raises:
            deploy.errors.PackageDamaged: the package does not have the digest it claims.
        """
        ...

    def ready(self, fleet: Fleet) -> Readiness:
        """How many instances answer, as the gateway sees them."""
        ...

    def route(self, endpoint: str, split: tuple[Share, ...], sticky: str = "") -> None:
        """Make the endpoint's traffic look like `split`; an empty split removes the endpoint.

        With `sticky` (`header:NAME` or `cookie:NAME`) a client keeps its fleet while the split allows.
        """
        ...

    def observe(self, endpoint: str) -> dict[str, Totals]:
        """Totals of each fleet of the endpoint, by `Fleet.id`; a fleet without traffic may be absent."""
        ...

    def stop(self, fleet: Fleet) -> None:
        """Let the fleet finish what it has and end it; called while no traffic is routed to it."""
        ...
