"""A target without processes: fleets, weights and counters in memory, exact and deterministic.

It keeps the same contract as the real ones, and is what the controller's tests run against.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from deploy.errors import GatewayUnreachable, PackageDamaged, RolloutRefused
from deploy.gateway import LATENCY_BUCKETS_MS, Layout, arrange
from deploy.port import Capabilities, Counters, Fleet, Readiness, Share, Totals


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the instances of a fleet start and answer."""

    looks: int = 0
    """Calls of `ready` before the instances are healthy."""
    crashes: int = 0
    """Reported with every look."""
    message: str = ""
    """Reported while it is not ready."""
    error_4xx: float = 0.0
    """Share of answers with a status from 400 to 499."""
    error_5xx: float = 0.0
    """Share of answers with a status of 500 and more."""
    latency_ms: float = 5.0
    """Time of every answer."""
    damaged: bool = False
    """The package does not have its digest."""


@dataclass(slots=True)
class MemoryTarget:
    """Obeys the `Target` protocol; `serve` plays the clients."""

    capabilities: Capabilities = field(default_factory=lambda: Capabilities(mirror=True, rolling=True))
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    """By `Fleet.id`; a fleet without an entry is ready at once and answers well."""
    reachable: bool = True
    """False: the gateway does not answer its admin interface."""
    fleets: dict[str, Fleet] = field(default_factory=dict)
    """Fleets that run."""
    endpoints: dict[str, tuple[Share, ...]] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    """The splits in force."""
    _looks: Counter[str] = field(default_factory=Counter)
    _totals: dict[str, Counters] = field(default_factory=dict)

    def start(self, fleet: Fleet) -> None:
        """See `deploy.port.Target.start`."""
        if self._behaviour(fleet.id).damaged:
            raise PackageDamaged(
                f"package {fleet.package} does not have the digest {fleet.digest}; build it again"
            )
        if not fleet.instance_count:
            self._looks.pop(fleet.id, None)  # the next instance starts afresh
        self.fleets[fleet.id] = fleet

    def ready(self, fleet: Fleet) -> Readiness:
        """See `deploy.port.Target.ready`; each call is one look."""
        self._reach()
        running = self.fleets.get(fleet.id)
        if running is None:
            return Readiness(ready=0, wanted=0, gone=True)
        self._looks[fleet.id] += 1
        behaviour = self._behaviour(fleet.id)
        if self._healthy(fleet.id):
            return Readiness(running.instance_count, running.instance_count, behaviour.crashes)
        return Readiness(0, running.instance_count, behaviour.crashes, behaviour.message)

    def route(self, endpoint: str, split: tuple[Share, ...], sticky: str = "") -> None:
        """See `deploy.port.Target.route`."""
        self._reach()
        if unknown := [share.fleet for share in split if share.fleet not in self.fleets]:
            raise RolloutRefused(f"fleet {unknown[0]} does not run; start it before routing to it")
        self.layouts[endpoint] = arrange(self.layouts.get(endpoint), split, sticky)
        self.endpoints.pop(endpoint, None)
        if split:
            self.endpoints[endpoint] = split

    def observe(self, endpoint: str) -> dict[str, Totals]:
        """See `deploy.port.Target.observe`."""
        self._reach()
        mine = {fleet: totals for fleet, totals in self._totals.items() if fleet.startswith(f"{endpoint}.")}
        return {fleet: {"memory": totals} for fleet, totals in mine.items()}

    def stop(self, fleet: Fleet) -> None:
        """See `deploy.port.Target.stop`; a fleet with traffic goes on until it has none."""
        self._reach()
        if not any(share.fleet == fleet.id for split in self.endpoints.values() for share in split):
            self.fleets.pop(fleet.id, None)
            self._totals.pop(fleet.id, None)
            self._looks.pop(fleet.id, None)

    # ---- what only tests need -----------------------------------------------------------------------------

    def serve(self, endpoint: str, requests: int, *, dice: random.Random | None = None) -> int:
        """Send requests to an endpoint and book the answers; returns how many no healthy instance could take.

        Args:
            endpoint: name of the endpoint.
            requests: how many.
            dice: draws each request's variant and each answer's status; without it shares are exact,
                rounded so that their sum is kept.
        """
        split = self.endpoints.get(endpoint, ())
        if not split:
            return requests
        lost = 0
        live = _divide(requests, [share.weight for share in split], dice)
        for share, count in zip(split, live, strict=True):
            healthy = self._healthy(share.fleet)
            lost += 0 if healthy else count
            copies = _divide(requests, [share.mirror, 100 - share.mirror], dice)[0]
            self._book(share.fleet, count + (copies if healthy else 0), dice, healthy=healthy)
        return lost

    def crash_gateway(self) -> None:
        """The gateway restarts: routes and fleets stay, all totals begin at zero."""
        self._totals.clear()

    def _behaviour(self, fleet: str) -> Behaviour:
        return self.behaviours.get(fleet, Behaviour())

    def _healthy(self, fleet: str) -> bool:
        running = self.fleets.get(fleet)
        answering = running is not None and running.instance_count > 0
        return answering and self._looks[fleet] >= self._behaviour(fleet).looks

    def _reach(self) -> None:
        if not self.reachable:
            raise GatewayUnreachable("the gateway's admin interface does not answer; see its log")

    def _book(self, fleet: str, count: int, dice: random.Random | None, *, healthy: bool) -> None:
        behaviour = self._behaviour(fleet) if healthy else Behaviour(error_5xx=1.0)
        good = 1 - behaviour.error_4xx - behaviour.error_5xx
        client, server, _ = _divide(count, [behaviour.error_4xx, behaviour.error_5xx, good], dice)
        before = self._totals.get(fleet, Counters(latency=_latency(0, 0.0)))
        self._totals[fleet] = replace(
            before,
            requests=before.requests + count,
            errors_4xx=before.errors_4xx + client,
            errors_5xx=before.errors_5xx + server,
            latency=tuple(
                (bound, old + new)
                for (bound, old), (_, new) in zip(
                    before.latency, _latency(count if healthy else 0, behaviour.latency_ms), strict=True
                )
            ),
        )


def _latency(count: int, milliseconds: float) -> tuple[tuple[float, int], ...]:
    bounds = (*map(float, LATENCY_BUCKETS_MS), float("inf"))
    return tuple((bound, count if milliseconds <= bound else 0) for bound in bounds)


def _divide(count: int, weights: list[float] | list[int], dice: random.Random | None) -> list[int]:
    """`count` in parts as the weights say; the largest remainders are rounded up."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    if dice:
        drawn = Counter(dice.choices(range(len(weights)), weights, k=count))
        return [drawn[index] for index in range(len(weights))]
    exact = [count * weight / total for weight in weights]
    parts = [int(part) for part in exact]
    remainder: Callable[[int], float] = lambda index: exact[index] - parts[index]  # noqa: E731
    for index in sorted(range(len(parts)), key=remainder, reverse=True)[: count - sum(parts)]:
        parts[index] += 1
    return parts
