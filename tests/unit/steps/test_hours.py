"""Captures to decoded hours: incremental, the same at every repetition, whole after any crash."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from configs.retention import Retention
from monitoring.profiles import Profile
from monitoring.records import Layout
from serving.capture import Exchange, from_environment, place
from steps import hour as one_hour
from steps.errors import DataRefused
from steps.hour import PROFILE, ROWS, SEAL, Hour
from steps.hours import Stock, bring, joined, prune, variants, window

START = datetime(2026, 11, 23, 9, 59, 0, tzinfo=UTC)
SPAN = (START - timedelta(hours=2), START + timedelta(hours=4))
KEY = base64.b64encode(bytes(range(32))).decode()
LAYOUT = Layout((("age", "double"), ("city", "string")), "binary", (0, 1))


def capture(root: Path, numbers: range, variant: str = "v1", body: str = "", **entries) -> None:
    """Write with the recorder itself: one request a second."""
    environ = {
        "SEAWAY_CAPTURE": json.dumps({"destination": str(root), "flush_seconds": 0.01} | entries),
        "SEAWAY_ENDPOINT": "late",
        "SEAWAY_VARIANT": variant,
        "KEY": KEY,
    }
    recorder = from_environment(environ)
    assert recorder
    for n in numbers:
        sent = body or f'{{"instances":[{{"age":{n},"city":"c{n % 3}"}}]}}'
        answer = f'{{"predictions":[{{"predicted_label":{n % 2},"score":{n % 100 / 100}}}]}}'
        at = START.timestamp() + n
        recorder.offer(
            Exchange(f"e{n}", at, "application/json", sent.encode(), "application/json", answer.encode())
        )
    assert recorder.close(30)


def stock(home: Path, **changes) -> Stock:
    plain = {"root": home / "monitoring/late", "captures": place(home / "captures").within("late")}
    return Stock(**plain | {"layout": lambda _variant: LAYOUT} | changes)


def ages(one: Stock, since: datetime = SPAN[0], until: datetime = SPAN[1]) -> list[int]:
    rows = window(one.root, "v1", since, until).rows
    return sorted(rows.collect()["age"].to_list()) if rows.collect_schema() else []


def test_rows_profile_and_seal_of_every_hour(tmp_path):
    capture(tmp_path / "captures", range(120))
    one = stock(tmp_path)
    assert variants(one) == ["v1"]
    seen: list[int] = []
    changed = bring(one, "v1", *SPAN, seen.append)
    assert [hour.at for hour in changed] == [START.replace(minute=0), START.replace(hour=10, minute=0)]
    assert seen[-1] == 120
    found = window(one.root, "v1", *SPAN)
    assert ages(one) == list(range(120))
    assert found.records == found.profile.rows == 120
    assert list(found.profile.columns) == ["age", "city", "@predicted_label", "@score"]
    assert found.profile.columns["age"].numeric.moments.mean == pytest.approx(59.5)
    seal = json.loads((changed[0].folder / SEAL).read_text())
    assert (seal["records"], seal["rows"], seal["refused"]) == (60, 60, {})


def test_only_new_files_are_read_and_nothing_changes_without_them(tmp_path):
    one = stock(tmp_path)
    capture(tmp_path / "captures", range(50))
    (first,) = bring(one, "v1", *SPAN)
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    assert bring(one, "v1", *SPAN) == ()
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before
    capture(tmp_path / "captures", range(50, 55))
    seen: list[int] = []
    assert bring(one, "v1", *SPAN, seen.append) == (first,)
    assert seen == [5]
    assert ages(one) == list(range(55))
    assert window(one.root, "v1", *SPAN).profile.rows == 55


def test_an_hour_does_not_depend_on_how_often_it_was_looked_at(tmp_path):
    often, once = stock(tmp_path, root=tmp_path / "often"), stock(tmp_path, root=tmp_path / "once")
    for begin in range(0, 60, 20):
        capture(tmp_path / "captures", range(begin, begin + 20))
        bring(often, "v1", *SPAN)
    bring(once, "v1", *SPAN)
    (a,), (b,) = (window(each.root, "v1", *SPAN).hours for each in (often, once))
    assert a.seal() == b.seal()
    rows = [pl.read_parquet(hour.rows).sort("age") for hour in (a, b)]
    assert rows[0].equals(rows[1])


def test_a_window_that_cuts_hours_has_only_its_rows(tmp_path):
    capture(tmp_path / "captures", range(120))
    one = stock(tmp_path)
    bring(one, "v1", *SPAN)
    cut = (START + timedelta(seconds=10), START + timedelta(seconds=90))
    assert ages(one, *cut) == list(range(10, 90))
    found = window(one.root, "v1", *cut, {"age": "numeric", "city": "categorical"})
    assert found.profile.rows == 80
    assert found.profile.columns["age"].numeric.moments.minimum == 10
    assert window(one.root, "v2", *SPAN).hours == ()


@pytest.mark.parametrize("lost", [PROFILE, SEAL, "both"])
def test_a_crash_between_the_files_is_repaired(tmp_path, lost):
    one = stock(tmp_path)
    capture(tmp_path / "captures", range(30))
    (hour,) = bring(one, "v1", *SPAN)
    capture(tmp_path / "captures", range(30, 50))
    left = {name: (hour.folder / name).read_bytes() for name in (PROFILE, SEAL)}
    bring(one, "v1", *SPAN)
    for name, content in left.items():  # as they were before the rows were replaced
        if lost in (name, "both"):
            (hour.folder / name).write_bytes(content)
    assert window(one.root, "v1", *SPAN).profile.rows == 50
    assert bring(one, "v1", *SPAN) == ()
    assert hour.finished()
    assert Profile.from_bytes((hour.folder / PROFILE).read_bytes()).rows == 50
    assert ages(one) == list(range(50))


def test_a_crash_before_the_rows_are_there_leaves_the_hour_as_it_was(tmp_path, monkeypatch):
    one = stock(tmp_path)
    capture(tmp_path / "captures", range(30))
    (hour,) = bring(one, "v1", *SPAN)
    capture(tmp_path / "captures", range(30, 50))

    def torn(*_arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(one_hour, "_publish", torn)
        with pytest.raises(OSError, match="No space"):
            bring(one, "v1", *SPAN)
    assert ages(one) == list(range(30))
    assert sorted(path.name for path in hour.folder.iterdir()) == sorted([ROWS, PROFILE, SEAL])
    assert bring(one, "v1", *SPAN) == (hour,)
    assert ages(one) == list(range(50))


def test_a_block_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("steps.hours.AT_ONCE", 7)
    monkeypatch.setattr("steps.hours.LARGEST", 1)
    one = stock(tmp_path)
    capture(tmp_path / "captures", range(50))
    bring(one, "v1", *SPAN)
    assert ages(one) == list(range(50))


def test_columns_that_change_their_type_from_file_to_file(tmp_path):
    one = stock(tmp_path)
    capture(tmp_path / "captures", range(2))
    capture(tmp_path / "captures", range(2, 4), body='{"instances":[{"age":1.5,"extra":{"deep":true}}]}')
    bring(one, "v1", *SPAN)
    capture(tmp_path / "captures", range(4, 5), body='{"instances":[{"age":"old"}]}')
    bring(one, "v1", *SPAN)
    rows = window(one.root, "v1", *SPAN).rows.collect()
    assert sorted(rows["age"].to_list()) == ["0.0", "1.0", "1.5", "1.5", "old"]
    assert rows["extra.deep"].sum() == 2
    assert window(one.root, "v1", *SPAN).profile.columns["age"].present == 5


def test_what_cannot_be_read_is_counted_in_the_seal(tmp_path):
    one = stock(tmp_path)
    capture(tmp_path / "captures", range(3))
    capture(tmp_path / "captures", range(3, 5), body="{")
    bring(one, "v1", *SPAN)
    found = window(one.root, "v1", *SPAN)
    assert found.refused == {"request: body is not JSON": 2}
    assert found.records == 5
    (seal,) = [hour.seal() for hour in found.hours]
    assert [example["event_id"] for example in seal.examples] == ["e3", "e4"]


def test_encrypted_captures(tmp_path):
    capture(tmp_path / "captures", range(10), key_variable="KEY")
    one = stock(tmp_path, key=base64.b64decode(KEY))
    bring(one, "v1", *SPAN)
    assert ages(one) == list(range(10))
    with pytest.raises(DataRefused, match="is encrypted; give the key"):
        bring(stock(tmp_path, root=tmp_path / "other"), "v1", *SPAN)


def test_a_damaged_file_does_not_keep_the_others_and_is_tried_again(tmp_path):
    one = stock(tmp_path, key=base64.b64decode(KEY))
    capture(tmp_path / "captures", range(10), key_variable="KEY")
    (bad,) = (tmp_path / "captures").rglob("*.enc")
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    capture(tmp_path / "captures", range(10, 20), key_variable="KEY")
    (hour,) = bring(one, "v1", *SPAN)
    assert ages(one) == list(range(10, 20))
    assert list(hour.seal().unreadable) == [bad.name]
    assert bring(one, "v1", *SPAN) == ()
    bad.write_bytes(whole)
    bring(one, "v1", *SPAN)
    assert ages(one) == list(range(20))
    assert hour.seal().unreadable == {}


def test_another_handler_reads_the_hours_again(tmp_path):
    capture(tmp_path / "captures", range(10))
    bring(stock(tmp_path), "v1", *SPAN)

    def preprocess_handler(record):
        found = json.loads(record.endpoint_input.data)["instances"][0]
        return {"age": found["age"] * 100} if found["age"] % 2 else []

    one = stock(tmp_path, handler=preprocess_handler, reading="sha of the script")
    (hour,) = bring(one, "v1", *SPAN)
    assert ages(one) == [100, 300, 500, 700, 900]
    assert hour.seal().dropped == 5


def test_hours_whose_captures_are_gone_stay_as_they_were_read(tmp_path):
    capture(tmp_path / "captures", range(10))
    bring(stock(tmp_path), "v1", *SPAN)
    for path in (tmp_path / "captures").rglob("*.jsonl"):
        path.unlink()
    capture(tmp_path / "captures", range(10, 15))
    bring(stock(tmp_path, reading="another"), "v1", *SPAN)
    assert ages(stock(tmp_path)) == list(range(15))


def test_rows_have_labels_where_none_are_joined_yet(tmp_path):
    capture(tmp_path / "captures", range(3))
    one = stock(tmp_path)
    bring(one, "v1", *SPAN)
    found = joined(one.root, "v1", *SPAN).collect()
    assert found["@label"].to_list() == [None] * 3
    assert joined(one.root, "v9", *SPAN).collect().is_empty()


def test_old_hours_go(tmp_path):
    capture(tmp_path / "captures", range(120))
    one = stock(tmp_path)
    old, _ = bring(one, "v1", *SPAN)
    later = datetime.fromtimestamp(old.folder.stat().st_mtime, UTC) + timedelta(days=31)
    rule = Retention(timedelta(days=30), 0)
    assert len(prune(tmp_path, rule, later, dry_run=True)) == 2
    assert old.rows.exists()
    assert prune(tmp_path, rule, later - timedelta(days=2)) == ()
    (gone,) = prune(tmp_path, Retention(timedelta(days=30), 1), later)
    assert gone.size > 0
    assert gone.kind == "hour of late/v1"
    prune(tmp_path, rule, later)
    assert list(one.root.rglob(ROWS)) == []
    assert not (one.root / "v1" / "2026").exists()


def test_a_folder_names_its_hour(tmp_path):
    assert Hour(tmp_path / "v1/2026/11/23/09").at == datetime(2026, 11, 23, 9, tzinfo=UTC)
