"""Hours that are decoded by several processes are those that one has decoded, whatever becomes of the processes."""

from __future__ import annotations

import fcntl
from datetime import timedelta
from pathlib import Path

import pytest

from steps import side_by_side
from steps.errors import DataRefused
from steps.hour import PROFILE, ROWS, SEAL
from steps.hours import Stock, bring, window
from tests.unit.steps.test_hours import SPAN, START, ages, capture, stock

pytestmark = pytest.mark.integration
FILES = (ROWS, PROFILE, SEAL)


@pytest.fixture
def every_hour_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "LEAST", 0)
    monkeypatch.setattr(side_by_side, "cores", lambda: 2)


def content(one: Stock) -> list[bytes]:
    return [
        (hour.folder / name).read_bytes() for hour in window(one.root, "v1", *SPAN).hours for name in FILES
    ]


def test_files_of_several_processes_are_those_of_one(
    tmp_path: Path, every_hour_pays: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture(tmp_path / "captures", range(0, 7200, 40))
    capture(tmp_path / "captures", range(20, 3600, 900), body="{")
    many, alone = stock(tmp_path), stock(tmp_path, root=tmp_path / "alone")
    told: list[int] = []
    hours = bring(many, "v1", *SPAN, told.append)
    assert [hour.at for hour in hours] == [START.replace(minute=0) + timedelta(hours=n) for n in range(3)]
    assert told[-1] == 184
    assert len(told) == 3
    monkeypatch.setattr(side_by_side, "cores", lambda: 1)
    assert len(bring(alone, "v1", *SPAN)) == 3
    assert content(many) == content(alone)
    assert window(many.root, "v1", *SPAN).refused == {"request: body is not JSON": 4}
    assert bring(many, "v1", *SPAN) == ()
    assert sorted(path.name for path in (many.root / "v1").iterdir()) == [".lock", "2026"]


@pytest.mark.parametrize("program", ["/bin/false", "/bin/true"])
def test_hours_of_processes_that_die_are_done_by_the_caller(
    tmp_path: Path, every_hour_pays: None, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr("steps.side_by_side.sys.executable", program)
    capture(tmp_path / "captures", range(120))
    one = stock(tmp_path)
    assert len(bring(one, "v1", *SPAN)) == 2
    assert ages(one) == list(range(120))


def test_files_that_cannot_be_read_are_told_as_by_one(tmp_path: Path, every_hour_pays: None) -> None:
    capture(tmp_path / "captures", range(120), key_variable="KEY")
    with pytest.raises(DataRefused, match="is encrypted; give the key"):
        bring(stock(tmp_path), "v1", *SPAN)


def test_a_process_keeps_the_lock_of_its_variant(tmp_path: Path, every_hour_pays: None) -> None:
    capture(tmp_path / "captures", range(120))
    one = stock(tmp_path)
    jobs = [
        side_by_side.Job(one.root, "v1", at, {}, one.layout("v1"), None, "")
        for at in (START, START + timedelta(hours=1))
    ]
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = list(side_by_side.decoded(jobs, lock.fileno()))
    assert [each.changed for each in done] == [False, False]
    with (tmp_path / "lock").open("w") as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free, for every process has ended
