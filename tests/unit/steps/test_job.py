from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from configs.retention import Retention
from steps import job
from steps.errors import StorageFull

KEY = job.key("fit", {"a": 1}, {"table": "d1"}, "c1")


def write(folder: Path) -> dict[str, object]:
    (folder / "model.bin").write_bytes(b"12345")
    return {"rows": 3, "shape": (1, 2)}


def never(folder: Path) -> dict[str, object]:
    raise AssertionError("ran again")


def test_a_second_run_is_cached_and_says_the_same(tmp_path: Path) -> None:
    first = job.run_step("fit", KEY, tmp_path, write)
    again = job.run_step("fit", KEY, tmp_path, never)
    assert (first.cached, again.cached) == (False, True)
    assert first.output == again.output == {"rows": 3, "shape": [1, 2]}
    assert first.folder == again.folder
    assert [entry.name for entry in tmp_path.iterdir()] == [first.folder.name]


def test_force_runs_again(tmp_path: Path) -> None:
    job.run_step("fit", KEY, tmp_path, write)
    result = job.run_step("fit", KEY, tmp_path, lambda folder: {"rows": 4}, force=True)
    assert result.output == {"rows": 4}
    assert not (result.folder / "model.bin").exists()


def test_every_fact_changes_the_key() -> None:
    others = {
        job.key("fit2", {"a": 1}, {"table": "d1"}, "c1"),
        job.key("fit", {"a": 2}, {"table": "d1"}, "c1"),
        job.key("fit", {"a": 1}, {"table": "d2"}, "c1"),
        job.key("fit", {"a": 1}, {"table": "d1"}, "c2"),
    }
    assert len(others) == 4
    assert KEY not in others


@pytest.mark.parametrize("damage", ["no result", "half a result", "other key", "lost file", "short file"])
def test_half_a_folder_is_never_a_result(tmp_path: Path, damage: str) -> None:
    folder = job.run_step("fit", KEY, tmp_path, write).folder
    result = folder / job.RESULT
    if damage == "no result":
        result.unlink()
    elif damage == "half a result":
        result.write_text(result.read_text()[:20])
    elif damage == "other key":
        result.write_text(json.dumps({**json.loads(result.read_text()), "key": "x"}))
    elif damage == "lost file":
        (folder / "model.bin").unlink()
    else:
        (folder / "model.bin").write_bytes(b"1")
    again = job.run_step("fit", KEY, tmp_path, write)
    assert not again.cached
    assert (again.folder / "model.bin").read_bytes() == b"12345"


def test_a_failing_body_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, object]:
        (folder / "half").write_text("x")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        job.run_step("fit", KEY, tmp_path, fail)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    def full(folder: Path) -> dict[str, object]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageFull, match="free some space"):
        job.run_step("fit", KEY, tmp_path, full)
    assert list(tmp_path.iterdir()) == []


def test_of_two_equal_runs_that_race_the_first_stays(tmp_path: Path) -> None:
    def slow(folder: Path) -> dict[str, object]:
        job.run_step("fit", KEY, tmp_path, write)
        return {"rows": 9}

    assert job.run_step("fit", KEY, tmp_path, slow).output["rows"] == 3
    assert len(list(tmp_path.iterdir())) == 1


def test_prune_keeps_the_latest_and_living_runs(tmp_path: Path) -> None:
    folders = [
        job.run_step("fit", job.key("fit", {"n": n}, {}, ""), tmp_path, write).folder for n in range(4)
    ]
    for age, folder in enumerate(folders):
        os.utime(folder, (age, age))
    crashed = tmp_path / ".unfinished-crashed"
    crashed.mkdir()
    rule, now = Retention(timedelta(days=30), at_least=2), datetime.now(UTC)  # noqa: TID251 (files have its time)
    removed = []

    def living(folder: Path) -> dict[str, object]:
        for old in (folder, crashed):
            os.utime(old, (0, 0))
        assert len(job.prune(tmp_path, rule, now, dry_run=True)) == 3
        assert len(list(tmp_path.iterdir())) == 6
        removed.extend(job.prune(tmp_path, rule, now))
        assert folder.is_dir()
        return {}

    other = job.run_step("other", KEY, tmp_path, living).folder
    assert {item.paths[0] for item in removed} == {folders[0], folders[1], crashed}
    assert set(tmp_path.iterdir()) == {folders[2], folders[3], other}
    assert job.prune(tmp_path, rule, now) == ()


def test_digests_look_at_names_and_contents_only(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "a.txt").write_text("a")
    os.utime(two / "sub" / "a.txt", (1, 1))
    assert job.digest_of(one) == job.digest_of(two)
    (two / "sub" / "a.txt").rename(two / "sub" / "b.txt")
    assert job.digest_of(one) != job.digest_of(two)


def test_code_digest_sees_python_alone(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    before = job.code_digest([tmp_path])
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "b.py").write_text("x")
    assert job.code_digest([tmp_path]) == before
    (tmp_path / "a.py").write_text("x = 2\n")
    assert job.code_digest([tmp_path]) != before
