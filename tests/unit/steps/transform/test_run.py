"""How a job ends: what its folder says, and which results stay."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from steps.transform.errors import ServerFailed
from steps.transform.job import Job, TransformInput, TransformOutput
from steps.transform.journal import Progress, progress_in
from steps.transform.port import Broken, Event, Finished, Model, Moved, Work
from steps.transform.run import transform
from steps.transform.storage import Source, write

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
MODEL = Model(Path("model.tar.gz"), "0" * 64)


@dataclass
class Hands:
    """A runner that copies objects; those that hold `fail` have no result, `end` ends the job."""

    folder: Path
    asked: list[str] = field(default_factory=list)
    at_the_end: str = ""

    def run(self, work: Work, sources: Sequence[Source]) -> Generator[Event, None, None]:
        try:
            for source in sources:
                self.asked.append(source.key)
                content = Path(source.uri).read_bytes()
                yield Moved(source.key, source.size)
                if content == b"end":
                    raise ServerFailed("it does not start")
                if content == b"fail":
                    yield Broken(source.key, "refused")
                else:
                    write(source.out, content)
                    yield Finished(source.key, 1, len(content), 0.0)
        finally:
            found = progress_in(work.folder)
            self.at_the_end = found.status if found else ""


def job(folder: Path) -> Job:
    return Job("j", "m/1", TransformInput(str(folder / "in")), TransformOutput(str(folder / "out")))


def put(folder: Path, **objects: bytes) -> None:
    (folder / "in").mkdir(exist_ok=True)
    for name, content in objects.items():
        (folder / "in" / name).write_bytes(content)


def status(folder: Path) -> str:
    found = progress_in(folder)
    return found.status if found else ""


def test_a_job_that_is_told_to_end_is_stopping_then_stopped(tmp_path: Path) -> None:
    put(tmp_path, a=b"one", b=b"two")
    hands, told = Hands(tmp_path), list[Progress]()

    def watch(progress: Progress) -> None:
        told.append(progress)
        if progress.read:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr("steps.transform.run.PUBLISH", 0.0)
        transform(job(tmp_path), MODEL, hands, tmp_path / "job", NOW, watch)
    assert (hands.at_the_end, status(tmp_path / "job")) == ("Stopping", "Stopped")
    assert told[-1].status == "InProgress"
    ended = transform(job(tmp_path), MODEL, Hands(tmp_path), tmp_path / "job", NOW)
    assert (ended.status, status(tmp_path / "job")) == ("Completed", "Completed")


def test_a_job_that_cannot_go_on_has_failed(tmp_path: Path) -> None:
    put(tmp_path, a=b"end")
    with pytest.raises(ServerFailed):
        transform(job(tmp_path), MODEL, Hands(tmp_path), tmp_path / "job", NOW)
    assert status(tmp_path / "job") == "Failed"


def test_an_object_that_changed_and_fails_now_has_no_result(tmp_path: Path) -> None:
    put(tmp_path, a=b"one", b=b"two")
    transform(job(tmp_path), MODEL, Hands(tmp_path), tmp_path / "job", NOW)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"a.out", "b.out"}
    put(tmp_path, a=b"fail")
    hands = Hands(tmp_path)
    ended = transform(job(tmp_path), MODEL, hands, tmp_path / "job", NOW)
    assert (ended.status, ended.skipped, hands.asked) == ("Failed", 1, ["a"])
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"b.out"}
