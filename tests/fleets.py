"""What tests of targets do with fleets: start them, end them, and call them without a pause."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, Self

import httpx

from deploy.port import Fleet, Share, Target
from tests.fakes.data_plane import wait_until


class Place(Protocol):
    """A target, and what a test needs around it."""

    @property
    def target(self) -> Target: ...
    def fleet(self, endpoint: str, variant: str, instances: int = 1) -> Fleet: ...
    def damaged(self, endpoint: str) -> Fleet: ...
    def send(self, endpoint: str, requests: int) -> int: ...
    def crash_gateway(self) -> None: ...
    def again(self) -> Target: ...


def settle(place: Place, *fleets: Fleet) -> None:
    """Start fleets and wait until they are complete, as the controller would."""

    def complete() -> bool:
        for fleet in fleets:
            place.target.start(fleet)
        return all(place.target.ready(fleet).complete for fleet in fleets)

    wait_until(complete, seconds=60, step=0.1)


def end(place: Place, endpoint: str, *fleets: Fleet) -> None:
    place.target.route(endpoint, ())
    for fleet in fleets:

        def gone(fleet: Fleet = fleet) -> bool:
            place.target.stop(fleet)
            return place.target.ready(fleet).wanted == 0

        wait_until(gone, seconds=60, step=0.1)


def whole(fleet: Fleet) -> tuple[Share, ...]:
    return (Share(fleet.id, fleet.variant, 100),)


@dataclass
class Load:
    """Clients that call without a pause, each on its own connection."""

    url: str
    endpoint: str
    clients: int = 2
    statuses: Counter[str] = field(default_factory=Counter)
    variants: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as http:
            while not self._over.is_set():
                try:
                    answer = http.post(
                        f"/endpoints/{self.endpoint}/invocations", json={"instances": [{"x": 3.0}]}
                    )
                except httpx.HTTPError as error:
                    self.statuses[type(error).__name__] += 1
                    continue
                self.statuses[str(answer.status_code)] += 1
                self.variants[answer.headers.get("x-amzn-invoked-production-variant", "")] += 1

    @property
    def failed(self) -> int:
        return self.statuses.total() - self.statuses["200"]
