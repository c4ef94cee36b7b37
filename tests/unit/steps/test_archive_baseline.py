"""An archive that no build made gets a baseline, and a monitor compares with it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from configs.monitor import Monitor
from flows.monitoring import kinds
from flows.monitoring.kinds import Material
from flows.monitoring.subject import Subject
from monitoring.findings import Finding
from monitoring.profiles import scan
from serving import package
from serving.manifest import Input, Manifest, ParityRecord
from steps import archive_baseline, baseline_files
from steps.archive import ArchiveRefused, Contents, Gathered, Given, gather
from steps.datasets import Choice, profile
from steps.errors import DataRefused

MANIFEST = Manifest(
    model="m",
    task="binary",
    runtime="onnx",
    classes=(0, 1),
    inputs=(Input("age", "double"), Input("rate", "double"), Input("city", "string")),
    parity=ParityRecord(0, None, passed=False),
)
ROWS = 1000
DATA = pl.DataFrame(
    {
        "late": [n % 2 for n in range(ROWS)],
        "age": [18 + n % 60 for n in range(ROWS)],
        "city": ["abc"[n % 3] for n in range(ROWS)],
        "rate": [n / 7 for n in range(ROWS)],
    }
)
LIVE = DATA.select(pl.col("age", "rate").cast(pl.Float64), "city")
"""As captures are decoded for this model."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A package of one model without a baseline, and training data beside it."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / package.MANIFEST).write_bytes(MANIFEST.to_json())
    (folder / "model.onnx").write_bytes(b"model")
    package.write(folder, tmp_path / "model.tar.gz")
    DATA.write_csv(tmp_path / "train.csv")
    return tmp_path / "model.tar.gz"


def gathered(source: Path, name: str, given: Given | None = None) -> Gathered:
    place = source.parent / name
    place.mkdir()
    return gather(source, place, given=given)


def watched(folder: Path, rows: pl.DataFrame) -> Finding:
    """What a monitor says of live rows of a version that has this folder as its package."""
    material = Material(Subject("v1", "m", "1", folder), None, Monitor())  # type: ignore[arg-type]
    declared = {one.name: "numeric" if one.type == "double" else "categorical" for one in MANIFEST.inputs}
    material.__dict__["profile"] = scan.profile(rows, declared)  # type: ignore[arg-type]
    return kinds.data_quality(material)


def violated(found: Finding) -> set[tuple[str, str]]:
    return {(one.subject[0][1], one.check) for one in found.violations}


def check(folder: Path, live: pl.DataFrame = LIVE) -> None:
    assert (violated(watched(folder, live)), watched(folder, live).notes) == (set(), ())
    changed = live.with_columns(pl.col("age") + 50, city=pl.lit("d"))
    assert violated(watched(folder, changed)) == {
        ("age", "baseline_drift_check"),
        ("city", "baseline_drift_check"),
        ("city", "categorical_values_check"),
    }


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_training_data_make_a_baseline_that_monitors_use(source: Path, kind: str) -> None:
    bare = gathered(source, "bare")
    assert archive_baseline.requests(bare.folder).names == ("age", "rate", "city")
    assert (bare.baseline, bare.digest) == (None, package.digest(source))
    data = source.with_name(f"data.{kind}")
    DATA.write_csv(data) if kind == "csv" else DATA.write_parquet(data)
    found = gathered(source, "with", Given(data))
    assert found.baseline is not None
    assert (found.baseline.rows, found.baseline.columns) == (ROWS, ("age", "rate", "city"))
    assert found.baseline.notes == ("left out, as the model does not take them: late",)
    assert found.digest != bare.digest
    assert gathered(source, "again", Given(data)).digest == found.digest
    check(found.folder)
    unpacked = package.unpack(found.archive, source.with_name("unpacked"), found.digest)
    assert (unpacked / "model.onnx").read_bytes() == b"model"
    check(unpacked)
    # Registered once more, the archive brings its baseline and keeps its digest
    again = gathered(found.archive, "third")
    assert again.digest == found.digest
    assert again.baseline is not None
    assert (again.baseline.source, again.baseline.rows) == ("", ROWS)


def test_a_folder_as_sagemaker_left_it_makes_one_too(source: Path) -> None:
    place = source.with_name("suggested")
    baseline_files.write(baseline_files.suggest(profile(source.with_name("train.csv"))), place)
    (place / "profile.bin").unlink()  # which only we write
    document = json.loads((place / "constraints.json").read_text())
    assert [one["inferred_type"] for one in document["features"]][:2] == ["Integral", "Integral"]
    document["features"][1]["monitoringConfigOverrides"] = {"evaluate_constraints": "Disabled"}
    (place / "constraints.json").write_text(json.dumps(document))
    found = gathered(source, "with", Given(place))
    check(found.folder)
    kept = baseline_files.read(found.folder).constraints
    assert [(one.name, one.inferred_type) for one in kept.features] == [
        ("age", "Fractional"),
        ("city", "String"),
        ("rate", "Fractional"),
    ]
    assert not kept.settings_of("age").evaluate_constraints
    notes = json.loads((found.folder / "baseline" / "notes.json").read_text())
    assert notes == {"data quality": ["left out, as the model does not take them: late"]}


def test_other_parts_of_an_own_baseline_stay(source: Path) -> None:
    first = gathered(source, "first")
    own = first.folder / "baseline"
    own.mkdir()
    (own / "model_quality.json").write_text("{}")
    (own / "forest.json").write_text("{}")
    (own / "notes.json").write_text('{"bias": ["left out"], "data quality": ["old"]}')
    found = gathered(first.folder, "with", Given(source.with_name("train.csv")))
    assert (found.folder / "baseline" / "model_quality.json").read_text() == "{}"
    assert not (found.folder / "baseline" / "forest.json").exists()
    notes = json.loads((found.folder / "baseline" / "notes.json").read_text())
    assert notes["bias"] == ["left out"]
    assert notes["data quality"] != ["old"]


def test_predictions_in_an_own_baseline_stay(source: Path) -> None:
    first = gathered(source, "first")
    answered = DATA.with_columns(pl.col("late").cast(pl.String).alias("@predicted_label"))
    baseline_files.write(baseline_files.suggest(scan.profile(answered)), first.folder / "baseline")
    found = gathered(first.folder, "with", Given(source.with_name("train.csv")))
    assert found.baseline is not None
    assert found.baseline.columns == ("age", "rate", "city", "@predicted_label")
    kept = baseline_files.read(found.folder).constraints.feature("@predicted_label")
    assert kept is not None
    check(found.folder, answered.select(*LIVE.columns, "@predicted_label"))
    (first.folder / "baseline" / "statistics.json").write_text("broken")
    over = archive_baseline.put(first.folder, source.with_name("train.csv"))
    assert over.columns == ("age", "rate", "city")


def test_code_has_the_columns_of_its_data_without_the_target(tmp_path: Path) -> None:
    (tmp_path / "source" / "code").mkdir(parents=True)
    (tmp_path / "source" / "code" / "inference.py").write_text("def model_fn(folder): return None\n")
    DATA.write_parquet(tmp_path / "train.parquet")
    (tmp_path / "out").mkdir()
    given = Given(tmp_path / "train.parquet", "late")
    found = gather(tmp_path / "source", tmp_path / "out", given=given)
    assert found.baseline is not None
    assert found.baseline.columns == ("age", "city", "rate")
    assert baseline_files.read(found.folder).profile.columns["age"].inferred_type == "Integral"
    known = archive_baseline.requests(found.folder)
    assert known.inputs == (("age", "double"), ("city", "string"), ("rate", "double"))
    assert archive_baseline.requests(tmp_path / "source").inputs == ()


def test_a_baseline_that_does_not_fit_is_refused(source: Path, tmp_path: Path) -> None:
    def refused(data: pl.DataFrame, message: str) -> None:
        data.write_csv(tmp_path / "bad.csv")
        with pytest.raises(DataRefused, match=message):
            archive_baseline.put(tmp_path / "source", tmp_path / "bad.csv")

    refused(DATA.drop("age"), "no column age, which the model takes; it has late, city, rate")
    refused(
        DATA.with_columns(age=pl.when(pl.int_range(ROWS) < 7).then(pl.lit("x")).otherwise(pl.lit("1"))),
        "takes numbers as age, and 7 values",
    )
    refused(DATA.head(0), "has no rows")
    with pytest.raises(DataRefused, match="there is no"):
        archive_baseline.put(tmp_path / "source", tmp_path / "gone")
    own = tmp_path / "source" / "baseline"
    own.mkdir()
    (own / "statistics.json").write_text("{}")
    with pytest.raises(DataRefused, match="not as Model Monitor writes it"):
        gathered(tmp_path / "source", "own")


def test_a_baseline_without_a_profile_says_so(source: Path) -> None:
    found = gathered(source, "with", Given(source.with_name("train.csv")))
    (found.folder / "baseline" / "profile.bin").unlink()
    again = archive_baseline.own(found.folder)
    assert again is not None
    assert "give the baseline again" in again.notes[0]
    assert watched(found.folder, LIVE).notes[0].startswith("nothing was compared")


def test_many_models_behind_an_own_image_are_registered(tmp_path: Path) -> None:
    """Models of formats that only the image knows."""
    many = tmp_path / "many"
    (many / "team").mkdir(parents=True)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "weights.bin").write_bytes(b"weights")
    for name in ("a.tar.gz", "team/b.tar.gz"):
        package.write(inside, many / name)
    for place in ("1", "2", "3"):
        (tmp_path / place).mkdir()
    with pytest.raises(ArchiveRefused, match="there is no model in it"):
        gather(many, tmp_path / "1")
    found = gather(many, tmp_path / "2", own_image=True)
    assert found.contents == Contents("multi-model", "", (("a.tar.gz", "files"), ("team/b.tar.gz", "files")))
    DATA.write_csv(tmp_path / "train.csv")
    with pytest.raises(ArchiveRefused, match="2 models behind one server have no common baseline"):
        gather(many, tmp_path / "3", own_image=True, given=Given(tmp_path / "train.csv"))


def test_stages_for_an_own_image_are_registered(tmp_path: Path) -> None:
    folder = tmp_path / "pipeline"
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        (folder / name / "weights.bin").write_bytes(b"weights")
    stages = [{"name": name, "folder": name} for name in ("one", "two")]
    (folder / "pipeline.json").write_text(json.dumps({"format": 1, "stages": stages}))
    (tmp_path / "out").mkdir()
    found = gather(folder, tmp_path / "out", own_image=True)
    assert found.contents.parts == (("one", "files"), ("two", "files"))


def test_kinds_follow_the_baseline() -> None:
    known = baseline_files.suggest(scan.profile(DATA))
    assert baseline_files.reading(known, ("late",)) == Choice(
        ("late",), ("age", "rate"), ("city",), all_there=False
    )
