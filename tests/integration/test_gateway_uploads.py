"""Requests whose bodies are still on their way when the version they were meant for leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from deploy.dataplane import DRAIN_SECONDS, SETTLE_SECONDS, DataPlane
from deploy.envoy import ConfigFolder
from deploy.gateways import Gateways
from deploy.instances import Instance, Record
from deploy.port import Fleet, Share
from tests.fakes.data_plane import Envoy, Upstream, order, running_envoy, wait_until
from tests.fakes.stage import ENDPOINT, V1, V2

pytestmark = pytest.mark.integration


@dataclass
class Harbour:
    """A data plane with two versions, of which the first serves, and a clock that the test moves."""

    home: Path
    now: float = 1000.0
    ended: list[Fleet] = field(default_factory=list)

    def begin(self, envoy: Envoy, ports: dict[Fleet, int], gateways: Gateways) -> Harbour:
        self.envoy = envoy
        self.plane = DataPlane(self.home, gateways, envoy.folder, clock=lambda: self.now)
        for fleet, port in ports.items():
            record = Record(fleet, (Instance(port=port, pid=1),))
            self.plane.save(record)
            self.plane.publish(record)
        self.serve(V1)
        wait_until(lambda: all(self.plane.hosts(fleet.id) for fleet in ports))
        wait_until(lambda: all(one.healthy for fleet in ports for one in self.plane.hosts(fleet.id).values()))
        return self

    def serve(self, fleet: Fleet) -> None:
        self.plane.route(ENDPOINT, (Share(fleet.id, fleet.variant, 100),))

    def stopped(self, fleet: Fleet) -> bool:
        """One step towards the fleet's end; whether nothing is left of it."""
        self.plane.stop(fleet, lambda fleet, _: not self.ended.append(fleet))
        return self.plane.load(fleet.id) is None


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[Harbour]:
    ports = {V1: Upstream().start(), V2: Upstream().start()}
    with running_envoy(ConfigFolder(tmp_path / "gateway")) as envoy, envoy.admin() as admin:
        named = {fleet: server.port for fleet, server in ports.items()}
        yield Harbour(tmp_path / "home").begin(envoy, named, Gateways({"envoy-1": admin}))
    for server in ports.values():
        server.stop()


@dataclass
class Upload:
    """A request of which the last byte is missing."""

    connection: HTTPConnection
    last: bytes

    def finish(self) -> HTTPResponse:
        self.connection.send(self.last)
        return self.connection.getresponse()


@contextmanager
def uploading(harbour: Harbour) -> Iterator[Upload]:
    body = order(body=b"late")
    connection = HTTPConnection("127.0.0.1", harbour.envoy.port, timeout=20)
    connection.putrequest("POST", f"/endpoints/{ENDPOINT}/invocations")
    connection.putheader("content-length", str(len(body)))
    connection.endheaders(body[:-1])
    with harbour.envoy.admin() as admin:
        wait_until(lambda: admin.arriving() == 1)
    yield Upload(connection, body[-1:])
    connection.close()


def test_a_version_that_leaves_waits_for_the_uploads_meant_for_it(harbour: Harbour) -> None:
    with uploading(harbour) as upload:
        harbour.serve(V2)
        assert not harbour.stopped(V1)
        harbour.now += SETTLE_SECONDS + 1
        assert not harbour.stopped(V1)
        answer = upload.finish()
        assert (answer.status, answer.read()) == (200, b"late")
        assert answer.headers["x-amzn-invoked-production-variant"] == "v1"
    assert not harbour.ended
    wait_until(lambda: harbour.stopped(V1))
    assert harbour.ended == [V1]


def test_an_upload_that_takes_too_long_is_to_be_sent_again(harbour: Harbour) -> None:
    with uploading(harbour) as upload:
        harbour.serve(V2)
        assert not harbour.stopped(V1)
        harbour.now += DRAIN_SECONDS
        wait_until(lambda: harbour.stopped(V1))
        with harbour.envoy.admin() as admin:
            wait_until(lambda: not admin.hosts(V1.id))
        answer = upload.finish()
        told = json.loads(answer.read())
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (503, "ServiceUnavailable")
    assert "no model has seen it" in told["message"]
    assert answer.headers["x-amzn-requestid"]


def test_copies_for_a_shadow_hide_no_upload(harbour: Harbour) -> None:
    harbour.plane.route(ENDPOINT, (Share(V1.id, "v1", 100), Share(V2.id, "v2", 0, mirror=100)))
    with harbour.envoy.admin() as admin, uploading(harbour):
        connection = HTTPConnection("127.0.0.1", harbour.envoy.port, timeout=20)
        connection.request("POST", f"/endpoints/{ENDPOINT}/invocations", order(sleep=1))
        wait_until(lambda: admin.counters()[V2.id].active == 1)
        assert admin.arriving({V2.id}) == 1
        connection.close()
