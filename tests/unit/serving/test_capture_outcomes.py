"""Outcomes: one line for each request of the sample, also for failures, where no reader of captures looks."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.capture import (
    CaptureUnreadable,
    Exchange,
    Outcome,
    Recorder,
    from_environment,
    read,
    read_captures,
    read_outcomes,
)
from serving.capture.folder import Folder
from serving.capture.outcomes import Outcomes, line
from serving.capture.settings import parse

KEY = bytes(range(32))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL = (NOON - timedelta(days=1), NOON + timedelta(days=1))


def exchange(number: int, status: int = 200, seconds: float = 0.0) -> Exchange:
    return Exchange(
        f"event-{number}",
        NOON.timestamp() + seconds,
        "text/csv",
        b"1",
        "text/csv",
        b"2",
        outcome=Outcome(status, 1000 + number),
        missing=None if status == 200 else "failed",
    )


def recorder(folder: Path, variant: str = "v1", **entries) -> Recorder:
    told = {"destination": str(folder / "captures"), "flush_seconds": 0.01} | entries
    environ = {"SEAWAY_CAPTURE": json.dumps(told), "SEAWAY_ENDPOINT": "late", "SEAWAY_VARIANT": variant}
    made = from_environment(environ | {"KEY": base64.b64encode(KEY).decode()})
    assert made
    return made


def test_a_failure_leaves_an_outcome_and_no_capture(tmp_path: Path) -> None:
    one = recorder(tmp_path)
    for number, status in enumerate((200, 500, 200, 413)):
        one.offer(exchange(number, status, seconds=number + 0.25))
    assert one.close(10)
    captured = [
        found["eventMetadata"]["eventId"] for found in read_captures(tmp_path / "captures" / "late", *ALL)
    ]
    assert captured == ["event-0", "event-2"]
    found = list(read_outcomes(tmp_path / "captures-outcomes" / "late" / "v1", *ALL))
    assert [(each.event_id, each.outcome) for each in found] == [
        (f"event-{number}", Outcome(status, 1000 + number))
        for number, status in enumerate((200, 500, 200, 413))
    ]
    assert [each.at for each in found] == [NOON.timestamp() + number + 0.25 for number in range(4)]
    assert {each.variant for each in found} == {"v1"}
    counts = one.counts
    assert (counts.offered, counts.written, counts.uncaptured, counts.outcomes) == (4, 2, 2, 4)


def test_readers_of_captures_meet_no_outcome(tmp_path: Path) -> None:
    one = recorder(tmp_path)
    one.offer(exchange(1))
    assert one.close(10)
    files = [path for path in (tmp_path / "captures").rglob("*") if path.is_file()]
    assert len(files) == 1
    (record,) = map(json.loads, read(files[0]))
    assert set(record) == {"captureData", "eventMetadata", "eventVersion"}
    assert set(record["eventMetadata"]) == {"eventId", "inferenceTime"}
    assert [len(list(read_captures(tmp_path / name, *ALL))) for name in ("captures", "captures/late")] == [
        1,
        1,
    ]


def test_the_line() -> None:
    said = json.loads(line('a"b', NOON.timestamp() + 0.12, Outcome(424, 1834), "v3"))
    assert said == {
        "eventId": 'a"b', "inferenceTime": "2026-03-01T12:00:00.120Z", "variant": "v3", "status": 424,
        "modelLatency": 1834,
    }  # fmt: skip
    assert "modelLatency" not in json.loads(line("e", NOON.timestamp(), Outcome(413), "v3"))
    assert line("\ud800", NOON.timestamp(), Outcome(200), "v3").startswith(b'{"eventId":"?"')


@settings(max_examples=20)
@given(share=st.floats(0, 100), failed=st.lists(st.booleans(), max_size=40))
def test_both_sides_note_the_same_requests(tmp_path_factory, share: float, failed: list[bool]) -> None:
    folder = tmp_path_factory.mktemp("sides")
    noted = []
    for variant in ("v1", "v2"):
        one = recorder(folder, variant, sampling=share)
        for number, lost in enumerate(failed):
            one.offer(exchange(number, 500 if lost and variant == "v2" else 200))
        assert one.close(10)
        noted.append(
            {each.event_id for each in read_outcomes(folder / "captures-outcomes" / "late" / variant, *ALL)}
        )
        counts = one.counts
        assert (
            counts.offered
            == len(failed)
            == counts.skipped + counts.written + counts.uncaptured + counts.dropped
        )
    assert noted[0] == noted[1]
    assert noted[0] == {f"event-{n}" for n in range(len(failed)) if one.samples(f"event-{n}")}


def test_what_was_too_long_is_noted_and_counted_as_dropped(tmp_path: Path) -> None:
    from dataclasses import replace

    one = recorder(tmp_path)
    one.offer(replace(exchange(1), missing="too long"))
    one.offer(replace(exchange(2), missing="streamed"))
    assert one.close(10)
    counts = one.counts
    assert (counts.dropped_queue, counts.uncaptured, counts.written, counts.outcomes) == (1, 1, 0, 2)


def test_outcomes_are_encrypted_as_captures_are(tmp_path: Path) -> None:
    one = recorder(tmp_path, key_variable="KEY")
    one.offer(exchange(1))
    assert one.close(10)
    folder = tmp_path / "captures-outcomes" / "late" / "v1"
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    assert path.name.endswith(".jsonl.enc")
    assert b"event-1" not in path.read_bytes()
    assert [each.event_id for each in read_outcomes(folder, *ALL, key=KEY)] == ["event-1"]
    with pytest.raises(CaptureUnreadable, match="give the key"):
        list(read_outcomes(folder, *ALL))


def test_a_refused_outcome_costs_no_capture(tmp_path: Path) -> None:
    class Full(Folder):
        def write(self, *arguments, **more) -> None:
            raise OSError("the disk is full")

    told = parse(json.dumps({"destination": str(tmp_path), "flush_seconds": 0.01}))
    ways = {"rotate": 60.0, "limit": 1 << 20}
    outcomes = Outcomes(Full(tmp_path / "o" / "late" / "v1", **ways), 90)
    one = Recorder(told, Folder(tmp_path / "c" / "late" / "v1", **ways), outcomes=outcomes)
    one.offer(exchange(1))
    assert one.close(10)
    assert (one.counts.written, one.counts.outcomes, one.counts.dropped_outcomes) == (1, 0, 1)


@pytest.mark.parametrize(
    ("destination", "outcomes"),
    [
        ("/srv/captures", "/srv/captures-outcomes"),
        ("/", "/.outcomes"),
        ("s3://bucket/some/captures", "s3://bucket/some/captures-outcomes"),
        ("s3://bucket", "s3://bucket/.outcomes"),
    ],
)
def test_outcomes_lie_beside_captures(destination: str, outcomes: str) -> None:
    assert parse(json.dumps({"destination": destination})).outcomes == outcomes
