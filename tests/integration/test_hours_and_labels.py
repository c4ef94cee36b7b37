"""Hours and labels against a real S3 protocol server; labels over the controller and the command line."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import httpx
import pytest
from starlette.applications import Starlette
from typer.testing import CliRunner

from configs.settings import Settings
from deploy.release import Release
from deploy.tables import ENDPOINTS
from flows.wiring import Wiring, utc_now
from seaway.cli import application
from seaway.service import Interface, Loops
from serving.capture import place
from steps import joining, labels
from steps.errors import DataRefused
from steps.hours import bring, joined, variants
from tests.ports import free_port
from tests.processes import until
from tests.unit.steps.test_hours import KEY, SPAN, START, ages, capture, stock

pytestmark = pytest.mark.integration
NOW = START + timedelta(hours=3)


# ---- S3 ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch) -> Iterator[object]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (
        (tmp_path / "moto.log").open("w") as out,
        subprocess.Popen(command, stdout=out, stderr=out) as server,
    ):
        try:
            until(lambda: listens(port))
            for name, value in (
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
                ("AWS_DEFAULT_REGION", "us-east-1"),
                ("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}"),
            ):
                monkeypatch.setenv(name, value)
            client = boto3.client("s3")
            client.create_bucket(Bucket="lake")
            yield client
            client.close()
        finally:
            server.terminate()
            server.wait(20)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_captures_in_s3_of_which_only_new_ones_are_fetched(bucket, tmp_path: Path) -> None:
    destination = "s3://lake/some/captures"
    one = stock(tmp_path, captures=place(destination).within("late"), key=base64.b64decode(KEY))
    entries = {"destination": destination, "spool": str(tmp_path / "spool"), "key_variable": "KEY"}
    capture(tmp_path, range(120), **entries)
    assert variants(one) == ["v1"]
    assert len(bring(one, "v1", *SPAN)) == 2
    assert ages(one) == list(range(120))
    assert bring(one, "v1", *SPAN) == ()
    kept = [one["Key"] for one in bucket.list_objects_v2(Bucket="lake")["Contents"]]
    for key in kept:  # were it read again, there would be an error
        bucket.put_object(Bucket="lake", Key=key, Body=b"no capture")
    capture(tmp_path, range(120, 130), **entries)
    assert len(bring(one, "v1", *SPAN)) == 1
    assert ages(one) == list(range(130))
    assert not list((tmp_path / "monitoring").rglob("*.enc"))


def test_a_bucket_that_is_not_there(bucket, tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="s3://nowhere/late"):
        bring(stock(tmp_path, captures=place("s3://nowhere").within("late")), "v1", *SPAN)


def test_labels_from_s3(bucket, tmp_path: Path) -> None:
    capture(tmp_path / "captures", range(120))
    bring(stock(tmp_path), "v1", *SPAN)
    bucket.put_object(Bucket="lake", Key="truth/a.csv", Body=b"event_id,label\ne1,1\ne2,0\n")
    record = {"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "e100"}}
    bucket.put_object(Bucket="lake", Key="truth/2026/11/23/11/b.jsonl", Body=json.dumps(record).encode())
    found = labels.add(tmp_path, "late", "s3://lake/truth", NOW)
    assert (found.accepted, found.files) == (3, 2)
    assert labels.add(tmp_path, "late", "s3://lake/truth/a.csv", NOW).known == 1
    assert len(joining.apply(tmp_path, "late", "v1", NOW).touched) == 2
    rows = joined(tmp_path / "monitoring/late", "v1", *SPAN).collect().drop_nulls("@label")
    assert dict(zip(rows["@event_id"], rows["@label"], strict=True)) == {"e1": "1", "e2": "0", "e100": "1"}


# ---- the controller's address -----------------------------------------------------------------------------


@pytest.fixture
def wiring(tmp_path: Path) -> Iterator[Wiring]:
    home = tmp_path / "home"
    Settings(home=home).save()
    (home / "secrets").mkdir()
    (home / "secrets" / "control").write_text("let-me")
    made = Wiring(Settings(home=home))
    with made.engine.begin() as db:
        db.execute(ENDPOINTS.insert().values(name="late", champion=True, removed=False))
    with made.store.writing() as writer:
        writer.serve("late", Release("late", "1", "a" * 64), None)
    yield made
    made.engine.dispose()


def post(wiring: Wiring, body: bytes, endpoint: str = "late", token: str = "let-me") -> httpx.Response:  # noqa: S107
    app = Starlette(routes=Interface(wiring, Loops(wiring)).routes())

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://controller"
        ) as client:
            headers = {"authorization": f"Bearer {token}"}
            return await client.post(f"/api/endpoints/{endpoint}/labels", content=body, headers=headers)

    return asyncio.run(send())


def test_posted_labels(wiring: Wiring) -> None:
    lines = b'{"event_id":"a","label":1}\n{"event_id":"b"}\nno json\n{"inference_id":"c","label":"late"}\n'
    answer = post(wiring, lines)
    assert answer.status_code == 200
    assert answer.json() == {
        "accepted": 2,
        "refused": 2,
        "reasons": {"it has no label": 1, "it is no object": 1},
        "examples": [
            {"record": 2, "reason": "it has no label"},
            {"record": 3, "reason": "it is no object"},
        ],
    }
    assert post(wiring, b'[{"event_id":"d","label":0}]').json()["accepted"] == 1
    assert post(wiring, b'{"event_id":"e","label":0}').json()["accepted"] == 1
    (file,) = (wiring.settings.home / "labels/late").rglob("*.jsonl")
    assert len(file.read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("body", "endpoint", "token", "status"),
    [
        (b"[]", "late", "let-me", 400),
        (b"", "late", "let-me", 400),
        (b'{"label":1}', "late", "let-me", 400),
        (b'{"event_id":"a","label":1}', "unknown", "let-me", 404),
        (b'{"event_id":"a","label":1}', "late", "wrong", 401),
        (b" " * (9 << 20), "late", "let-me", 413),
    ],
)
def test_refused_posts(wiring: Wiring, body: bytes, endpoint: str, token: str, status: int) -> None:
    assert post(wiring, body, endpoint, token).status_code == status
    assert not (wiring.settings.home / "labels").exists()


# ---- the command line -------------------------------------------------------------------------------------


def seaway(wiring: Wiring, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(application(), arguments, env={"SEAWAY_HOME": str(wiring.settings.home)})
    return done.exit_code, done.output


def test_labels_on_the_command_line(wiring: Wiring, tmp_path: Path) -> None:
    home, now = wiring.settings.home, utc_now()
    begin = (now - timedelta(hours=2) - START).total_seconds()
    capture(home / "captures", range(int(begin), int(begin) + 40))
    bring(stock(home), "v1", now - timedelta(hours=4), now)
    table = tmp_path / "outcomes.csv"
    table.write_text(
        "booking,was_late\n" + "".join(f"e{int(begin) + n},{n % 2}\n" for n in range(30)) + "strange,1\n,1\n"
    )
    code, text = seaway(
        wiring, "labels", "add", "late", str(table), "--id", "booking", "--label", "was_late", "--json"
    )
    assert code == 0
    assert json.loads(text)["accepted"] == 31
    assert json.loads(text)["reasons"] == {"it has no id": 1}
    code, text = seaway(wiring, "labels", "add", "late", str(table), "--id", "booking", "--label", "was_late")
    assert (code, "1 of them imported before" in text) == (0, True)
    joining.apply(home, "late", "v1", utc_now())
    code, text = seaway(wiring, "labels", "status", "late", "--json")
    assert code == 0
    found = json.loads(text)
    assert (found["rows"], found["labelled"], found["coverage"]) == (40, 30, 0.75)
    assert (found["labels"], found["orphans"]) == (31, 1)
    assert found["delay"]["median"] == pytest.approx(7200, abs=300)
    code, text = seaway(wiring, "labels", "status", "late")
    assert (code, "half of the labels are there 2.0 h after the prediction" in text) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("add", "unknown", "x.csv"), "there is no endpoint unknown"),
        (("add", "late", "nowhere.csv"), "there is no file of labels"),
        (("status", "late", "--from", "soon"), "--from"),
    ],
)
def test_mistakes_on_the_command_line(wiring: Wiring, arguments: tuple[str, ...], problem: str) -> None:
    code, text = seaway(wiring, "labels", *arguments)
    assert code == 1
    assert problem in text
