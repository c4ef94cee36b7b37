"""Two real model servers that get the same requests, and the report of their outcomes: here and from S3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from deploy.release import Release
from flows import comparing
from flows.replaying import Order, ShadowOrder, run, shadow_report
from registry.memory import MemoryRegistry
from registry.port import Candidate
from serving.capture import place, read_captures
from serving.capture.source import InBucket
from steps.comparison_page import page
from steps.comparison_tables import sections
from steps.errors import DataRefused
from steps.recorded import Span, requests, variants
from tests.integration.test_capture import bucket, store  # noqa: F401  (fixtures)
from tests.integration.test_replay import build, traffic
from tests.ports import free_port
from tests.processes import until

pytestmark = pytest.mark.integration
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
EVERY = 4
"""One request in so many cannot be read, and one is too long for the shadow."""


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> tuple[Path, Path, str]:
    return build(tmp_path_factory.mktemp("packages") / "first", 0, 0.5)


@contextmanager
def server(package: Path, variant: str, capture: dict[str, object], **variables: str) -> Iterator[str]:
    """A model server that captures; yields its address."""
    port = free_port()
    told = {"SEAWAY_CAPTURE": json.dumps(capture), "SEAWAY_ENDPOINT": "arrivals", "SEAWAY_VARIANT": variant}
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "--package", str(package), "--port", str(port)],
        env={**os.environ, **told, "CAPTURES": KEY, **variables},
        cwd=Path(__file__).parents[2],
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/ping"))
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        process.terminate()
        assert process.wait(30) == 0


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def send(urls: list[str]) -> Counter[tuple[int, ...]]:
    """Every request to all servers, as a gateway mirrors them; counts the statuses of the answers."""
    seen: Counter[tuple[int, ...]] = Counter()
    with httpx.Client(trust_env=False) as client:
        for number, request in enumerate(traffic()):
            body = request.body or b""
            if number % EVERY == 1:
                body = b"1,2,3,4,5,6\n"
            if number % EVERY == 2:
                body = body.rstrip(b"}") + b" " * 20_000 + b"}"
            headers = {"content-type": request.content_type, "x-amzn-requestid": request.event_id}
            seen[tuple(client.post(url, content=body, headers=headers).status_code for url in urls)] += 1
    return seen


def installation(home: Path, package: tuple[Path, Path, str], capture: dict[str, object]) -> SimpleNamespace:
    """A registry with the package as versions 1 and 2; the first serves and was told to capture."""
    registry = MemoryRegistry(home / "artifacts")
    for number in (1, 2):
        kept = home / "artifacts" / f"r{number}" / "package" / "model.tar.gz"
        kept.parent.mkdir(parents=True)
        kept.write_bytes(package[0].read_bytes())
        registry.register(Candidate("m", f"r{number}", {"digest": package[2]}))
    told = (("SEAWAY_CAPTURE", json.dumps(capture)),)
    serving = SimpleNamespace(stable=Release("m", "1", package[2], environment=told))
    return SimpleNamespace(
        registry=registry,
        archives=home / "archives",
        settings=SimpleNamespace(home=home),
        store=SimpleNamespace(endpoint=lambda _: serving),
    )


def now() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=2)  # noqa: TID251


def test_errors_and_latency_are_paired_by_event_id(package, tmp_path):
    capture: dict[str, object] = {"destination": str(tmp_path / "captures"), "modes": ["InputAndOutput"]}
    with (
        server(package[1], "v1", capture) as ours,
        server(package[1], "v2", capture, SAGEMAKER_MAX_PAYLOAD_IN_MB="0.01") as theirs,
    ):
        seen = send([ours, theirs])
    wiring = installation(tmp_path, package, capture)
    report = shadow_report(wiring, ShadowOrder("arrivals", "2", since=timedelta(hours=1)), now())
    found = report["comparison"]
    total = sum(seen.values())
    assert seen == {(200, 200): 30, (400, 400): 15, (200, 413): 15}
    assert found["noted"] == {"pairs": total, "only_champion": 0, "only_candidate": 0}
    errors = found["errors"]
    assert (errors["neither"], errors["only_candidate"], errors["only_champion"], errors["both"]) == (
        30,
        15,
        0,
        15,
    )
    assert {(one["champion"], one["candidate"]): one["requests"] for one in errors["statuses"]} == seen
    assert (found["pairs"], found["only_champion"], found["differences"]) == (30, 15, 0)
    latency = found["latency"]
    assert latency["pairs"] == 30
    assert all(0 < value < 10_000 for _, value in latency["champion"])
    assert report["verdict"] == "failed"
    assert "15 requests fail on the candidate alone" in comparing.sentence(report)
    titles = [title for title, _ in sections(found)]
    assert {"By status of the answers", "Latency in milliseconds, with 95 % confidence"} <= set(titles)
    assert "413" in page(report)
    json.dumps(report)


def test_a_version_beside_itself_differs_in_nothing(package, tmp_path):
    capture: dict[str, object] = {"destination": str(tmp_path / "captures"), "sampling": 50}
    with server(package[1], "v1", capture) as ours, server(package[1], "v2", capture) as theirs:
        send([ours, theirs])
    wiring = installation(tmp_path, package, capture)
    found = shadow_report(wiring, ShadowOrder("arrivals", "2", since=timedelta(hours=1)), now())["comparison"]
    assert (found["noted"]["only_champion"], found["noted"]["only_candidate"]) == (0, 0)
    assert 0 < found["noted"]["pairs"] < 60
    assert (found["differences"], found["errors"]["only_champion"], found["errors"]["only_candidate"]) == (
        0,
        0,
        0,
    )
    assert found["identical"]


# ---- S3 ---------------------------------------------------------------------------------------------------


def test_encrypted_captures_are_replayed_and_compared_from_s3(package, tmp_path, bucket, monkeypatch):  # noqa: F811
    capture: dict[str, object] = {
        "destination": "s3://captures/some/place",
        "spool": str(tmp_path / "spool"),
        "key_variable": "CAPTURES",
    }
    with server(package[1], "v1", capture) as ours, server(package[1], "v2", capture) as theirs:
        send([ours, theirs])
    keys = [one["Key"] for one in bucket.list_objects_v2(Bucket="captures")["Contents"]]
    assert {key.split("/")[1] for key in keys} == {"place", "place-outcomes"}
    assert all(key.endswith(".jsonl.enc") for key in keys)
    monkeypatch.setenv("CAPTURES", KEY)
    wiring = installation(tmp_path, package, capture)
    replayed = run(wiring, Order("arrivals", "2"), now())["comparison"]
    assert (replayed["pairs"], replayed["differences"], replayed["identical"]) == (45, 0, True)
    shadow = shadow_report(wiring, ShadowOrder("arrivals", "2"), now())["comparison"]
    assert (shadow["pairs"], shadow["noted"]["pairs"], shadow["differences"]) == (45, 60, 0)
    assert shadow["errors"]["both"] == 15


def test_only_the_hours_that_are_asked_for_are_listed_and_fetched(bucket, tmp_path, monkeypatch):  # noqa: F811
    noon = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
    written(bucket, noon, hours=range(-30, 3))
    listed: list[str] = []
    fetched: list[str] = []
    events = bucket.meta.events
    events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: listed.append(params["Prefix"])
    )
    events.register("provide-client-params.s3.GetObject", lambda params, **_: fetched.append(params["Key"]))
    where = InBucket("s3://captures/place/arrivals", bucket).within("v1")
    records = read_captures(where, noon - timedelta(hours=3), noon)
    first = next(records)
    assert first["eventMetadata"]["eventId"] == "v1-9-45"
    assert len(fetched) <= 2, "the next hours are not fetched before they are needed"
    assert [one["eventMetadata"]["eventId"] for one in records] == [
        "v1-10-15", "v1-10-45", "v1-11-15", "v1-11-45", "v1-12-15",
    ]  # fmt: skip
    asked = {name for name in listed if name.count("/") > 3}
    assert asked == {f"place/arrivals/v1/2026/11/23/{hour:02}/" for hour in (9, 10, 11, 12)}
    assert {key.split("/")[6] for key in fetched} == {"09", "10", "11", "12"}
    assert len(fetched) == len(set(fetched)) == 8


def test_a_bucket_reads_as_a_folder_does(bucket, tmp_path):  # noqa: F811
    noon = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
    written(bucket, noon, hours=range(-2, 1))
    for one in bucket.list_objects_v2(Bucket="captures")["Contents"]:
        copy = tmp_path / one["Key"]
        copy.parent.mkdir(parents=True, exist_ok=True)
        bucket.download_file("captures", one["Key"], str(copy))
    span = Span(noon - timedelta(hours=2), noon)
    there, here = place("s3://captures/place/arrivals"), place(tmp_path / "place" / "arrivals")
    assert variants(there) == variants(here) == ["v1", "v2"]
    assert list(requests(there, span)) == list(requests(here, span)) != []
    for part in ("place", "place/arrivals", "place/arrivals/v2"):
        both = [
            [one["eventMetadata"]["eventId"] for one in read_captures(address, span.since, span.until)]
            for address in (f"s3://captures/{part}", tmp_path / part)
        ]
        assert both[0] == both[1] != []


def test_a_store_that_refuses_is_named(bucket):  # noqa: F811
    nothing = Span(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert list(requests(place("s3://captures/empty"), nothing)) == []
    with pytest.raises(DataRefused, match="s3://no-such-bucket/x cannot be read"):
        list(requests(place("s3://no-such-bucket/x"), nothing))


def written(client, noon: datetime, hours: range) -> None:
    """Two files with one record each in every hour, for two variants."""
    for variant in ("v1", "v2"):
        for hour in hours:
            for minute in (15, 45):
                at = (noon.replace(minute=0) + timedelta(hours=hour)).replace(minute=minute)
                record = {
                    "captureData": {
                        "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": "1", "encoding": "CSV"},
                    },
                    "eventMetadata": {
                        "eventId": f"{variant}-{at.hour}-{minute}",
                        "inferenceTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
                    },
                    "eventVersion": "0",
                }  # fmt: skip
                key = f"place/arrivals/{variant}/{at:%Y/%m/%d/%H/%M}-00-000-x.jsonl"
                client.put_object(Bucket="captures", Key=key, Body=json.dumps(record).encode() + b"\n")
