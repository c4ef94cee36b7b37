from __future__ import annotations

import io
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from serving import package
from serving.errors import ManifestInvalid, ModelRefused, PackageDamaged, StorageFailed
from serving.manifest import Input, Manifest, ParityRecord, QuantisationRecord
from serving.predictor import load

MANIFEST = Manifest(
    "m",
    "binary",
    "skops",
    ("a", "b"),
    (Input("x", "double"),),
    ParityRecord(3, None, passed=False, reason="why"),
)


def packed(folder: Path) -> tuple[Path, str]:
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "b.txt").write_text("b")
    (source / package.MANIFEST).write_bytes(MANIFEST.to_json())
    archive = folder / "model.tar.gz"
    return archive, package.write(source, archive)


def test_rebuilding_gives_the_same_bytes(tmp_path: Path) -> None:
    first, digest = packed(tmp_path)
    content = first.read_bytes()
    (tmp_path / "source" / "b.txt").touch()
    assert packed(tmp_path)[1] == digest == package.digest(first)
    assert first.read_bytes() == content


def test_many_may_unpack_at_once(tmp_path: Path) -> None:
    archive, digest = packed(tmp_path)
    target = tmp_path / "cache" / digest
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: package.unpack(archive, target, digest), range(16)))
    assert set(folders) == {target}
    assert package.load_manifest(target) == MANIFEST
    assert list(target.parent.iterdir()) == [target]


def test_another_digest_unpacks_nothing(tmp_path: Path) -> None:
    archive, digest = packed(tmp_path)
    with pytest.raises(PackageDamaged, match="digest"):
        package.unpack(archive, tmp_path / "out", "0" * 64)
    assert not (tmp_path / "out").exists()
    package.unpack(archive, tmp_path / "out", digest)
    (tmp_path / "source" / "c.txt").write_text("c")
    second = tmp_path / "second.tar.gz"
    other = package.write(tmp_path / "source", second)
    with pytest.raises(PackageDamaged, match="something else"):
        package.unpack(second, tmp_path / "out", other)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("../x", tarfile.REGTYPE), ("/x", tarfile.REGTYPE), ("x", tarfile.SYMTYPE), ("x", tarfile.LNKTYPE)],
)
def test_hostile_members_are_refused(tmp_path: Path, name: str, kind: bytes) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member, io.BytesIO())
    with pytest.raises(PackageDamaged):
        package.unpack(archive, tmp_path / "out" / "in", package.digest(archive))
    assert list((tmp_path / "out").iterdir()) == []


def test_links_are_not_packed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to("/etc/passwd")
    with pytest.raises(PackageDamaged, match="link"):
        package.write(source, tmp_path / "model.tar.gz")


def test_an_absent_archive_is_a_temporary_error(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed):
        package.digest(tmp_path / "absent")


def test_the_manifest_round_trips() -> None:
    full = replace(MANIFEST, allow_pickle=True, provenance=(("project", "p"),), trusted_types=("t",))
    assert Manifest.from_json(full.to_json()) == full
    both = replace(
        full,
        runtime="onnx",
        trained_from=100,
        quantisation=QuantisationRecord("int8", applied=False, reason="too far"),
        parity=replace(MANIFEST.parity, rank_agreement=1.0),
    )
    assert Manifest.from_json(both.to_json()) == both
    assert (both.number_type, replace(both, trained_from=None).number_type) == ("float64", "float32")


def test_entries_that_say_nothing_are_not_written() -> None:
    """So packages of earlier versions are read, and written again, byte for byte."""
    payload = json.loads(MANIFEST.to_json())
    assert not {"allow_pickle", "trained_from", "quantisation"} & set(payload)
    assert "rank_agreement" not in payload["parity"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"task": "binary"', b'"task": "other"', "task"),
        (b'"format": 1', b'"format": 2', "format 2"),
        (b'"model": "m"', b'"model": "m", "extra": 1', "unknown entry extra"),
        (b'"model": "m",', b"", "model is missing"),
        (b'"required": false', b'"required": 0', "required"),
        (b'"model": "m"', b'"model": "m", "trained_from": 0', "trained_from"),
        (b'"model": "m"', b'"model": "m", "trained_from": true', "trained_from"),
        (b'"model": "m"', b'"model": "m", "quantisation": {"mode": "int4"}', "mode"),
        (b'"passed"', b'"rank_agreement": 2, "passed"', "rank_agreement"),
        (b"{", b"[", "JSON"),
    ],
)
def test_a_wrong_manifest_names_its_entry(old: bytes, new: bytes, words: str) -> None:
    with pytest.raises(ManifestInvalid, match=words):
        Manifest.from_json(MANIFEST.to_json().replace(old, new, 1))


@pytest.mark.parametrize("permitted", [True, False])
def test_pickle_needs_both_permissions(tmp_path: Path, permitted: bool) -> None:
    manifest = replace(MANIFEST, runtime="pickle", allow_pickle=permitted)
    (tmp_path / package.MANIFEST).write_bytes(manifest.to_json())
    with pytest.raises(ModelRefused, match="pickle"):
        load(tmp_path, {} if permitted else {"SEAWAY_ALLOW_PICKLE": "1"})
