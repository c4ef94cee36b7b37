"""A real Envoy between a test and two fake model servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from deploy.envoy import ConfigFolder, EnvoyAdmin
from deploy.port import Fleet, Share
from tests.fakes.data_plane import Envoy, Upstream, order, running_envoy, wait_until
from tests.ports import free_port

TIMEOUT = 1.0
RETRIES = 3
ENDPOINT = "flights"


def fleet(variant: str, endpoint: str = ENDPOINT) -> Fleet:
    return Fleet(endpoint, variant, variant.encode().hex().ljust(64, "0"), Path("model.tar.gz"), 1)


V1, V2, DOWN = fleet("v1"), fleet("v2"), fleet("v1", "down")


@dataclass
class Stage:
    envoy: Envoy
    admin: EnvoyAdmin
    http: httpx.Client
    first: Upstream
    second: Upstream

    def split(self, *shares: Share, name: str = ENDPOINT, sticky: str = "") -> None:
        endpoints = self.envoy.folder.endpoints()
        self.settled(self.envoy.folder.write_routes(endpoints | {name: shares}, {name: sticky}))

    def settled(self, version: str) -> None:
        """Wait until Envoy works with these routes."""
        wait_until(lambda: self.admin.applied_routes() == version)

    def call(self, body: bytes = order(), *, name: str = ENDPOINT, **headers: str) -> httpx.Response:
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.http.post(f"/endpoints/{name}/invocations", content=body, headers=sent)


@contextmanager
def staged(path: Path) -> Iterator[Stage]:
    folder = ConfigFolder(path, model_timeout=TIMEOUT)
    first, second = Upstream().start(), Upstream().start()
    folder.write_instances(V1.id, [first.port])
    folder.write_instances(V2.id, [second.port])
    folder.write_instances(DOWN.id, [free_port()])
    folder.write_clusters([V1, V2, DOWN])
    with running_envoy(folder) as envoy, envoy.admin() as admin, httpx.Client(base_url=envoy.url) as http:
        wait_until(lambda: admin.healthy(V1.id) == 1 and admin.healthy(V2.id) == 1)
        yield Stage(envoy, admin, http, first, second)
    first.stop()
    second.stop()


def runtime(url: str) -> Any:
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"mode": "standard", "max_attempts": RETRIES}),
    )
