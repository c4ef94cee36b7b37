from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steps import process
from steps import table as tables
from steps.errors import DataRefused

GOOD = {
    "x": [1, None, 3],
    "z": [0.5, float("nan"), 2.0],
    "c": ["a", None, "b"],
    "y": [0, 1, 1],
    "when": [3, 1, 2],
}


def frame(**columns):
    return pl.DataFrame({**GOOD, **columns})


def test_the_table_gets_its_types_and_order(project) -> None:
    table = process.checked(frame(extra=[1, 2, 3]), project())
    assert table.schema["x"] == table.schema["z"] == pl.Float64
    assert table["when"].to_list() == [1, 2, 3]
    assert table["c"].to_list() == ["", "b", "a"]
    assert table["z"].to_list() == [None, 2.0, 0.5]
    assert table["extra"].to_list() == [2, 3, 1]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"x": ["1", "two", "3"]}, "x holds 1 values that are no numbers, such as 'two'"),
        ({"x": [1.0, float("inf"), 2.0]}, "x is infinite in 1 rows"),
        ({"y": [0, None, 1]}, "y is missing in 1 of 3 rows; drop them"),
        ({"y": [0.0, float("nan"), 1.0]}, "y is missing in 1 of 3"),
        ({"y": [0, 0, 0]}, "needs two classes"),
        ({"y": [0, 1, 2]}, "3 classes; set train.task to multiclass"),
        ({"y": [0.1, 0.2, 0.3]}, "has fractions"),
        ({"when": [1, None, 2]}, "when is missing in 1"),
        ({"when": [True, False, True]}, "orders nothing"),
        ({"c": [[1], [2], [3]]}, "convert it first"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(project, columns, says) -> None:
    with pytest.raises(DataRefused, match=says.replace("'", ".")):
        process.checked(frame(**columns), project())


def test_missing_columns_come_with_the_nearest_name(project) -> None:
    with pytest.raises(DataRefused, match=r"lacks the columns when \(data.time; did you mean When\?\), c \("):
        process.checked(frame().rename({"when": "When"}).drop("c"), project())


def test_no_rows(project) -> None:
    with pytest.raises(DataRefused, match="no rows"):
        process.checked(frame().clear(), project())


def test_booleans_and_texts_are_classes(project) -> None:
    assert process.checked(frame(y=[True, False, True]), project())["y"].to_list() == [0, 1, 1]
    text = process.checked(frame(y=["n", "p", "p"]), project())
    assert process.summary(text, project())["classes"] == {"n": 1, "p": 2}


@pytest.mark.parametrize(
    "kind", [pl.DataFrame, lambda data: pl.DataFrame(data).lazy(), pd.DataFrame, pa.table]
)
def test_frames_of_all_kinds(kind) -> None:
    made = process.frame_of(kind({"a": [1, 2], "b": ["x", "y"]}), "k")
    assert made.to_dict(as_series=False) == {"a": [1, 2], "b": ["x", "y"]}


def test_other_answers_are_refused() -> None:
    with pytest.raises(DataRefused, match="returned builtins.list; return a Polars or pandas data frame"):
        process.frame_of([1], "process.function")


def test_fetch_reads_files_and_functions(tmp_path: Path, project) -> None:
    (tmp_path / "features.py").write_text(
        "import polars as pl\ndef rows(n):\n    return pl.DataFrame({'a': range(n)})\n"
    )
    (tmp_path / "parts").mkdir()
    pl.DataFrame({"a": [1, 2]}).write_csv(tmp_path / "parts" / "one.csv")
    pl.DataFrame({"a": [3]}).write_parquet(tmp_path / "parts" / "two.parquet")
    channels = {"files": {"source": "parts"}, "made": {"function": "features:rows", "parameters": {"n": 4}}}
    data = project(data__channels=channels).data
    found = process.fetch(data, tmp_path, tmp_path / "out")["channels"]
    assert {name: one["rows"] for name, one in found.items()} == {"files": 3, "made": 4}
    assert pl.read_parquet(tmp_path / "out" / "files" / "*.parquet")["a"].to_list() == [1, 2, 3]
    again = process.fetch(data, tmp_path, tmp_path / "again")["channels"]
    assert again == found


@pytest.mark.parametrize(
    ("source", "says"), [("no.csv", "there is no no.csv"), ("empty", "empty holds no .csv or")]
)
def test_sources_that_are_not_there(tmp_path: Path, project, source: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    data = project(data__channels={"rows": {"source": source}}).data
    with pytest.raises(DataRefused, match=rf"data\.channels\.rows\.source: {says}"):
        process.fetch(data, tmp_path, tmp_path / "out")


def test_run_writes_the_table(tmp_path: Path, project) -> None:
    (tmp_path / "features.py").write_text(
        "import polars as pl\ndef table(channels, times):\n"
        "    return pl.read_parquet(channels['rows'] / '*.parquet').with_columns(pl.col('x') * times)\n"
    )
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    out.mkdir()
    frame().write_parquet(raw / "part-0.parquet")
    facts = process.run(project(process__parameters={"times": 2}), tmp_path, {"rows": raw}, out)
    assert facts["rows"] == 3
    assert facts["classes"] == {"0": 1, "1": 2}
    assert facts["time"] == ["1", "3"]
    assert tables.read(out)["x"].to_list() == [None, 6.0, 2.0]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.lists(st.integers(0, 8), min_size=2, max_size=40),
    share=st.sampled_from(["5%", "20%", "50%", "90%"]),
)
def test_the_split_is_ordered_complete_and_ties_stay_together(project, times, share) -> None:
    table = pl.DataFrame({"when": times, "row": range(len(times))})
    setting = project(evaluate__holdout=share)
    if len(set(times)) == 1:
        with pytest.raises(DataRefused, match=r"evaluate\.holdout"):
            tables.split(table, setting)
        return
    train, holdout = tables.split(table, setting)
    assert sorted(train["row"].to_list() + holdout["row"].to_list()) == list(range(len(times)))
    assert train["when"].max() < holdout["when"].min()


def test_without_time_the_split_is_a_seeded_shuffle(project) -> None:
    table = pl.DataFrame({"row": range(100)})
    setting = project(data__time=None)
    first, second = tables.split(table, setting), tables.split(table, setting)
    assert first[1]["row"].to_list() == second[1]["row"].to_list() != list(range(80, 100))
    assert first[1].height == 20


def test_required_inputs_never_had_a_gap(project) -> None:
    setting = project()
    table = process.checked(frame(x=[1, 2, 3]), setting)
    assert [one["required"] for one in tables.inputs(table, setting.data.features)] == [True, False, False]
