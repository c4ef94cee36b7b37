"""Real packages behind real model servers, fed from captures written as the server writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from deploy.release import Release
from flows import comparing
from flows.replaying import Order, ShadowOrder, keep, run, shadow_report
from monitoring.paired import compare
from registry.memory import MemoryRegistry
from registry.port import Candidate
from serving import package
from serving.capture.record import Exchange, line
from serving.capture.settings import parse
from steps.pack import pack
from steps.recorded import Recorded
from steps.replay import ModelServer, ReplayFailed, replay

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
REQUESTS = 60


def build(folder: Path, seed: int, threshold: float) -> tuple[Path, Path, str]:
    """A small package: archive, unpacked folder, digest."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": draw.normal(size=400).round(2), "c": draw.choice(["x", "y", ""], 400)})
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = Pipeline(
        [
            ("columns", ColumnTransformer([("n", "passthrough", ["a"]), ("c", encoder, ["c"])])),
            ("m", HistGradientBoostingClassifier(max_iter=10, random_state=7, categorical_features=[1])),
        ]
    ).fit(frame, frame.a + (frame.c == "x") > threshold)
    folder.mkdir()
    made = pack(
        model, frame, name="m", task="binary", features=("a", "c"), trained_on=frame, folder=folder, tolerance=1e-4
    )  # fmt: skip
    return made.archive, package.unpack(made.archive, folder / "unpacked", made.digest), made.digest


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return build(tmp_path_factory.mktemp("packages") / "first", 0, 0.5)


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return build(tmp_path_factory.mktemp("packages") / "second", 1, 0.9)


def traffic() -> list[Recorded]:
    """JSON records and CSV lines, one to three rows each, as clients send them."""
    draw = np.random.default_rng(5)
    made = []
    for number in range(REQUESTS):
        rows = [
            {"a": round(float(draw.normal()), 2), "c": str(draw.choice(["x", "y", ""]))}
            for _ in range(1 + number % 3)
        ]
        text = number % 2
        body = (
            "".join(f"{row['a']},{row['c']}\r\n" for row in rows) if text else json.dumps({"instances": rows})
        )
        made.append(
            Recorded(
                event_id=f"event-{number:03}",
                at=f"2026-11-23T11:{number // 60:02}:{number % 60:02}Z",
                variant="v1",
                content_type="text/csv; charset=utf-8" if text else "application/json",
                body=body.encode(),
                answer_content_type="text/csv" if text else "application/json",
            )
        )
    return made


def rows_of(requests: list[Recorded]) -> int:
    return sum(1 + number % 3 for number, _ in enumerate(requests))


def answered(requests: list[Recorded], folder: Path) -> Iterator[Recorded]:
    """The requests with what the package answers to them."""
    from dataclasses import replace

    with ModelServer(folder) as server:
        for request in requests:
            reply = server.ask(request)
            assert reply.status == 200
            yield replace(request, answer_content_type=reply.content_type, answer_body=reply.body)


def capture(folder: Path, exchanges: Iterator[Recorded]) -> None:
    """Files as the recorder writes them."""
    settings = parse(json.dumps({"destination": str(folder)}))
    for one in exchanges:
        at = datetime.fromisoformat(one.at).timestamp()
        hour = folder / f"{datetime.fromtimestamp(at, UTC):%Y/%m/%d/%H}"
        hour.mkdir(parents=True, exist_ok=True)
        written = Exchange(
            one.event_id,
            at,
            one.content_type,
            one.body or b"",
            one.answer_content_type,
            one.answer_body or b"",
        )
        with (hour / "00-00-000-x.jsonl").open("ab") as file:
            file.write(line(written, settings))


def test_a_champion_beside_itself_differs_nowhere(first):
    requests, done = traffic(), []
    answers = list(replay(requests, first[1], first[1], progress=done.append))
    assert [one.request.event_id for one in answers] == [one.event_id for one in requests]
    assert done == list(range(1, REQUESTS + 1))
    assert all(one.champion.body == one.candidate.body for one in answers)
    found = compare(comparing.replayed_pairs(answers, comparing.Context()))
    assert (found.pairs, found.rows, found.differences, found.flips) == (REQUESTS, rows_of(requests), 0, 0)
    assert found.identical
    assert found.latency.pairs == REQUESTS


def test_k_planted_rows_are_k_differences(first):
    answers = list(replay(traffic(), first[1], first[1]))
    for k in (1, 7):
        found = compare(comparing.replayed_pairs(planted(answers, k), comparing.Context()))
        assert (found.differences, found.flips) == (k, k)


def planted(answers, k):
    """The same answers with the label of the first row of `k` of them turned around."""
    from dataclasses import replace

    left = k
    for one in answers:
        if left and one.candidate.content_type == "application/json":
            said = json.loads(one.candidate.body)
            said["predictions"][0]["predicted_label"] = not said["predictions"][0]["predicted_label"]
            left -= 1
            one = replace(one, candidate=replace(one.candidate, body=json.dumps(said).encode()))  # noqa: PLW2901
        yield one


def test_two_versions_differ_and_the_differences_are_theirs(first, second):
    requests = traffic()
    answers = list(replay(requests, first[1], second[1], concurrency=3))
    context = comparing.Context("c", ("a", "c"), {one.event_id: {0: True} for one in requests})
    found = compare(comparing.replayed_pairs(answers, context))
    assert 0 < found.flips <= found.differences <= found.rows
    assert {one.value for one in found.slices} == {"x", "y", "missing"}
    assert found.quality.labelled == REQUESTS


def test_a_package_that_cannot_be_served_says_why(first, tmp_path):
    (tmp_path / "seaway.json").write_text("{}")
    with pytest.raises(ReplayFailed, match="did not start"):
        list(replay(traffic(), first[1], tmp_path))


@contextmanager
def installation(home: Path, packages: list[tuple[Path, Path, str]]):
    """What a replay needs of an installation: a registry with these versions, an endpoint that serves the first."""
    registry = MemoryRegistry(home / "artifacts")
    for number, (archive, _, digest) in enumerate(packages, start=1):
        place = home / "artifacts" / f"r{number}" / "package" / "model.tar.gz"
        place.parent.mkdir(parents=True)
        place.write_bytes(archive.read_bytes())
        registry.register(Candidate("m", f"r{number}", {"digest": digest}))
    serving = SimpleNamespace(stable=Release("m", "1", packages[0][2]))
    yield SimpleNamespace(
        registry=registry,
        archives=home / "archives",
        settings=SimpleNamespace(home=home),
        store=SimpleNamespace(endpoint=lambda _: serving),
    )


def test_from_captures_to_the_report(first, second, tmp_path):
    capture(tmp_path / "captures" / "arrivals" / "v1", answered(traffic(), first[1]))
    with installation(tmp_path, [first, second]) as wiring:
        same = run(wiring, Order("arrivals", "1"), NOW)
        other = run(wiring, Order("arrivals", "2", slice_by="c", most_changed=0.0), NOW)
    assert (
        comparing.sentence(same)
        == f"0 differences in {rows_of(traffic())} predictions on {REQUESTS} requests"
    )
    assert same["verdict"] == "passed"
    assert other["verdict"] == "failed"
    assert comparing.figures(other)["flips"] > 0
    keep(other, tmp_path / "report")
    assert json.loads((tmp_path / "report" / "report.json").read_text())["digests"] == [first[2], second[2]]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page


def test_a_shadow_is_compared_by_event_id(first, second, tmp_path):
    requests = traffic()
    endpoint = tmp_path / "captures" / "arrivals"
    capture(endpoint / "v1", answered(requests, first[1]))
    capture(endpoint / "v2", answered(requests[: REQUESTS // 2], second[1]))
    with installation(tmp_path, [first, second]) as wiring:
        report = shadow_report(wiring, ShadowOrder("arrivals", "2", since=timedelta(hours=2)), NOW)
    found = report["comparison"]
    assert (found["pairs"], found["only_champion"]) == (REQUESTS // 2, REQUESTS // 2)
    live = compare(
        comparing.replayed_pairs(replay(requests[: REQUESTS // 2], first[1], second[1]), comparing.Context())
    )
    assert (found["rows"], found["differences"], found["flips"]) == (live.rows, live.differences, live.flips)
