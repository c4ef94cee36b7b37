from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.load import ProjectError, dump, load, load_hosting, parse, restore, schema
from configs.project import Hosting, Project

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "flights").glob("project*.yaml"))
SMALL = """\
name: small
model: small
data:
  channels:
    rows: {source: rows.csv}
  target: y
  features:
    numeric: [x]
process: {function: "code:table"}
train: {estimator: sklearn.linear_model.LogisticRegression}
staging: {endpoint: small-staging}
production:
  endpoint: small
  rollout:
    strategy:
      - {type: canary, weights: [10%, 50%], bake: 10m}
"""


def problems(text: str):
    with pytest.raises(ProjectError) as caught:
        parse(text, "p.yaml")
    return caught.value.problems


def test_the_small_project_loads() -> None:
    project = parse(SMALL)
    assert project.data.features.numeric == ("x",)
    assert project.production.rollout.strategy[0].bake.total_seconds() == 600
    assert project.production.rollout.strategy[0].weights == (10, 50)


def test_an_unknown_key_is_placed_and_the_nearest_named() -> None:
    (problem,) = problems(SMALL.replace("  target: y", "  target: y\n  tme: when"))
    assert str(problem) == "p.yaml:7:3: data.tme: is not a known key; did you mean time?"


def test_an_unknown_key_inside_a_strategy_is_placed_without_the_union_tag() -> None:
    (problem,) = problems(SMALL.replace("bake: 10m}", "bake: 10m, wieghts: 3}"))
    assert problem.key == "production.rollout.strategy[0].wieghts"
    assert "did you mean weights?" in problem.message
    assert problem.line == 16


def test_all_problems_come_together_in_order() -> None:
    text = SMALL.replace("target: y", "traget: y").replace("bake: 10m", "bake: 10")
    found = problems(text)
    assert [problem.key for problem in found] == [
        "data.target",
        "data.traget",
        "production.rollout.strategy[0].bake",
    ]
    assert "is required" in found[0].message
    assert found[0].line == 3
    assert "has no unit" in found[2].message


def test_a_key_written_twice_is_refused() -> None:
    (problem,) = problems(SMALL + "name: other\n")
    assert str(problem) == "p.yaml:17:1: name: is written twice, first in line 1; remove one"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "not a mapping"),
        ("just text", "not a mapping"),
        ("name: [1, 2\nmodel: x\n", "is not YAML"),
        ("name: a\n\tmodel: b\n", "is not YAML"),
        ("name: &a [*a]\n", "contains itself"),
        ("name: !!python/object:os.system x\n", "is not YAML"),
        ("name: \x00", "is not YAML"),
    ],
)
def test_text_that_is_no_project_is_one_error(text: str, says: str) -> None:
    assert says in problems(text)[0].message


def test_scalars_mean_what_they_look_like() -> None:
    text = SMALL.replace(
        "LogisticRegression}",
        "LogisticRegression, hyperparameters: {a: no, b: 010, c: 2013-01-01, d: 1e-3, e: ~}}",
    )
    assert parse(text).train.hyperparameters == {"a": "no", "b": 10, "c": "2013-01-01", "d": 0.001, "e": None}


def test_files(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="there is no such file"):
        load(tmp_path / "no.yaml")
    with pytest.raises(ProjectError, match="there is no such file"):
        load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(ProjectError, match="byte 9 is not UTF-8"):
        load(tmp_path / "latin.yaml")
    (tmp_path / "project.yaml").write_text("\ufeff" + SMALL, encoding="utf-8")
    loaded = load(tmp_path)
    assert loaded.project == parse(SMALL)
    assert loaded.folder == tmp_path


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_examples_load_and_dump_back(file: Path) -> None:
    project = load(file).project
    assert parse(json.dumps(dump(project))) == project


@given(
    weights=st.lists(st.integers(0, 100), min_size=1, max_size=5),
    milliseconds=st.integers(0, 10**9),
    hundredths=st.integers(1, 9999),
    text=st.text(max_size=20),
    parameters=st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(10**9), 10**9)
            | st.floats(-1e6, 1e6)
            | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
        max_size=4,
    ),
)
def test_dump_reads_back_to_an_equal_project(weights, milliseconds, hundredths, text, parameters) -> None:
    data = dump(parse(SMALL))
    data["description"] = text
    data["process"]["parameters"] = parameters
    data["evaluate"]["holdout"] = f"{hundredths / 100:.2f}%"
    data["production"]["rollout"]["strategy"] = [
        {"type": "canary", "weights": weights, "bake": f"{milliseconds}ms"},
        {"type": "all_at_once"},
    ]
    project = parse(json.dumps(data))
    assert parse(json.dumps(dump(project))) == project


def test_the_schema_describes_every_key() -> None:
    found = schema()
    assert set(found["required"]) == {"name", "model", "data", "process", "train", "staging", "production"}
    assert "validate" in found["properties"]
    assert found["$defs"]["Canary"]["additionalProperties"] is False


HOSTING = "name: small\nmodel: small\n" + SMALL[SMALL.index("staging:") :]


def test_hosting_needs_nothing_that_makes_a_model(tmp_path: Path) -> None:
    file = tmp_path / "project.yaml"
    file.write_text(HOSTING)
    found = load_hosting(tmp_path).project
    assert type(found) is Hosting
    assert restore(json.dumps(dump(found))) == found
    with pytest.raises(ProjectError, match="data: is required but missing"):
        load(file)
    file.write_text(SMALL)
    whole = load_hosting(file).project
    assert type(whole) is Project
    assert restore(json.dumps(dump(whole))) == whole
    assert whole == load(file).project


def test_hosting_is_checked_like_a_whole_project(tmp_path: Path) -> None:
    file = tmp_path / "project.yaml"
    for text, said in (
        (HOSTING + "gates: []\n", r":9:1: gates: is not a known key"),
        (HOSTING + "train: {}\n", "data: is required but missing"),
        (HOSTING.replace("endpoint: small\n", "endpoint: small-staging\n"), "different endpoint names"),
    ):
        file.write_text(text)
        with pytest.raises(ProjectError, match=said):
            load_hosting(file)


def test_variables_that_the_platform_sets_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "project.yaml"
    file.write_text(HOSTING + 'environment: {SEAWAY_MAX_HOP_PAYLOAD_IN_MB: "20", THRESHOLD: "0.4"}\n')
    assert load_hosting(file).project.environment["THRESHOLD"] == "0.4"
    for name in ("SEAWAY_CAPTURE", "SAGEMAKER_BIND_TO_PORT", "no-name"):
        file.write_text(HOSTING + f"environment: {{{name}: x}}\n")
        with pytest.raises(ProjectError, match=f"environment: '?{name}"):
            load_hosting(file)
