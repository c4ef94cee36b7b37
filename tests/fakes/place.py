"""What every place with real gateways and packages can do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx

from deploy.port import Fleet
from tests.fakes.data_plane import Envoy


class BehindEnvoys:
    """Asks endpoints through real gateways; a place brings these, a client and packages by variant."""

    envoys: tuple[Envoy, ...]
    http: httpx.Client
    packages: dict[str, tuple[Path, str]]

    def fleet(self, endpoint: str, variant: str, instances: int = 1) -> Fleet:
        archive, digest = self.packages[variant]
        return Fleet(endpoint, variant, digest, archive, instances)

    def damaged(self, endpoint: str) -> Fleet:
        return replace(self.fleet(endpoint, "v1"), digest="0" * 64)

    def ask(self, endpoint: str) -> httpx.Response:
        return self.http.post(f"/endpoints/{endpoint}/invocations", json={"instances": [{"x": 3.0}]})

    def send(self, endpoint: str, requests: int) -> int:
        return sum(self.ask(endpoint).status_code != 200 for _ in range(requests))

    def crash_gateway(self) -> None:
        for envoy in self.envoys:
            envoy.kill()
        for envoy in self.envoys:
            envoy.start()
