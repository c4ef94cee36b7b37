"""Attributions of real packages: trees, few inputs, many inputs, many classes, and what a live table may hold."""

from __future__ import annotations

import csv
import json
import warnings
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from typer.testing import CliRunner

from monitoring.explain import Attributions, analyse, read
from registry.memory import MemoryRegistry
from registry.port import Candidate
from seaway.cli import application
from serving import package
from steps import clarify_files
from steps.attributions import Model, Wish, attributions, attributions_of_files, dependences, local
from steps.errors import DataRefused
from steps.pack import pack

pytestmark = pytest.mark.integration
NUMBERS, TEXTS = [f"n{n}" for n in range(5)], ["carrier"]
COLUMNS = [*NUMBERS, *TEXTS]


def frame(rows: int = 400, seed: int = 3) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    made = pd.DataFrame({name: draw.normal(size=rows).round(2) for name in NUMBERS})
    made.loc[::7, "n4"] = np.nan
    made["carrier"] = draw.choice(["aa", "b", "", "ü"], rows, p=[0.2, 0.4, 0.1, 0.3])
    return made


def target(rows: pd.DataFrame) -> pd.Series[float]:
    return rows.n0 + rows.n1 * rows.n2 + (rows.carrier == "aa") + rows.n4.fillna(0.5)


def packed(folder: Path, model: Any, task: Any, names: list[str] = COLUMNS) -> Path:
    rows = frame()
    wanted = target(rows) if task == "regression" else target(rows) > 0.4
    if task == "multiclass":
        wanted = np.digitize(target(rows), [-0.5, 0.9])
    model.fit(rows[names], wanted)
    made = pack(model, rows, name="m", task=task, features=names, trained_on=rows, folder=folder)
    return package.unpack(made.archive, folder / "unpacked", made.digest)


def encoded(encoder: Any) -> ColumnTransformer:
    return ColumnTransformer([("texts", encoder, TEXTS), ("numbers", "passthrough", NUMBERS)])


def boosting() -> Pipeline:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    trees = HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=8, random_state=7)
    return Pipeline([("columns", encoded(encoder)), ("model", trees)])


@pytest.fixture(scope="module")
def boosted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("boosted"), boosting(), "binary")


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("linear"), LinearRegression(), "regression", NUMBERS[:4])


def live(rows: int = 300) -> pl.DataFrame:
    return pl.from_pandas(frame(rows, seed=9))


def test_trees_are_explained_in_log_odds_as_the_library_does(boosted: Path) -> None:
    model = Model.load(boosted)
    found = local(model, live(), Wish(rows=120))
    assert (found.how.method, found.how.space, found.notes) == ("tree", "log_odds", ())
    assert found.scores - found.expected == pytest.approx(found.values.sum(axis=1), abs=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shap = pytest.importorskip("shap")
        trained = boosting().fit(frame()[COLUMNS], target(frame()) > 0.4)
        background = pd.DataFrame({k: v[:, 0] for k, v in found.background.items()})
        before = trained[:-1].transform(background).astype(float)
        rows = live().to_pandas().iloc[list(found.places)]
        told = shap.TreeExplainer(trained[-1], before).shap_values(trained[:-1].transform(rows[COLUMNS]))
    order = [*TEXTS, *NUMBERS]
    assert found.values[:, :, 0] == pytest.approx(told[:, [order.index(c) for c in COLUMNS]], abs=1e-6)


def test_trees_and_all_coalitions_agree(boosted: Path) -> None:
    model = Model.load(boosted)
    by_trees = local(model, live(), Wish(rows=40))
    asked = local(model, live(), Wish(rows=40, method="exact", space="log_odds"))
    assert asked.how.method == "exact"
    assert asked.places == by_trees.places
    assert asked.values == pytest.approx(by_trees.values, abs=1e-4)


def test_a_row_against_the_definition(linear: Path) -> None:
    model = Model.load(linear)
    found = local(model, live(), Wish(rows=10, baseline="rows"))
    names = list(found.features)
    row = {name: live()[name].to_numpy()[found.places[3]] for name in names}
    gains = np.zeros(len(names))
    every = list(permutations(range(len(names))))
    for order in every:
        mixed = {name: values.copy() for name, values in found.background.items()}
        before = model.score(mixed).mean()
        for place in order:
            mixed[names[place]][:] = row[names[place]]
            after = model.score(mixed).mean()
            gains[place] += (after - before) / len(every)
            before = after
    assert found.how.method == "exact"
    assert found.values[3, :, 0] == pytest.approx(gains, abs=1e-5)


def test_many_coalitions_are_drawn_and_add_up(tmp_path: Path) -> None:
    names = [f"x{n}" for n in range(14)]
    draw = np.random.default_rng(1)
    rows = pd.DataFrame(draw.normal(size=(300, 14)), columns=names)
    model = LogisticRegression().fit(rows, rows.x0 + 2 * rows.x1 > 0)
    made = pack(model, rows, name="m", task="binary", features=names, trained_on=rows, folder=tmp_path)
    folder = package.unpack(made.archive, tmp_path / "unpacked", made.digest)
    told: list[tuple[int, int]] = []
    table = pl.from_pandas(rows)
    found = attributions(folder, table, Wish(rows=40), lambda done, every: told.append((done, every)))
    assert found.method == "kernel"
    assert found.top(2) == ("x1", "x0")
    assert told[-1] == (40, 40)
    assert found.notes == ()
    exact = attributions(folder, table, Wish(rows=40, method="exact"))
    assert found.labels[0].values == pytest.approx(exact.labels[0].values, abs=0.01)


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_regression_and_many_classes(tmp_path: Path, task: str) -> None:
    model: Any = RandomForestRegressor(10, max_depth=5, random_state=1)
    if task == "multiclass":
        model = make_pipeline(encoded(OneHotEncoder(handle_unknown="ignore")), boosting()[-1])
    else:
        model = make_pipeline(encoded(OrdinalEncoder()), model)
    folder = packed(tmp_path, model, task)
    found = attributions(folder, live(), Wish(rows=20))
    assert len(found.labels) == (3 if task == "multiclass" else 1)
    assert found.how.space == "scores"
    assert found.notes == ()


def test_equal_arguments_give_equal_documents(boosted: Path) -> None:
    for method in ("tree", "kernel"):
        wish = Wish(rows=30, method=method)
        once, again = (json.dumps(attributions(boosted, live(), wish).document()) for _ in range(2))
        assert once == again
        other = json.dumps(attributions(boosted, live(), Wish(rows=30, method=method, seed=8)).document())
        assert other != once


def test_a_package_by_its_files(boosted: Path) -> None:
    files = {
        str(file.relative_to(boosted)): file.read_bytes() for file in boosted.rglob("*") if file.is_file()
    }
    wish = Wish(rows=30)
    assert attributions_of_files(files, live(), wish) == attributions(boosted, live(), wish)


def test_a_window_is_explained_like_its_baseline_and_drift_is_found(boosted: Path) -> None:
    known = read(json.loads(json.dumps(attributions(boosted, live(), Wish(rows=200)).document())))
    wish = Wish(rows=200, method="exact").like(known)
    same = attributions(boosted, pl.from_pandas(frame(300, seed=10)), wish)
    assert same.method == "exact"
    found = analyse(known, same)
    assert found.status == "Completed"
    shifted = live().with_columns(pl.lit(0.0).alias("n0"), pl.col("n3") * 5, pl.col("n1") * 6)
    assert shift_of(analyse(known, attributions(boosted, shifted, wish)), "n0") < -0.1


def shift_of(found: Any, name: str) -> float:
    return next(one.value for one in found.figures if one.name == f"share_shift_{name}")


def test_bad_columns_never_end_an_analysis(boosted: Path) -> None:
    rows = live(40)
    bad = rows.with_columns(
        pl.lit(None).alias("n4"),
        pl.Series("n0", [*[float("inf")] * 5, *[0.5] * 35]),
        pl.Series("n1", ["text", *["1.5"] * 39]),
        pl.Series("carrier", [["a"], ["b"]] * 20),
    )
    found = attributions(boosted, bad, Wish(rows=40))
    assert found.rows == 35
    assert found.notes == ("5 rows lack an input that the model requires and were not explained",)


def test_what_is_refused(boosted: Path, linear: Path, tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="have no n0; give every input"):
        attributions(boosted, live().drop("n0"))
    with pytest.raises(DataRefused, match="give other rows"):
        attributions(boosted, live().with_columns(pl.lit(None, pl.Float64).alias("n0")))
    with pytest.raises(DataRefused, match="set the method to auto"):
        attributions(linear, live(), Wish(method="tree"))
    with pytest.raises(DataRefused, match="cannot be explained"):
        attributions(tmp_path, live())


def test_partial_dependence_of_a_package(boosted: Path) -> None:
    number, text = dependences(Model.load(boosted), live(), ["n0", "carrier"], Wish(rows=100), 10)
    assert len(number.values) == 10
    assert number.predictions[0][0] < number.predictions[0][-1]
    assert text.values == ("aa", "b", "ü")
    assert text.predictions[0][0] == max(text.predictions[0])


def test_the_files_of_clarify(boosted: Path, tmp_path: Path) -> None:
    model = Model.load(boosted)
    found = local(model, live(), Wish(rows=25))
    shown = dependences(model, live(), ["n0"], Wish(rows=25))
    clarify_files.write(tmp_path / "out", found, shown)
    analysis = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert list(analysis["explanations"]) == ["kernel_shap", "pdp"]
    with (tmp_path / "out" / "explanations_shap" / "out.csv").open(newline="") as stream:
        lines = list(csv.reader(stream))
    assert lines[0] == [*(f"{name}_label0" for name in COLUMNS), "prediction_label0"]
    values = np.array(lines[1:], dtype=float)
    assert values.shape == (25, len(COLUMNS) + 1)
    assert values[:, :-1].sum(axis=1) + found.expected[0] == pytest.approx(values[:, -1], abs=1e-4)
    summary = found.summary()
    assert isinstance(summary, Attributions)
    assert np.abs(values[:, 0]).mean() == pytest.approx(summary.labels[0].values[0])
    with (tmp_path / "out" / "explanations_shap" / "baseline.csv").open(newline="") as stream:
        assert next(csv.reader(stream)) == COLUMNS


def installation(home: Path, archive: Path) -> SimpleNamespace:
    """What explaining needs of an installation: a registry with this version."""
    registry = MemoryRegistry(home / "artifacts")
    place = home / "artifacts" / "r1" / "package" / "model.tar.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(archive.read_bytes())
    registry.register(Candidate("m", "r1", {"digest": package.digest(archive)}))
    return SimpleNamespace(registry=registry, archives=home / "archives", settings=SimpleNamespace(home=home))


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_the_command(boosted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    wiring = installation(tmp_path, boosted.parent / "model.tar.gz")
    monkeypatch.setattr("flows.wiring.connect", lambda: wiring)
    data = tmp_path / f"rows.{ending}"
    writers = {"csv": live().write_csv, "parquet": live().write_parquet, "jsonl": live().write_ndjson}
    writers[ending](data)
    given = ["explain", "m", "1", "--data", str(data), "--rows", "50", "--output", str(tmp_path / "out")]
    answer = CliRunner().invoke(application(), [*given, "--json"])
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert read(document) == attributions(boosted, live(), Wish(rows=50))
    assert all(Path(path).is_file() for path in document["files"].values())
    told = CliRunner().invoke(application(), given)
    assert told.exit_code == 0, told.output
    assert "50 rows, tree method, in log-odds" in told.output
    refused = CliRunner().invoke(application(), [*given[:3], "--data", str(tmp_path / "rows.txt")])
    assert refused.exit_code == 1
    assert "give a file in .csv, .parquet, .jsonl" in " ".join(refused.output.split())
