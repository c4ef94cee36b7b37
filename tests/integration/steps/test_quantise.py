from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from configs.build import Package
from serving import package
from serving.manifest import QuantisationRecord
from serving.predictor import OnnxPredictor, load
from steps.compile import Compiled, Compiling, compile_model, to_onnx
from steps.pack import pack
from steps.parity import Limits
from steps.quantise import quantise
from steps.reference import columns_of, kinds, labels_of, signature


def frame(n: int = 600) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame({name: draw.normal(size=n).round(3) for name in "abcdef"})


@cache
def network(kind: Any = MLPClassifier) -> Any:
    rows = frame()
    score = rows.a + rows.b * rows.c - rows.d
    model = make_pipeline(
        StandardScaler(),
        kind(hidden_layer_sizes=(128, 64), max_iter=500, alpha=1.0, tol=1e-2, random_state=7),
    )
    return model.fit(rows, score > 0 if kind is MLPClassifier else score)


def compiled(model: Any, mode: Any, limits: Limits, task: Any = "binary") -> Compiled:
    return compile_model(model, frame(), task, compiling=Compiling(quantise=mode, quantised=limits))


@pytest.mark.parametrize(("mode", "smaller", "difference"), [("float16", 0.65, 5e-3), ("int8", 0.5, 5e-2)])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_networks_shrink_within_their_limits(mode: Any, smaller: float, difference: float, task: Any) -> None:
    model = network(MLPClassifier if task == "binary" else MLPRegressor)
    whole = to_onnx(model, kinds(frame()))
    found = compiled(model, mode, Limits(difference, 0.98), task)
    assert found.quantisation == QuantisationRecord(mode, applied=True)
    assert len(found.onnx or b"") < smaller * len(whole)
    assert 0 < (found.parity.max_abs_difference or 0)
    assert found == compiled(model, mode, Limits(difference, 0.98), task)


def test_a_rows_answer_does_not_depend_on_the_rows_beside_it() -> None:
    model = network()
    manifest = signature("onnx", "binary", labels_of(model, "binary"), kinds(frame()))
    rows = columns_of(frame(), manifest)
    predictor = OnnxPredictor(manifest, quantise(to_onnx(model, kinds(frame())), "int8", rows))
    together = predictor.predict(rows).scores
    for row in (0, 17, 599):
        alone = {name: values[row : row + 1] for name, values in rows.items()}
        assert predictor.predict(alone).scores[0] == together[row]


@pytest.mark.parametrize("limits", [Limits(1e-9), Limits(1.0, 1.0)], ids=["difference", "order"])
def test_beyond_the_limits_the_weights_stay_whole(limits: Limits) -> None:
    found = compiled(network(), "int8", limits)
    assert found.quantisation
    assert not found.quantisation.applied
    assert found.quantisation.reason
    assert found.parity.passed
    assert found.onnx == to_onnx(network(), kinds(frame()))


@pytest.mark.parametrize(
    ("model", "words"),
    [(RandomForestClassifier(5), "tree ensembles"), (LogisticRegression(), "no matrix product")],
)
def test_what_has_no_matrices_says_so(model: Any, words: str) -> None:
    found = compiled(model.fit(frame(), frame().a > 0), "int8", Limits())
    assert found.onnx
    assert found.quantisation
    assert words in str(found.quantisation.reason)


def test_the_package_records_what_was_done(tmp_path: Path) -> None:
    settings = Package(quantise="float16", runtime="onnx")
    made = pack(
        network(),
        frame(),
        name="m",
        task="binary",
        features=tuple("abcdef"),
        trained_on=frame(),
        folder=tmp_path,
        compiling=Compiling.of(settings),
    )
    folder = package.unpack(made.archive, tmp_path / "unpacked", made.digest)
    assert load(folder).manifest.quantisation == QuantisationRecord("float16", applied=True)
    assert made.report["quantisation"] == {"mode": "float16", "applied": True, "reason": None}
    assert [one["rows"] for one in made.report["speed"]] == [1, 10, 100, 1000]
