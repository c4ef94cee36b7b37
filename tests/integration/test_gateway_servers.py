"""Our own model servers behind a real Envoy: pipelines, many models, applications of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from deploy.dataplane import DataPlane
from deploy.envoy import ConfigFolder
from deploy.gateways import Gateways
from deploy.instances import Instance, Record
from deploy.port import Fleet, Share
from serving.pipeline import stages
from serving.pipeline.stages import Stage
from tests.fakes.data_plane import Envoy, running_envoy, wait_until
from tests.fakes.stage import runtime
from tests.integration.test_pipeline import serving

pytestmark = pytest.mark.integration

SAME = "def model_fn(folder): return None\ndef transform_fn(m, body, kind, accept): return body, kind\n"
REFUSE = """
class Bad(Exception): status_code = 422
def model_fn(folder): return None
def transform_fn(m, body, kind, accept):
    if b"bad" in (body if isinstance(body, bytes) else body.encode()): raise Bad("a bad row")
    return body, kind
"""
OWN = """
import pathlib
def app(environ, start_response):
    gone = pathlib.Path(__file__).with_name("gone").exists()
    failing = gone and environ["PATH_INFO"] == "/ping"
    start_response("404 Not Found" if failing else "200 OK", [("Content-Type", "text/plain")])
    return [b"no model"] if failing else [b"own"]
"""


@dataclass
class Harbour:
    """A home with a data plane, and the Envoy that it steers."""

    plane: DataPlane
    envoy: Envoy
    client: Any

    def folder(self, endpoint: str) -> Path:
        """Where the package of the endpoint's only fleet is unpacked."""
        return self.plane.package(self.fleet(endpoint))

    def fleet(self, endpoint: str) -> Fleet:
        return Fleet(endpoint, "v1", endpoint.encode().hex().ljust(64, "0"), Path("m.tar.gz"), 1)

    def show(self, endpoint: str, port: int) -> Callable[[], bool]:
        """Route an endpoint to a server; the answer says whether the gateway finds it well."""
        fleet = self.fleet(endpoint)
        record = Record(fleet, (Instance(port=port, pid=1),))
        self.plane.save(record)
        self.plane.publish(record)
        self.plane.route(endpoint, (Share(fleet.id, "v1", 100),))

        def healthy() -> bool:
            hosts = self.plane.hosts(fleet.id)
            return any(host.healthy for host in hosts.values())

        wait_until(healthy)
        return healthy

    def failure(self, endpoint: str, body: bytes, **asked: str) -> dict[str, Any]:
        with pytest.raises(ClientError) as caught:
            self.client.invoke_endpoint(EndpointName=endpoint, Body=body, **asked)
        return dict(caught.value.response)


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    home = tmp_path_factory.mktemp("home")
    folder = ConfigFolder(home / "gateway")
    with running_envoy(folder) as envoy, envoy.admin() as admin:
        plane = DataPlane(home, Gateways({"envoy-1": admin}), folder)
        yield Harbour(plane, envoy, runtime(envoy.url))


def script(folder: Path, code: str) -> None:
    (folder / "code").mkdir(parents=True)
    (folder / "code/inference.py").write_text(code)


def test_the_failing_stage_of_a_pipeline_is_named(harbour: Harbour) -> None:
    folder = harbour.folder("chain")
    script(folder / "one", SAME)
    script(folder / "two", REFUSE)
    listed = [Stage("clean", "one"), Stage("predict", "two")]
    (folder / "pipeline.json").write_bytes(stages.write(listed))
    with serving(folder) as port:
        harbour.show("chain", port)
        good = harbour.client.invoke_endpoint(EndpointName="chain", Body=b"good", ContentType="text/csv")
        assert good["Body"].read() == b"good"
        error = harbour.failure("chain", b"bad", ContentType="text/csv")
        one = harbour.failure("chain", b"good", TargetModel="one")
    assert (error["Error"]["Code"], error["OriginalStatusCode"]) == ("ModelError", 422)
    assert error["Message"].startswith('Received client error (422) from predict with message "{"error":')
    assert error["Message"].endswith(
        "See /aws/sagemaker/Endpoints/chain in account 000000000000 for more information."
    )
    assert "x-seaway-stage" not in error["ResponseMetadata"]["HTTPHeaders"]
    assert one["Error"] == {
        "Code": "ValidationError",
        "Message": "Endpoint chain has one model; leave TargetModel out.",
    }


def test_refusals_of_a_multi_model_server_are_model_errors(harbour: Harbour) -> None:
    folder = harbour.folder("many")
    script(folder / "same", SAME)
    (folder / "models.json").write_text('{"format": 1, "models": ["same"]}')
    with serving(folder) as port:
        harbour.show("many", port)
        asked = {"EndpointName": "many", "Body": b"1", "ContentType": "text/csv"}
        good = harbour.client.invoke_endpoint(**asked, TargetModel="same")
        assert good["Body"].read() == b"1"
        failures = {
            404: harbour.failure("many", b"1", TargetModel="gone"),
            400: harbour.failure("many", b"1", TargetModel="../same"),
        }
        nameless = harbour.failure("many", b"1")
    for status, error in (*failures.items(), (400, nameless)):
        assert (error["Error"]["Code"], error["OriginalStatusCode"]) == ("ModelError", status)
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 424


def test_an_application_of_its_own_that_is_not_well_gets_no_requests(harbour: Harbour) -> None:
    folder = harbour.folder("own")
    (folder / "code").mkdir(parents=True)
    (folder / "code/predictor.py").write_text(OWN)
    with serving(folder, SAGEMAKER_PROGRAM="predictor.py") as port:
        healthy = harbour.show("own", port)
        assert harbour.client.invoke_endpoint(EndpointName="own", Body=b"")["Body"].read() == b"own"
        (folder / "code/gone").touch()
        wait_until(lambda: not healthy())
        ping = httpx.get(f"http://127.0.0.1:{port}/ping")
        assert (ping.status_code, ping.json()["error"]) == (
            503,
            "/ping of the application answers 404: no model",
        )
        error = harbour.failure("own", b"")
        assert (error["Error"]["Code"], error["OriginalStatusCode"]) == ("ModelError", 503)
        (folder / "code/gone").unlink()
        wait_until(healthy)
        assert httpx.get(f"http://127.0.0.1:{port}/ping").status_code == 200
