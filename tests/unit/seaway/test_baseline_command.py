"""`seaway baseline` as a program would call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from seaway.commands import baseline

TABLE = pl.DataFrame(
    {
        "age": [18 + n % 60 for n in range(500)],
        "[city]": ["abc"[n % 3] for n in range(500)],
        "late": [n % 2 for n in range(500)],
    }
)
PROJECT = """
name: small
model: small
staging: {endpoint: a}
production: {endpoint: b, capture: {}, rollout: {strategy: [{type: all_at_once}]}}
monitor:
  data_quality:
    domain_content_threshold: 0
    features: {age: {comparison_threshold: 0.9}, "[city]": {perform_comparison: false}}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    TABLE.write_csv("train.csv")
    TABLE.with_columns(pl.col("age") + 40, pl.lit("q").alias("[city]")).write_parquet("today.parquet")
    return tmp_path


def seaway(*words: str) -> Result:
    app = typer.Typer()
    baseline.register(app)
    return CliRunner().invoke(app, ["baseline", *words])


def told(*words: str) -> Any:
    found = seaway(*words, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_suggest_and_compare(place: Path) -> None:
    found = told("suggest", "train.csv", "--exclude", "late")
    assert found["rows"] == 500
    assert [one["name"] for one in found["features"]] == ["age", "[city]"]
    assert json.loads((place / "baseline" / "constraints.json").read_text())["features"] == found["features"]
    assert told("compare", "train.csv", "--exclude", "late")["violations"] == []
    words = ("compare", "today.parquet", "--exclude", "late", "--out", "report", "--html", "page/day.html")
    found = told(*words)
    assert (found["status"], len(found["violations"])) == ("CompletedWithViolations", 3)
    written = json.loads((place / "report" / "constraint_violations.json").read_text())
    assert written["violations"] == found["violations"]
    assert (place / "page" / "day.html").read_text().count("age") > 1
    assert seaway(*words, "--fail-on-violation").exit_code == 1


def test_people_get_tables(place: Path) -> None:
    shown = seaway("suggest", "train.csv")
    assert shown.exit_code == 0, shown.output
    assert "[city]" in shown.output
    assert "non-negative" in shown.output
    shown = seaway("compare", "today.parquet")
    assert shown.exit_code == 0, shown.output
    assert "baseline_drift_check" in shown.output
    assert "every constraint is met" in seaway("compare", "train.csv", "--fail-on-violation").output


def test_a_project_file_says_what_counts(place: Path) -> None:
    (place / "project.yaml").write_text(PROJECT)
    told("suggest", "train.csv", "--exclude", "late")
    words = ("compare", "today.parquet", "--exclude", "late", "--project", "project.yaml")
    assert told(*words)["violations"] == []
    off = PROJECT.split("  data_quality", maxsplit=1)[0] + "  data_quality: null\n  model_quality: {}\n"
    (place / "project.yaml").write_text(off)
    assert seaway(*words).exit_code == 1


def test_suites(place: Path) -> None:
    told("suggest", "train.csv", "--exclude", "late")
    found = told("to-suite", "baseline", "suite.json")
    assert found["expectations"] == len(json.loads((place / "suite.json").read_text())["expectations"])
    found = told("from-suite", "suite.json", "baseline/constraints.json", "--like", "baseline")
    assert (found["features"], found["unsaid"]) == (2, [])
    assert told("compare", "train.csv", "--exclude", "late")["violations"] == []
    assert "no expectation says" in seaway("to-suite", "baseline", "suite.json").output
    (place / "suite.json").write_text('{"expectations": []}')
    assert seaway("from-suite", "suite.json", "new.json").exit_code == 1
    assert not (place / "new.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("suggest", "gone.csv"),
        ("suggest", "train.csv", "--exclude", "nope"),
        ("compare", "train.csv", "--baseline", "gone"),
        ("to-suite", "gone", "suite.json"),
        ("from-suite", "gone.json", "constraints.json"),
    ],
)
def test_what_is_wrong_is_one_sentence(place: Path, words: tuple[str, ...]) -> None:
    found = seaway(*words)
    assert found.exit_code == 1
    assert found.stderr.startswith("seaway: ")
    assert "Traceback" not in found.output
