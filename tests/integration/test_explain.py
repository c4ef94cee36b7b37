"""Explanations of real models, against the library shap and over HTTP."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from serving import codecs, package
from serving.explain import EXPLAIN
from serving.explain.responder import ExplainingResponder
from serving.loading import load
from serving.responder import Request
from steps.pack import BASELINE_ROWS, pack
from tests.ports import free_port
from tests.processes import until

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
NUMBERS, TEXTS = [f"n{n}" for n in range(6)], ["carrier", "origin"]
COLUMNS = [*NUMBERS, *TEXTS]


def frame(rows: int = 400) -> pd.DataFrame:
    draw = np.random.default_rng(3)
    made = pd.DataFrame({name: draw.normal(size=rows).round(2) for name in NUMBERS})
    made.loc[::7, "n4"] = np.nan
    made["carrier"] = draw.choice(["aa", "b", "", "ü"], rows, p=[0.2, 0.4, 0.1, 0.3])
    made["origin"] = draw.choice(["x", "y"], rows)
    return made


def target(rows: pd.DataFrame) -> pd.Series[float]:
    return rows.n0 + rows.n1 * rows.n2 + (rows.carrier == "aa") + rows.n4.fillna(0.5)


def columns(encoder: Any = None) -> ColumnTransformer:
    encoder = encoder or OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return ColumnTransformer([("texts", encoder, TEXTS), ("numbers", "passthrough", NUMBERS)])


def packed(folder: Path, model: Any, *, task: Any = "binary") -> Path:
    rows = frame()
    wanted = target(rows) if task == "regression" else target(rows) > 0.4
    if task == "multiclass":
        wanted = np.digitize(target(rows), [-0.5, 0.9])
    model.fit(rows[COLUMNS], wanted)
    made = pack(model, rows, name="m", task=task, features=COLUMNS, trained_on=rows, folder=folder)
    return package.unpack(made.archive, folder / "unpacked", made.digest)


def responder(folder: Path, **settings: Any) -> ExplainingResponder:
    made = load(folder, {EXPLAIN: json.dumps(settings)})
    assert isinstance(made, ExplainingResponder)
    return made


def explained(answering: ExplainingResponder, rows: int = 5) -> tuple[np.ndarray, dict[str, Any], str]:
    """Attributions by row, feature and output, the whole content, and the header."""
    body = frame().tail(rows)[COLUMNS].to_json(orient="records").encode()
    answer = answering.respond(Request(body, "application/json"))
    content = json.loads(answer.body)
    shown = content["explanations"]["kernel_shap"]
    values = [[one["attributions"][0]["attribution"] for one in row] for row in shown]
    return np.array(values), content, dict(answer.headers)["x-seaway-explanations"]


@pytest.fixture(scope="module")
def boosted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=8, random_state=7)
    return packed(tmp_path_factory.mktemp("boosted"), Pipeline([("c", columns()), ("m", model)]))


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = RandomForestClassifier(15, max_depth=6, random_state=7)
    return packed(tmp_path_factory.mktemp("forest"), Pipeline([("c", columns()), ("m", model)]))


def library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("shap")


# ---- the baseline in a package ----------------------------------------------------------------------------


def test_a_package_brings_its_baseline(boosted: Path) -> None:
    content = json.loads((boosted / "baseline.json").read_text())
    rows = frame()
    assert len(content["rows"]) == BASELINE_ROWS
    assert content["rows"][0]["n0"] == rows.n0[0]
    assert content["rows"][0]["n4"] is None
    typical = content["typical"]
    assert list(typical) == COLUMNS
    assert (typical["carrier"], typical["origin"]) == ("b", rows.origin.mode()[0])
    assert typical["n4"] in rows.n4.to_list()
    assert typical["n4"] == pytest.approx(rows.n4.median(), abs=0.02)


# ---- against the library shap -----------------------------------------------------------------------------


def test_every_coalition_is_what_the_library_says(boosted: Path) -> None:
    shap = library()
    answering = responder(boosted, method="kernel", baseline="rows")
    found, content, _ = explained(answering)
    background = json.loads((boosted / "baseline.json").read_text())["rows"]
    manifest = answering.predictor.manifest
    given = codecs.decode(json.dumps(background).encode(), codecs.JSON, manifest)
    asked = codecs.decode(frame().tail(5)[COLUMNS].to_json(orient="records").encode(), codecs.JSON, manifest)
    model, before, rows = coded(answering, given, asked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = shap.KernelExplainer(model, before).shap_values(
            rows, nsamples=1000, l1_reg=False, silent=True
        )
    assert content["details"]["expected_value"][0] == pytest.approx(model(before).mean(), abs=1e-6)
    assert [one["exact"] for one in content["details"]["records"]] == [True] * 5
    assert found[:, :, 0] == pytest.approx(expected, abs=1e-6)


def coded(answering: ExplainingResponder, *tables: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """The model over numbers alone, which is all the library takes; and tables of columns as numbers."""
    words = {name: sorted({str(one) for table in tables for one in table[name][:, 0]}) for name in TEXTS}

    def numbers(name: str, values: Any) -> Any:
        return [words[name].index(value) for value in values[:, 0]] if name in TEXTS else values[:, 0]

    def model(table: np.ndarray) -> np.ndarray:
        mixed: dict[str, Any] = {}
        for place, name in enumerate(COLUMNS):
            column: Any = table[:, place].astype(np.float32)
            if name in TEXTS:
                column = np.array([words[name][int(code)] for code in column], dtype=object)
            mixed[name] = column.reshape(-1, 1)
        return np.asarray(answering.predictor.predict(mixed).scores, dtype=float)

    first, second = (
        np.column_stack([numbers(name, table[name]) for name in COLUMNS]).astype(float) for table in tables
    )
    return model, first, second


@pytest.mark.parametrize("baseline", ["typical", "rows"])
def test_trees_and_kernel_agree_on_a_forest(forest: Path, baseline: str) -> None:
    library()
    by_trees, content, header = explained(responder(forest, method="tree", baseline=baseline))
    assert header == "method=tree; chosen=5; explained=5"
    assert content["details"]["method"] == "tree"
    by_kernel, other, header = explained(responder(forest, method="kernel", baseline=baseline))
    assert header.startswith("method=kernel")
    assert by_trees == pytest.approx(by_kernel, abs=1e-5)
    assert content["details"]["expected_value"] == pytest.approx(other["details"]["expected_value"], abs=1e-6)


@pytest.mark.parametrize("baseline", ["typical", "rows"])
def test_trees_and_kernel_agree_on_log_odds_of_boosting(boosted: Path, baseline: str) -> None:
    library()
    settings = {"use_logit": True, "baseline": baseline}
    by_trees, _, header = explained(responder(boosted, method="tree", **settings))
    assert header.startswith("method=tree; chosen=5; explained=5")
    by_kernel, _, _ = explained(responder(boosted, method="kernel", **settings))
    assert by_trees == pytest.approx(by_kernel, abs=1e-3)


def test_trees_of_regression_and_of_many_classes(tmp_path: Path) -> None:
    library()
    regression = make_pipeline(columns(), RandomForestRegressor(10, max_depth=5, random_state=7))
    classes = make_pipeline(columns(), RandomForestClassifier(10, max_depth=5, random_state=7))
    for task, model in (("regression", regression), ("multiclass", classes)):
        folder = packed(tmp_path / task, model, task=task)
        by_trees, _, header = explained(responder(folder, method="auto"))
        assert header.startswith("method=tree")
        by_kernel, _, _ = explained(responder(folder, method="kernel"))
        assert by_trees == pytest.approx(by_kernel, abs=1e-4)


@pytest.mark.parametrize("kind", ["boosted", "linear", "one hot", "categories"])
def test_what_trees_cannot_explain_exactly(boosted: Path, tmp_path: Path, kind: str) -> None:
    if kind == "boosted":
        folder, reason = boosted, "set use_logit"
    elif kind == "categories":
        # The library splits categories as if they were numbers, and does not say so.
        trees = HistGradientBoostingClassifier(max_iter=20, categorical_features=[0, 1], random_state=7)
        folder, reason = packed(tmp_path, make_pipeline(columns(), trees)), "miss the model's scores"
    elif kind == "linear":
        rows = ColumnTransformer([("n", StandardScaler(), NUMBERS[:4])])
        folder, reason = packed(tmp_path, make_pipeline(rows, LogisticRegression())), "shap does not know"
    else:
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        model = make_pipeline(columns(encoder), RandomForestClassifier(5, max_depth=4, random_state=7))
        folder, reason = packed(tmp_path, model), "OneHotEncoder makes other columns"
    logit = kind == "categories"
    found, content, header = explained(responder(folder, method="tree", use_logit=logit))
    assert header.startswith("method=kernel")
    assert reason in header
    scores = [row["score"] for row in json.loads(content["predictions"]["data"])["predictions"]]
    base = content["details"]["expected_value"][0]
    total = found.sum(axis=(1, 2)) + base
    assert (1 / (1 + np.exp(-total)) if logit else total) == pytest.approx(scores, abs=1e-6)
    assert "reason" not in explained(responder(folder, method="auto"))[2]


# ---- over HTTP --------------------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path, timeout: str = "60", **settings: Any) -> Iterator[httpx.Client]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "--package", str(folder), "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, EXPLAIN: json.dumps(settings), "SAGEMAKER_MODEL_SERVER_TIMEOUT": timeout},
    )

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(listens)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


def test_a_server_explains(boosted: Path) -> None:
    body = frame().tail(30)[COLUMNS].to_csv(index=False).encode()
    header = {"content-type": "text/csv", "x-amzn-sagemaker-enable-explanations": "[1]>`0.5`"}
    with serving(boosted, method="kernel", enable="`false`") as client:
        plain = client.post("/invocations", content=body, headers={"content-type": "text/csv"}).json()
        assert plain["explanations"] == {}
        answers = [client.post("/invocations", content=body, headers=header) for _ in range(2)]
        assert answers[0].content == answers[1].content
        content = answers[0].json()
        assert content["predictions"] == plain["predictions"]
        scores = [float(line.split(",")[1]) for line in content["predictions"]["data"].splitlines()]
        shown = content["explanations"]["kernel_shap"]
        assert [one is not None for one in shown] == [score > 0.5 for score in scores]
        base = content["details"]["expected_value"][0]
        for one, score in zip(shown, scores, strict=True):
            if one is not None:
                total = sum(feature["attributions"][0]["attribution"][0] for feature in one)
                assert base + total == pytest.approx(score, abs=1e-6)
        refused = client.post("/invocations", content=body, headers=header | {list(header)[1]: "score >"})
        assert refused.status_code == 400


def test_a_server_keeps_the_time_limit(boosted: Path) -> None:
    body = frame(2000)[COLUMNS].to_json(orient="records").encode()
    with serving(boosted, timeout="4", method="kernel", baseline="rows", time_share=0.02) as client:
        answer = client.post("/invocations", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 200
        header = answer.headers["x-seaway-explanations"]
        said = dict(re.findall(r'(\w+)=("[^"]*"|[^;]*)', header))
        assert said["chosen"] == "2000"
        assert 0 < int(said["explained"]) < 2000
        assert "choose fewer rows" in said["reason"]
        content = answer.json()
        assert len(json.loads(content["predictions"]["data"])["predictions"]) == 2000
        shown = content["explanations"]["kernel_shap"]
        assert sum(one is not None for one in shown) == int(said["explained"])
        assert answer.elapsed.total_seconds() < 4
