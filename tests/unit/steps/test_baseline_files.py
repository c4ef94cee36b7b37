"""A baseline from data files of any kind, and data held against it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from monitoring.drift import constraints as rules
from monitoring.drift.shares import Rule
from monitoring.profiles import scan
from steps import baseline_files, baseline_page, datasets, suites
from steps.baseline_files import Known
from steps.datasets import Choice
from steps.errors import DataRefused

ROWS = 200
TABLE = pl.DataFrame(
    {
        "age": [18 + n % 60 for n in range(ROWS)],
        "income": [n * 1.25 for n in range(ROWS)],
        "city": ["abc"[n % 3] for n in range(ROWS)],
        "vip": [n % 9 == 0 for n in range(ROWS)],
        "zip": [n % 70 for n in range(ROWS)],
        "gap": [n if n % 5 else None for n in range(ROWS)],
        "empty": pl.Series([None] * ROWS, dtype=pl.String),
    }
)
WRITE: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "csv": pl.DataFrame.write_csv,
    "parquet": pl.DataFrame.write_parquet,
    "jsonl": pl.DataFrame.write_ndjson,
}


@pytest.fixture
def known() -> Known:
    return baseline_files.suggest(scan.profile(TABLE))


def told(known: Known, file: Path) -> list[tuple[str, str]]:
    window = datasets.profile(file, baseline_files.reading(known))
    return [(one.subject[0][1], one.check) for one in baseline_files.compare(known, window).violations]


@pytest.mark.parametrize("kind", WRITE)
def test_every_kind_of_file_tells_the_same(tmp_path: Path, known: Known, kind: str) -> None:
    file = tmp_path / f"rows.{kind}"
    WRITE[kind](TABLE, file)
    seen: list[tuple[int, int | None]] = []
    profile = datasets.profile(file, progress=lambda done, every: seen.append((done, every)))
    assert baseline_files.suggest(profile).constraints == known.constraints
    assert seen[-1] == (ROWS, ROWS if kind == "parquet" else None)
    assert told(known, file) == []
    WRITE[kind](TABLE.with_columns(pl.col("age") + 40, city=pl.lit("d")).drop("gap"), file)
    assert told(known, file) == [
        ("gap", "missing_column_check"),
        ("age", "baseline_drift_check"),
        ("city", "categorical_values_check"),
        ("city", "baseline_drift_check"),
    ]


def test_a_folder_may_mix_kinds_of_files(tmp_path: Path, known: Known) -> None:
    for number, kind in enumerate(WRITE):
        WRITE[kind](TABLE[number * 50 : (number + 1) * 50], tmp_path / f"{number}.{kind}")
    (tmp_path / ".part.csv").write_text("no")
    profile = datasets.profile(tmp_path)
    assert (profile.rows, tuple(profile.columns)) == (150, tuple(TABLE.columns))
    assert profile.columns["age"].inferred_type == "Integral"


def test_columns_can_be_left_out_and_declared(tmp_path: Path) -> None:
    TABLE.write_parquet(tmp_path / "a.parquet")
    made = baseline_files.suggest(datasets.profile(tmp_path, Choice(("age",), ("vip",), ("zip",))))
    assert made.constraints.feature("age") is None
    assert made.profile.columns["zip"].kind == "categorical"
    assert made.profile.columns["vip"].kind == "numeric"
    # Categories that are numbers are compared as such, whatever the file
    TABLE.write_csv(tmp_path / "b.csv")
    window = datasets.profile(tmp_path / "b.csv", baseline_files.reading(made, ("age", "vip")))
    found = baseline_files.compare(made, window, ("age", "vip"))
    assert found.violations == ()
    assert {one.name: one.method for one in found.details.features}["zip"].startswith("linf")
    assert window.columns["zip"].kind == "categorical"


def test_a_baseline_comes_back_from_its_folder(tmp_path: Path, known: Known) -> None:
    files = baseline_files.write(known, tmp_path / "baseline")
    assert [file.name for file in files] == ["statistics.json", "constraints.json", "profile.bin"]
    for place in (tmp_path, tmp_path / "baseline"):  # a package, and the folder itself
        back = baseline_files.read(place)
        assert back.profile.to_bytes() == known.profile.to_bytes()
        assert (back.constraints.features, back.notes) == (known.constraints.features, ())
    assert baseline_files.write(baseline_files.read(tmp_path), tmp_path / "again")
    for file in files:
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_edited_constraints_are_what_counts(tmp_path: Path, known: Known) -> None:
    place = tmp_path / "baseline"
    baseline_files.write(known, place)
    document = json.loads((place / "constraints.json").read_text())
    document["features"][0]["monitoringConfigOverrides"] = {
        "distribution_constraints": {"comparison_threshold": 0.9}
    }
    (place / "constraints.json").write_text(json.dumps(document))
    WRITE["csv"](TABLE.with_columns(pl.col("age") + 40), tmp_path / "a.csv")
    assert told(known, tmp_path / "a.csv") == [("age", "baseline_drift_check")]
    assert told(baseline_files.read(place), tmp_path / "a.csv") == []


def test_chance_explains_small_changes_unless_somebody_set_the_number(tmp_path: Path, known: Known) -> None:
    window = scan.profile(TABLE.with_columns(gap=pl.when(pl.int_range(ROWS) > 2).then("gap")))
    assert baseline_files.edited(known) == {}
    assert baseline_files.compare(known, window).violations == ()
    bare = baseline_files.compare(known, window, rule=Rule("sagemaker"))
    assert [one.check for one in bare.violations] == ["completeness_check"]
    baseline_files.write(known, tmp_path)
    document = json.loads((tmp_path / "constraints.json").read_text())
    document["features"][2]["string_constraints"]["domains"].remove("c")
    document["features"][5]["completeness"] = 0.9
    (tmp_path / "constraints.json").write_text(json.dumps(document))
    changed = baseline_files.read(tmp_path)
    assert baseline_files.edited(changed) == {"city": {"domains"}, "gap": {"completeness"}}
    found = baseline_files.compare(changed, window)
    assert [(one.subject[0][1], one.check) for one in found.violations] == [
        ("city", "categorical_values_check"),
        ("gap", "completeness_check"),
    ]


def test_what_somebody_else_wrote_is_enough(tmp_path: Path, known: Known) -> None:
    baseline_files.write(known, tmp_path)
    (tmp_path / "profile.bin").unlink()
    back = baseline_files.read(tmp_path)
    assert back.notes == ()
    assert back.profile.columns["age"].numeric.moments.maximum == 77
    TABLE.write_parquet(tmp_path / "a.parquet")
    assert told(back, tmp_path / "a.parquet") == []
    (tmp_path / "constraints.json").unlink()
    assert baseline_files.read(tmp_path).notes[0].endswith("constraints were suggested from statistics.json")


def test_a_profile_that_does_not_belong_to_the_statistics_is_not_used(tmp_path: Path, known: Known) -> None:
    baseline_files.write(known, tmp_path)
    other = baseline_files.suggest(scan.profile(TABLE.head(50)))
    (tmp_path / "profile.bin").write_bytes(other.profile.to_bytes())
    back = baseline_files.read(tmp_path)
    assert (back.profile.rows, "was changed" in back.notes[0]) == (ROWS, True)
    (tmp_path / "profile.bin").write_bytes(b"no")
    assert "profile.bin was not used" in baseline_files.read(tmp_path).notes[0]


def test_the_report_is_what_a_monitor_leaves(tmp_path: Path, known: Known) -> None:
    window = scan.profile(TABLE.with_columns(city=pl.lit("d")))
    found = baseline_files.compare(known, window)
    baseline_files.leave(baseline_files.report_files(found), tmp_path / "out")
    document = json.loads((tmp_path / "out" / "constraint_violations.json").read_text())
    assert list(document) == ["violations"]
    assert [list(one) for one in document["violations"]] == [
        ["feature_name", "constraint_check_type", "description"]
    ] * len(found.violations)
    assert (tmp_path / "out" / "statistics.json").is_file()
    page = baseline_page.page("<today>.csv", found, known.profile, window)
    assert "&lt;today&gt;.csv" in page
    assert "categorical_values_check" in page
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "cannot be read as CSV"),
        ("a.csv", b"a,b\n", "has no rows"),
        ("a.csv", b"a,b\n1,\xff\n", "invalid UTF8"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
        ("a.jsonl", b"", "has no rows"),
        ("a.xlsx", b"", "data are read from"),
        ("b", b"", "there is no"),
    ],
)
def test_data_that_cannot_be_read_are_one_sentence(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    if name != "b":
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataRefused, match=message):
        datasets.profile(tmp_path / name, progress=lambda done, every: None)


def test_wrong_names_of_columns(tmp_path: Path) -> None:
    TABLE.write_csv(tmp_path / "a.csv")
    with pytest.raises(DataRefused, match="no column 'nope'; they have age"):
        datasets.profile(tmp_path, Choice(("nope",)))
    with pytest.raises(DataRefused, match="numeric and categorical at once"):
        datasets.profile(tmp_path, Choice((), ("age",), ("age",)))
    with pytest.raises(DataRefused, match="no column is left"):
        datasets.profile(tmp_path, Choice(tuple(TABLE.columns)))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataRefused, match="no file in"):
        datasets.profile(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("statistics.json", "{", "is not JSON"),
        ("statistics.json", "{}", "not as Model Monitor writes it"),
        ("statistics.json", "[]", "not as Model Monitor writes it"),
        ("constraints.json", "[]", "is no constraints.json"),
        ("constraints.json", '{"features": [{"name": "a", "inferred_type": "Int"}]}', "inferred_type"),
    ],
)
def test_a_broken_baseline_is_one_sentence(
    tmp_path: Path, known: Known, name: str, content: str, message: str
) -> None:
    baseline_files.write(known, tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataRefused, match=message):
        baseline_files.read(tmp_path)
    with pytest.raises(DataRefused, match=r"there is no .*statistics\.json; give a folder"):
        baseline_files.read(tmp_path / "gone")


def test_suites_go_both_ways_as_files(tmp_path: Path, known: Known) -> None:
    baseline_files.write(known, tmp_path)
    made = suites.export(tmp_path, tmp_path / "suite.json")
    assert made.document["name"] == "suite"
    assert any("gap: that numbers are whole" in one for one in made.unsaid)
    back = suites.take_in(tmp_path / "suite.json", tmp_path / "constraints.json")
    assert back.unsaid == ()
    assert back.constraints.features == known.constraints.features
    written = suites.written(back.constraints, tmp_path / "new" / "constraints.json")
    assert rules.read(json.loads(written.read_text())) == back.constraints
    for content in ("{", "[]", "{}", '{"expectations": [{}]}', '{"expectations": [{"type": 3}]}'):
        (tmp_path / "suite.json").write_text(content)
        with pytest.raises(DataRefused, match="suite"):
            suites.take_in(tmp_path / "suite.json")
    with pytest.raises(DataRefused, match="there is no"):
        suites.take_in(tmp_path / "gone.json")
