"""What the dashboards ask of Envoy, held against what a real one tells Prometheus."""

import re

import httpx
import pytest
import yaml

from deploy.port import Share
from tests.dashboards import ROOT, metrics
from tests.fakes.data_plane import order, wait_until
from tests.fakes.stage import ENDPOINT, V1, V2, runtime, staged

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The page that Prometheus scrapes, after some requests."""
    with staged(tmp_path_factory.mktemp("gateway")) as stage:
        stage.split(Share(V1.id, "v1", 100), Share(V2.id, "v2", 0))
        client = runtime(stage.envoy.url)
        address = f"http://127.0.0.1:{stage.envoy.admin_port}/stats/prometheus"

        def page():
            client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(body=b"x"))
            return httpx.get(address, trust_env=False).text

        wait_until(lambda: "upstream_rq_time_bucket" in page())  # histograms become visible at a flush
        return page()


def test_envoy_tells_every_metric_that_is_asked_for(told):
    assert metrics("envoy_")
    assert metrics("envoy_") <= set(re.findall(r"^(envoy_[a-z0-9_]+)[{ ]", told, re.MULTILINE))


def test_endpoint_and_variant_come_out_of_the_fleet_s_name(told):
    document = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    gateway = next(job for job in document["scrape_configs"] if job["job_name"] == "seaway-gateway")
    made = {rule["target_label"]: rule for rule in gateway["metric_relabel_configs"]}
    names = set(re.findall(r'envoy_cluster_name="([^"]+)"', told))
    found = {
        tuple(
            re.sub(made[label]["regex"], made[label]["replacement"].replace("$", "\\"), name)
            for label in ("endpoint", "variant")
        )
        for name in names
        if re.fullmatch(made["endpoint"]["regex"], name)
    }
    assert {(ENDPOINT, "v1"), (ENDPOINT, "v2")} <= found
