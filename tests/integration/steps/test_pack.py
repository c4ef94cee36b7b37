from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeRegressor

from serving import package
from serving.codecs import JSON, decode, encode
from serving.errors import BadBody, ModelRefused
from serving.predictor import BySize, load
from steps.canonical import canonical
from steps.compile import Compiling
from steps.pack import PackRefused, PackResult, pack
from steps.reference import columns_of
from tests.processes import printed

BUILD = """
import sys
from pathlib import Path
from sklearn.ensemble import RandomForestClassifier
import numpy as np, pandas as pd
from steps.pack import pack
draw = np.random.default_rng(0)
frame = pd.DataFrame({"a": draw.normal(size=300).round(2), "b": draw.normal(size=300).round(2)})
model = RandomForestClassifier(5, random_state=7).fit(frame, frame.a > 0)
made = pack(
    model, frame, name="m", task="binary", features=("a", "b"), trained_on=frame, folder=Path(sys.argv[1])
)
print(made.digest)
"""


def frame(n: int = 300) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    made = pd.DataFrame({"a": draw.normal(size=n).round(2), "b": draw.normal(size=n).round(2)})
    made.loc[::10, "b"] = np.nan
    return made


def made(folder: Path, model: Any, **more: Any) -> PackResult:
    rows = frame()
    given = {
        "name": "m",
        "task": "binary",
        "features": ("a", "b"),
        "trained_on": rows,
        "folder": folder,
    } | more
    return pack(model, rows, **given)


def fitted() -> Any:
    columns = ColumnTransformer([("numeric", "passthrough", ["a", "b"])])
    model = Pipeline(
        [("columns", columns), ("model", HistGradientBoostingClassifier(max_iter=5, random_state=7))]
    )
    return model.fit(frame(), frame().a > 0)


@pytest.mark.parametrize(("tolerance", "runtime"), [(1e-4, "onnx"), (1e-15, "skops")])
def test_the_package_repeats_its_recorded_answers(tmp_path: Path, tolerance: float, runtime: str) -> None:
    result = made(tmp_path, fitted(), tolerance=tolerance, sample_rows=7)
    folder = package.unpack(result.archive, tmp_path / "unpacked", result.digest)
    manifest = package.load_manifest(folder)
    assert manifest == result.manifest
    assert manifest.runtime == runtime
    assert [item.required for item in manifest.inputs] == [True, False]
    sample = json.loads((folder / package.SAMPLE).read_text())
    columns = decode(json.dumps(sample["request"]).encode(), JSON, manifest)
    answer = encode(load(folder).predict(columns), JSON, manifest)
    assert json.loads(answer)["predictions"] == sample["predictions"]
    assert len(sample["predictions"]) == 7


def test_separate_processes_build_the_same_bytes(tmp_path: Path) -> None:
    first, second = (printed(BUILD, tmp_path / seed, seed=seed) for seed in "12")
    assert first == second


def test_a_canonical_file_loads_to_an_equal_model() -> None:
    model = RandomForestClassifier(5, random_state=7).fit(frame(), frame().a > 0)
    first, second = (canonical(skops.io.dumps(model)) for _ in "ab")
    assert first == second == canonical(first)
    again = skops.io.loads(first, trusted=skops.io.get_untrusted_types(data=first))
    assert np.array_equal(again.predict_proba(frame()), model.predict_proba(frame()))


class Shifted(DecisionTreeRegressor):
    """An estimator of somebody else's package."""

    def predict(self, X: Any, check_input: bool = True) -> Any:
        return super().predict(X, check_input) + 1


def test_types_of_other_packages_must_be_listed(tmp_path: Path) -> None:
    model = Shifted(random_state=7).fit(frame()[["a"]], frame().a)
    given = {"task": "regression", "features": ("a",)}
    with pytest.raises(PackRefused, match="Shifted"):
        made(tmp_path, model, **given)
    kind = f"{Shifted.__module__}.Shifted"
    result = made(tmp_path, model, trusted_types=(kind,), **given)
    assert result.listed_types == (kind,)


def test_pickle_is_the_last_resort(tmp_path: Path) -> None:
    model = Shifted(random_state=7).fit(frame()[["a"]], frame().a)
    result = made(tmp_path, model, task="regression", features=("a",), allow_pickle=True)
    folder = package.unpack(result.archive, tmp_path / "unpacked", result.digest)
    assert result.manifest.runtime == "pickle"
    with pytest.raises(ModelRefused):
        load(folder, {})
    assert load(folder, {"SEAWAY_ALLOW_PICKLE": "1"}).manifest == result.manifest


def test_large_batches_by_the_trained_model(tmp_path: Path) -> None:
    result = made(tmp_path, fitted(), compiling=Compiling(trained_from=50))
    folder = package.unpack(result.archive, tmp_path / "unpacked", result.digest)
    predictor = load(folder)
    assert isinstance(predictor, BySize)
    assert predictor.manifest == result.manifest
    assert "scikit-learn==" in (folder / package.REQUIREMENTS).read_text()
    columns = columns_of(frame(), result.manifest)
    compiled = predictor.predict(columns).scores
    assert compiled.dtype == np.float32
    assert predictor.settled.wait(30)
    expected = fitted().predict_proba(frame())[:, 1]
    assert np.array_equal(predictor.predict(columns).scores, expected)
    assert np.allclose(compiled, expected, atol=1e-6)
    few = {name: values[:49] for name, values in columns.items()}
    assert predictor.predict(few).scores.dtype == np.float32
    with pytest.raises(BadBody, match="too large"):
        predictor.predict({name: np.full((1, 1), 1e300) for name in columns})


@pytest.mark.parametrize(
    ("compiling", "reason"),
    [(Compiling(runtime="sklearn"), "package.runtime"), (Compiling(trained_from=1), "every size")],
)
def test_the_trained_model_alone_when_the_project_says_so(
    tmp_path: Path, compiling: Compiling, reason: str
) -> None:
    result = made(tmp_path, fitted(), compiling=compiling)
    folder = package.unpack(result.archive, tmp_path / "unpacked", result.digest)
    assert not (folder / package.ONNX).exists()
    assert load(folder).manifest.runtime == "skops"
    assert reason in str(result.manifest.parity.reason)


def test_times_stay_out_of_the_package(tmp_path: Path) -> None:
    one, two = (made(tmp_path / name, fitted(), compiling=Compiling(runtime="onnx")) for name in "ab")
    assert one.digest == two.digest
    assert one.speed != two.speed
    assert all(speed.onnx and speed.sklearn for speed in one.speed)
    assert json.dumps(one.report)
