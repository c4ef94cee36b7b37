from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving import package
from serving.multimodel import index
from steps.archive import ArchiveRefused, Contents, gather
from steps.sheet import archive_sheet

CODE = "def model_fn(folder): return None\n"


def script(folder: Path) -> Path:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(CODE)
    return folder


def place(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def test_an_archive_keeps_its_digest_and_a_folder_gets_one(tmp_path: Path) -> None:
    source = script(tmp_path / "source")
    digest = package.write(source, tmp_path / "made.tar.gz")
    for number, one in enumerate((source, tmp_path / "made.tar.gz")):
        found = gather(one, place(tmp_path, str(number)))
        assert (found.digest, found.contents, found.samples) == (digest, Contents("code"), ())
        assert package.digest(found.archive) == digest


def test_models_below_a_folder_are_listed_in_it(tmp_path: Path) -> None:
    many = tmp_path / "many"
    script(many / "team" / "own")
    (many / ".hidden").mkdir()
    sample = {"request": {"instances": [{"a": 1}]}, "predictions": [{"score": 1.0}]}
    far = script(tmp_path / "far")
    (far / "sample.json").write_text(json.dumps(sample))
    package.write(far, many / "team" / "far.tar.gz")
    found = gather(many, place(tmp_path, "out"))
    assert found.contents == Contents("multi-model", "", (("team/far.tar.gz", "code"), ("team/own", "code")))
    assert [(one.name, one.target_model) for one in found.samples] == [("team/far.tar.gz",) * 2]
    assert index.read(found.folder) == ("team/far.tar.gz", "team/own")
    assert not (many / index.FILE).exists()
    again = gather(found.archive, place(tmp_path, "again"))
    assert (again.digest, again.contents) == (found.digest, found.contents)
    # The same models as an archive without a list
    package.write(many, tmp_path / "bare.tar.gz")
    assert gather(tmp_path / "bare.tar.gz", place(tmp_path, "bare")).digest == found.digest


def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    empty = place(tmp_path, "empty")
    with pytest.raises(ArchiveRefused, match="there is no model in it"):
        gather(empty, place(tmp_path, "1"))
    assert gather(empty, place(tmp_path, "2"), own_image=True).contents == Contents("files")
    with pytest.raises(ArchiveRefused, match="give an archive or a folder"):
        gather(tmp_path / "none", place(tmp_path, "3"))
    (tmp_path / "text.tar.gz").write_text("no archive")
    with pytest.raises(ArchiveRefused, match=r"text\.tar\.gz cannot become a version.*tar\.gz"):
        gather(tmp_path / "text.tar.gz", place(tmp_path, "4"))
    (empty / "models.json").write_text('{"format": 1, "models": ["gone"]}')
    with pytest.raises(ArchiveRefused, match="there is no model gone"):
        gather(empty, place(tmp_path, "5"))
    (empty / "models.json").write_text('{"format": 1, "models": []}')
    with pytest.raises(ArchiveRefused, match="at least one"):
        gather(empty, place(tmp_path, "6"))


def test_the_sheet_says_what_runs_elsewhere() -> None:
    contents = Contents("pipeline", "m", (("clean", "code"), ("far", "http://10.0.0.1:80")))
    page = archive_sheet("m: late?", contents, (), (), facts={"digest": "abc"}, link="http://run")
    assert "**far runs elsewhere:**" in page
    assert "**Not tried:** a pipeline of 2 stages" in page
    assert "- digest: `abc`" in page
