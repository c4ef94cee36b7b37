"""The build steps on real flights, and Great Expectations for real."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from configs.load import load
from serving.feeding import Feeding
from steps import evaluate, gate, process, report, train, validate
from steps import table as tables
from steps.code import project_code, resolve
from steps.compile import to_onnx
from steps.errors import ValidationBroken
from steps.job import run_step

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing|great_expectations|altair"),
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]
EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"


class Built:
    """One version of the example, step by step in run folders."""

    def __init__(self, name: str, runs: Path, champion: evaluate.Champion | None = None) -> None:
        loaded = load(EXAMPLE / f"{name}.yaml")
        self.project, self.folder = loaded.project, loaded.folder
        gate.check(self.project)
        raw = run_step(
            "fetch", f"{name}-raw", runs, lambda out: process.fetch(self.project.data, self.folder, out)
        )
        channels = {one: raw.folder / one for one in self.project.data.channels}
        self.table = run_step(
            "process",
            f"{name}-table",
            runs,
            lambda out: process.run(self.project, self.folder, channels, out),
        )
        self.model = run_step(
            "train",
            f"{name}-model",
            runs,
            lambda out: train.run(self.project, self.folder, self.table.folder, out),
        )
        self.evaluation = run_step(
            "evaluate",
            f"{name}-evaluation",
            runs,
            lambda out: evaluate.run(
                self.project, self.folder, self.table.folder, self.model.folder, out, champion
            ),
        )
        self.gates = gate.decide(self.project.gate, self.evaluation.output)

    def champion(self, name: str) -> evaluate.Champion:
        model = train.load(self.model.folder, self.folder)
        return evaluate.Champion(name, evaluate.model_score(model, self.project))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def first(runs: Path) -> Built:
    return Built("project-v1", runs)


@pytest.fixture(scope="module")
def second(runs: Path, first: Built) -> Built:
    return Built("project", runs, first.champion("1"))


@pytest.fixture(scope="module")
def third(runs: Path, second: Built) -> Built:
    return Built("project-v3", runs, second.champion("2"))


def test_the_second_version_is_better_on_the_same_rows(first: Built, second: Built) -> None:
    assert gate.passed(first.gates)
    assert gate.passed(second.gates)
    gain = second.evaluation.output["champion"]["difference"]["roc_auc"]
    assert gain["low"] > 0


def test_the_third_passes_every_gate_and_cannot_serve_what_comes(third: Built) -> None:
    assert gate.passed(third.gates)
    required = [one["name"] for one in third.model.output["inputs"] if one["required"]]
    assert "pressure" in required
    with project_code(EXAMPLE):
        requests = list(resolve("flights:live_requests", "test")([7, 8, 9, 10, 11, 12], every=80))
    failing = np.mean([any(one[name] is None for name in required) for one in requests])
    assert len(requests) > 1000
    assert 0.05 < failing < 0.15


def test_no_version_needs_more_than_clients_send(first: Built, second: Built, third: Built) -> None:
    with project_code(EXAMPLE):
        request = next(resolve("flights:live_requests", "test")([7]))
    assert json.loads(json.dumps(request)) == request
    for built in (first, second, third):
        assert {one["name"] for one in built.model.output["inputs"]} <= set(request)


def test_no_hold_out_row_is_older_than_a_training_row(second: Built) -> None:
    training, holdout = tables.split(tables.read(second.table.folder), second.project)
    assert training["departed_at"].max() < holdout["departed_at"].min()
    assert training.height + holdout.height == second.table.output["rows"]


def test_the_charts_and_the_sheet_come_out(second: Built, tmp_path: Path) -> None:
    names = report.draw(second.evaluation.output, second.model.output["curves"], tmp_path)
    assert {"roc.png", "slices-carrier.png"} <= set(names)
    sheet = report.decision_sheet("late-arrivals 2", second.evaluation.output, second.gates)
    assert "better than champion 1" in sheet


def test_the_table_meets_its_suite(second: Built, tmp_path: Path) -> None:
    found = validate.run(second.table.folder, EXAMPLE / "suite.json", "critical", tmp_path)
    assert found["passed"]
    assert [one["column"] for one in found["failures"]] == ["pressure"]
    assert "11.3%" in found["failures"][0]["observed"]
    assert json.loads((tmp_path / "validation.json").read_text()) == found
    assert "http" not in (tmp_path / "validation.html").read_text()


SUITE = {
    "name": "s",
    "expectations": [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "x", "max_value": 2}, "severity": "warning"},
        {"type": "expect_column_to_exist", "kwargs": {"column": "w"}, "severity": "info"},
        {"type": "expect_column_quantile_values_to_be_between", "severity": "critical",
         "kwargs": {"column": "x", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 5]]}}},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("fail_on", "passed"), [("critical", True), ("warning", False), ("info", False)])
def test_the_severity_decides(tmp_path: Path, fail_on: str, *, passed: bool) -> None:
    pl.DataFrame({"x": [1.0, 2.0, 3.0]}).write_parquet(tmp_path / "table.parquet")
    (tmp_path / "suite.json").write_text(json.dumps(SUITE))
    found = validate.run(tmp_path, tmp_path / "suite.json", fail_on, tmp_path)
    assert found["passed"] is passed
    assert [one["passed"] for one in found["checks"]] == [False, False, True]
    assert found["checks"][0]["observed"] == "1 rows (33.3%) do not meet it, such as 3"


@pytest.mark.parametrize(
    ("expectation", "says"),
    [
        ({"type": "expect_column_values_to_be_null", "kwargs": {"column": "w"}}, "the table has no column w"),
        ({"type": "expect_the_moon", "kwargs": {}}, "expect_the_moon does not exist"),
        ({"type": "expect_column_values_to_be_between", "kwargs": {"column": "t", "max_value": 3}}, "could not be checked"),
    ],
)  # fmt: skip
def test_a_check_that_cannot_run_is_not_a_failed_check(expectation: dict[str, object], says: str) -> None:
    suite = {"name": "s", "expectations": [expectation]}
    with pytest.raises(ValidationBroken, match=says):
        validate.check(pl.DataFrame({"x": [1.0], "t": ["a"]}), suite)


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "is not JSON"), ("[]", "must be"), ('{"expectations": [{}]}', "has no type"),
     ('{"expectations": [{"type": "a", "severity": "fatal"}]}', "must be one of")],
)  # fmt: skip
def test_a_suite_that_is_none(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "suite.json").write_text(text)
    with pytest.raises(ValidationBroken, match=says):
        validate.read_suite(tmp_path / "suite.json")
    with pytest.raises(ValidationBroken, match=r"there is no other.json"):
        validate.read_suite(tmp_path / "other.json")


def test_a_drafted_suite_holds_for_its_own_table() -> None:
    table = pl.DataFrame({"x": [1.0, None, 3.0], "c": ["a", "b", "a"], "n": [1, 2, 3]})
    suite = validate.draft_suite(table, "draft")
    assert all(one.passed for one in validate.check(table, suite))


def test_the_default_columns_compile_exactly_unknown_categories_too(second: Built) -> None:
    from onnxruntime import InferenceSession

    features = second.project.data.features
    names = tables.columns(features)
    model = train.load(second.model.folder, EXAMPLE)
    graph = to_onnx(model, [(one["name"], one["type"]) for one in second.model.output["inputs"]])
    rows = tables.read(second.table.folder)[-2000:].with_columns(
        dest=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("XXX")).otherwise(pl.col("dest"))
    )
    seen = tables.matrix(rows, features)
    columns = {
        name: seen[:, [at]].astype(np.float32 if at < len(features.numeric) else object)
        for at, name in enumerate(names)
    }
    session = InferenceSession(graph)
    feeds = Feeding([one.name for one in session.get_inputs()], names, features.numeric)(columns)
    answer = session.run(["probabilities"], feeds)[0]
    assert np.abs(answer - model.predict_proba(seen)).max() < 1e-5
