"""Several Envoys as one gateway.

They share one address (the kernel spreads new connections over the processes that listen on it) and one
folder of files, so that clients find an open port while one of them is dead or being replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from deploy.envoy import EnvoyAdmin, Host
from deploy.errors import GatewayUnreachable
from deploy.port import Counters, Totals

T = TypeVar("T")


class Gateways:
    """What the Envoys that answer say together. Raises `GatewayUnreachable` when none does.

    Args:
        admins: their admin interfaces by name.
    """

    def __init__(self, admins: Mapping[str, EnvoyAdmin]) -> None:
        self._admins = dict(admins)

    def counters(self, prefix: str = "") -> dict[str, Totals]:
        """Totals by fleet id and gateway, of fleets whose id begins with `prefix`."""
        totals: dict[str, dict[str, Counters]] = {}
        for name, found in self._ask(lambda admin: admin.counters(prefix)).items():
            for fleet, counters in found.items():
                totals.setdefault(fleet, {})[name] = counters
        return dict(totals)

    def hosts(self, fleet: str) -> dict[int, Host]:
        """The instances of a fleet by port: healthy when every gateway finds so; `active` is their sum."""
        seen = list(self._ask(lambda admin: admin.hosts(fleet)).values())
        return {
            port: Host(
                healthy=all(port in hosts and hosts[port].healthy for hosts in seen),
                active=sum(hosts[port].active for hosts in seen if port in hosts),
            )
            for port in sorted({port for hosts in seen for port in hosts})
        }

    def arriving(self, mirrored: Collection[str] = ()) -> int:
        """Requests that none of them has handed to a fleet yet; see `EnvoyAdmin.arriving`."""
        return sum(self._ask(lambda admin: admin.arriving(mirrored)).values())

    def applied_routes(self) -> str:
        """Version of the routes in force; empty while they differ; one that is down starts with them."""
        versions = set(self._ask(EnvoyAdmin.applied_routes).values())
        return versions.pop() if len(versions) == 1 else ""

    def close(self) -> None:
        """Give the connections back."""
        for admin in self._admins.values():
            admin.close()

    def _ask(self, question: Callable[[EnvoyAdmin], T]) -> dict[str, T]:
        answers: dict[str, T] = {}
        failure: GatewayUnreachable | None = None
        for name, admin in self._admins.items():
            try:
                answers[name] = question(admin)
            except GatewayUnreachable as error:
                failure = error
        if failure and not answers:
            raise failure
        return answers
