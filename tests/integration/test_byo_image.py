"""Images that users bring: nginx, gunicorn and Flask under the /opt/ml contract, served as they are."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import tarfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from deploy.port import Fleet, Share
from serving.package import digest
from tests.docker_engine import DockerPlace, built
from tests.fakes.data_plane import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
BASE = "seaway-test/base:byo"
PACKAGES = ("python3", "nginx-light", "python3-flask", "gunicorn")


@pytest.fixture(scope="module")
def byo_image(docker_client: Any) -> str:
    """Built from its Dockerfile on a base image of this machine's own distribution."""
    if not docker_client.images.list(name=BASE):
        if os.environ.get("SEAWAY_REQUIRE_DOCKER") != "1":
            pytest.skip(f"make the base image first: .ci/base-image {BASE} {' '.join(PACKAGES)}")
        subprocess.run([ROOT / ".ci" / "base-image", BASE, *PACKAGES], check=True)
    docker_client.images.build(path=str(ROOT / "tests" / "byo"), tag="seaway-test/byo:1", rm=True)
    return "seaway-test/byo:1"


def csv(place: DockerPlace, endpoint: str, body: str, kind: str = "text/csv") -> httpx.Response:
    path = f"/endpoints/{endpoint}/invocations"
    return place.http.post(path, content=body, headers={"content-type": kind})


def streamed(place: DockerPlace, endpoint: str, body: str) -> bytes:
    """What `InvokeEndpointWithResponseStream` brings."""
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=str(place.http.base_url),
        region_name="local",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    with closing(client):
        answer = client.invoke_endpoint_with_response_stream(
            EndpointName=endpoint, Body=body.encode(), ContentType="text/csv"
        )
        return b"".join(event["PayloadPart"]["Bytes"] for event in answer["Body"])


def serve(place: DockerPlace, fleet: Fleet) -> None:
    def complete() -> bool:
        place.target.start(fleet)
        return place.target.ready(fleet).complete

    wait_until(complete, seconds=120, step=0.1)
    place.target.route(fleet.endpoint, (Share(fleet.id, fleet.variant, 100),))


def end(place: DockerPlace, fleet: Fleet) -> None:
    place.target.route(fleet.endpoint, ())

    def gone() -> bool:
        place.target.stop(fleet)
        return place.target.ready(fleet).wanted == 0

    wait_until(gone, seconds=60, step=0.1)


@pytest.mark.parametrize("profile", ["least", "root-compat"])
def test_an_opaque_image_serves_as_it_is(
    docker_place: DockerPlace, docker_client: Any, byo_image: str, profile: str
) -> None:
    fleet = replace(docker_place.fleet(f"own-{profile}", "v1", 2), image=byo_image, profile=profile)
    serve(docker_place, fleet)
    answer = csv(docker_place, fleet.endpoint, "1\n2.5\n")
    assert (answer.status_code, answer.text) == (200, "2.0\n5.0\n")
    assert csv(docker_place, fleet.endpoint, "{}", "application/json").status_code == 424
    assert streamed(docker_place, fleet.endpoint, "3\n") == b"6.0\n"
    first = next(look for look in docker_place.looks(fleet) if not look.sidecar)
    inspected = docker_client.api.inspect_container(first.name)["HostConfig"]
    assert inspected["ReadonlyRootfs"]
    assert inspected["CapDrop"] == ["ALL"]
    assert len(inspected["CapAdd"] or ()) == (4 if profile == "root-compat" else 0)
    wait_until(lambda: "POST /invocations" in docker_place.log(fleet, 1) + docker_place.log(fleet, 2))
    end(docker_place, fleet)


def test_an_image_that_insists_on_root_says_so_and_gets_it_by_its_profile(
    docker_place: DockerPlace, byo_image: str
) -> None:
    asked = {"image": byo_image, "environment": (("MUST_BE_ROOT", "1"),)}
    fleet = replace(docker_place.fleet("root", "v1"), **asked)
    docker_place.target.start(fleet)
    wait_until(lambda: docker_place.target.ready(fleet).crashes >= 1, seconds=60, step=0.1)
    wait_until(lambda: "this image runs as root only" in docker_place.target.ready(fleet).message)
    end(docker_place, fleet)
    rooted = replace(fleet, profile="root-compat")
    serve(docker_place, rooted)
    assert csv(docker_place, "root", "4\n").text == "8.0\n"
    end(docker_place, rooted)


WRITES = """#!/bin/sh
echo "listen 8080" > /etc/sagemaker-nginx.conf || { echo "cannot write its configuration"; exit 1; }
exec /opt/program/serve "$@"
"""


def test_an_image_that_writes_its_configuration_gets_a_root_it_may_write_to(
    docker_place: DockerPlace, docker_client: Any, byo_image: str
) -> None:
    recipe = f"FROM {byo_image}\nCOPY writes /opt/first/serve\nENV PATH=/opt/first:$PATH\n"
    image = built(docker_client, "writes", recipe, writes=WRITES)
    fleet = replace(docker_place.fleet("writes", "v1"), image=image, profile="root-compat")
    docker_place.target.start(fleet)
    wait_until(lambda: docker_place.target.ready(fleet).crashes >= 1, seconds=60, step=0.1)
    wait_until(lambda: "cannot write its configuration" in docker_place.target.ready(fleet).message)
    end(docker_place, fleet)
    free = replace(fleet, profile="root-writable")
    serve(docker_place, free)
    assert csv(docker_place, "writes", "4\n").text == "8.0\n"
    container = next(look for look in docker_place.looks(free) if not look.sidecar)
    inspected = docker_client.api.inspect_container(container.name)["HostConfig"]
    assert (inspected["CapDrop"], len(inspected["CapAdd"])) == (["ALL"], 4)
    end(docker_place, free)


NGINX = """worker_processes 1;
daemon off;
pid /tmp/nginx.pid;
error_log /var/log/nginx/error.log;
events { }
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /var/log/nginx/access.log combined;
  upstream gunicorn { server unix:/tmp/gunicorn.sock; }
  server {
    listen 8080 deferred;
    client_max_body_size 5m;
    keepalive_timeout 5;
    proxy_read_timeout 1200s;
    location ~ ^/(ping|invocations) {
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header Host $http_host;
      proxy_redirect off;
      proxy_pass http://gunicorn;
    }
    location / { return 404 "{}"; }
  }
}
"""
PREDICTOR = """import os, pickle, flask

class ScoringService:
    model = None
    @classmethod
    def get_model(cls):
        if cls.model is None:
            with open(os.path.join("/opt/ml", "model", "factor.pkl"), "rb") as file:
                cls.model = pickle.load(file)
        return cls.model

app = flask.Flask(__name__)

@app.route("/ping", methods=["GET"])
def ping():
    status = 200 if ScoringService.get_model() is not None else 404
    return flask.Response(response="\\n", status=status, mimetype="application/json")

@app.route("/invocations", methods=["POST"])
def transformation():
    rows = flask.request.data.decode("utf-8").split()
    print("Invoked with {} records".format(len(rows)))
    lines = "".join("{}\\n".format(float(row) * ScoringService.get_model()) for row in rows)
    return flask.Response(response=lines, status=200, mimetype="text/csv")
"""


def test_an_image_of_the_published_layout_runs_as_root_with_its_own_package_and_is_captured(
    docker_place: DockerPlace, docker_client: Any, byo_image: str, tmp_path: Path
) -> None:
    """Its package is a lone pickle, which only its own code reads; no user, no entry point, logs below /var/log."""
    files = {"nginx.conf": NGINX, "predictor.py": PREDICTOR}
    recipe = f"FROM {byo_image}\nENV MUST_BE_ROOT=1\nCOPY nginx.conf predictor.py /opt/program/\n"
    sample = built(docker_client, "sample", recipe, **files)
    config = docker_client.api.inspect_image(sample)["Config"]
    assert not config["Entrypoint"]
    assert not config["User"]
    (tmp_path / "factor.pkl").write_bytes(pickle.dumps(3.0))
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "factor.pkl", "factor.pkl")
    wish = json.dumps({"destination": str(docker_place.home / "captures")})
    told = (("SEAWAY_CAPTURE", wish), ("SEAWAY_ENDPOINT", "sample"), ("SEAWAY_VARIANT", "v1"))
    box = {"image": sample, "profile": "root-compat", "environment": told}
    fleet = replace(Fleet("sample", "v1", digest(archive), archive, 1), **box)
    serve(docker_place, fleet)
    assert csv(docker_place, "sample", "1\n2\n").text == "3.0\n6.0\n"
    (container, _) = docker_place.looks(fleet)
    asked = ["sh", "-c", "ps -eo user= 2>/dev/null; id -u; ls -l /var/log/nginx"]
    made = docker_client.api.exec_create(container.name, asked)
    said = docker_client.api.exec_start(made["Id"]).decode()
    assert "0\n" in said
    assert "access.log -> /dev/stdout" in said
    wait_until(lambda: "POST /invocations" in docker_place.log(fleet))
    end(docker_place, fleet)
    captures = (docker_place.home / "captures" / "sample" / "v1").rglob("*.jsonl")
    lines = [json.loads(line) for file in captures for line in file.read_text().splitlines()]
    assert [line["captureData"]["endpointOutput"]["data"] for line in lines] == ["3.0\n6.0\n"]
