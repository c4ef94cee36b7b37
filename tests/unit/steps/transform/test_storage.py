from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from steps.transform import storage
from steps.transform.errors import JobBusy, JobRefused, ObjectFailed
from steps.transform.job import Job, TransformInput, TransformOutput
from steps.transform.journal import journal, progress_in
from steps.transform.port import Finished
from steps.transform.storage import Source

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job(folder: Path, uri: str = "in", kind: str = "S3Prefix") -> Job:
    return Job("j", "m/1", TransformInput(f"{folder}/{uri}", kind), TransformOutput(f"{folder}/out/"))


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    for name in (
        "in/a.csv",
        "in/x/b.csv",
        "in/part-1",
        "in/part-2/c",
        "input/d",
        "in/out/a.csv.out",
        "in/.e.part",
        "in/x/f.part",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path


def keys(made: Job) -> list[str]:
    return [source.key for source in storage.sources(made)]


def test_a_folder_a_file_and_a_prefix(filled: Path) -> None:
    assert keys(job(filled)) == ["a.csv", "out/a.csv.out", "part-1", "part-2/c", "x/b.csv", "x/f.part"]
    assert keys(job(filled, "in/a.csv")) == ["a.csv"]
    assert keys(job(filled, "in/part-")) == ["part-1", "part-2/c"]
    found = storage.sources(job(filled, "in/x"))[0]
    assert (found.uri, found.out, found.size) == (f"{filled}/in/x/b.csv", f"{filled}/out/b.csv.out", 10)


def test_results_below_the_input_are_no_input(filled: Path) -> None:
    for scheme in ("", "file://"):
        output = TransformOutput(f"{scheme}{filled}/in/out/")
        made = Job("j", "m", TransformInput(f"{filled}/in"), output)
        assert keys(made) == ["a.csv", "part-1", "part-2/c", "x/b.csv", "x/f.part"]
        assert storage.sources(made)[0].out == f"{filled}/in/out/a.csv.out"


def test_a_manifest(filled: Path) -> None:
    file = filled / "manifest.json"
    file.write_text(json.dumps([{"prefix": f"{filled}/in/"}, "x/b.csv", "a.csv"]))
    assert keys(job(filled, "manifest.json", "ManifestFile")) == ["a.csv", "x/b.csv"]
    for bad in (
        [{"prefix": f"{filled}/in"}, "../input/d"],
        [{"prefix": f"{filled}/in"}, "none"],
        ["a"],
        {},
        [],
    ):
        file.write_text(json.dumps(bad))
        with pytest.raises(JobRefused, match=r"leaves the prefix|cannot be read|cannot be used"):
            storage.sources(job(filled, "manifest.json", "ManifestFile"))


def test_nothing_to_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobRefused, match="no object below"):
        storage.sources(job(tmp_path))
    with pytest.raises(JobRefused, match="give a folder or s3"):
        storage.place("gs://bucket/x")


def test_all_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "o" / "a[1].out"
    left = tmp_path / "o" / ".a[1].out.token-1.part"
    left.parent.mkdir()
    left.write_text("of a killed run")
    with storage.writing(str(target), "token") as file:
        file.write(b"whole")
        assert not target.exists()
    assert [path.name for path in left.parent.iterdir()] == ["a[1].out"]

    def fail() -> None:
        with storage.writing(str(target), "token") as file:
            file.write(b"half")
            raise ObjectFailed("no")

    with pytest.raises(ObjectFailed):
        fail()
    assert [path.read_bytes() for path in left.parent.iterdir()] == [b"whole"]


def test_reading(tmp_path: Path) -> None:
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    with storage.reading(str(file), "Gzip") as (stream, raw):
        assert stream.read() == b"one\ntwo\n"
        assert raw.tell() == file.stat().st_size
    file.write_bytes(gzip.compress(os.urandom(99))[:-9])
    for content in (file.read_bytes(), b"plain"):
        file.write_bytes(content)
        with (
            pytest.raises(ObjectFailed, match="CompressionType"),
            storage.reading(str(file), "Gzip") as (stream, _),
        ):
            stream.read()
    with pytest.raises(ObjectFailed, match="cannot be read"), storage.reading(str(tmp_path / "b")):
        pass


def test_a_journal_survives_a_torn_end_and_belongs_to_one_job(tmp_path: Path) -> None:
    asked, source = job(tmp_path), Source("k", "u", 5, "s1", "o")
    with journal(tmp_path / "j", asked, "d1", NOW) as book:
        assert not book.finished(source)
        book.note(source, Finished("k", 3, 9, 0.1))
        with pytest.raises(JobBusy), journal(tmp_path / "j", asked, "d1", NOW):
            pass
    with (tmp_path / "j" / "journal.jsonl").open("ab") as file:
        file.write(b'{"key": "to')
    with journal(tmp_path / "j", asked, "d1", datetime(2027, 1, 1, tzinfo=UTC)) as book:
        assert book.at == NOW
        assert book.finished(source)
        assert not book.finished(Source("k", "u", 5, "s2", "o"))
        book.note(Source("l", "u", 1, "s", "o"), Finished("l", 1, 1, 0.1))
    with journal(tmp_path / "j", asked, "d1", NOW) as book:
        assert set(book.done) == {"k", "l"}
    with pytest.raises(JobRefused, match="another name"), journal(tmp_path / "j", asked, "d2", NOW):
        pass
    assert progress_in(tmp_path / "j") is None
