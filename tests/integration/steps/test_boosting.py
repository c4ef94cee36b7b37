from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

from serving import package
from serving.manifest import Task
from serving.predictor import load
from steps.boosting import limit_threads, used
from steps.compile import compile_model
from steps.pack import PackResult, pack
from tests.processes import printed

COLUMNS = ("a", "b", "c", "d")
FEW = {"n_estimators": 12, "n_jobs": 1, "random_state": 7}
LIGHT = {**FEW, "verbosity": -1, "min_child_samples": 5}

BUILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_boosting import FEW, LIGHT, packed, pipeline
from lightgbm import LGBMClassifier
from xgboost import XGBClassifier
for n, estimator in enumerate((XGBClassifier(**FEW), LGBMClassifier(**LIGHT))):
    print(packed(Path(sys.argv[1]) / str(n), pipeline(estimator), "binary").digest)
"""


def rows(n: int = 400) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": draw.normal(size=n).round(2),
            "b": draw.integers(0, 50, n).astype(float),
            "c": draw.choice(["x", "y", "z", ""], n),
            "d": draw.choice(list("abcdefgh"), n),
        }
    )
    frame.loc[::9, "a"] = np.nan
    return frame


def target(task: Task, *, text: bool = False) -> Any:
    """Missing values carry the signal, so that sending them down the wrong branch shows."""
    frame = rows()
    score = frame.a.fillna(2) + (frame.c == "x") - frame.d.isin(["a", "d"]) + frame.b / 50
    if task == "regression":
        return score - score.min() + 1
    found = np.digitize(score, [0.2, 1.0] if task == "multiclass" else [0.8])
    return np.array(["low", "middle", "high"])[found] if text else found


def pipeline(estimator: Any, task: Task = "binary", *, text: bool = False) -> Pipeline:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("n", "passthrough", [0, 1]), ("c", encoder, [2, 3])])
    model = Pipeline([("columns", columns), ("model", estimator)])
    return model.fit(rows().astype(object).to_numpy(), target(task, text=text))


def packed(folder: Path, model: Any, task: Task, **more: Any) -> PackResult:
    given = {"name": "m", "task": task, "features": COLUMNS, "trained_on": rows(), "folder": folder}
    return pack(model, rows(), **(given | more))


CASES: list[tuple[str, Any, Task, bool]] = [
    ("xgboost", XGBClassifier(**FEW), "binary", False),
    ("xgboost, three classes", XGBClassifier(**FEW), "multiclass", False),
    ("xgboost, regression", XGBRegressor(**FEW), "regression", False),
    ("xgboost, poisson", XGBRegressor(**FEW, objective="count:poisson"), "regression", False),
    ("xgboost, forest", XGBRFClassifier(**FEW), "binary", False),
    ("lightgbm", LGBMClassifier(**LIGHT), "binary", True),
    ("lightgbm, three classes", LGBMClassifier(**LIGHT), "multiclass", True),
    ("lightgbm, regression", LGBMRegressor(**LIGHT), "regression", False),
    ("lightgbm, tweedie", LGBMRegressor(**LIGHT, objective="tweedie"), "regression", False),
]


@pytest.mark.parametrize(
    ("estimator", "task", "text"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_pipelines_with_text_and_missing_values_compile(estimator: Any, task: Task, text: bool) -> None:
    compiled = compile_model(pipeline(estimator, task, text=text), rows(), task, optional=("a", "c"))
    assert compiled.parity.reason is None
    assert compiled.onnx
    assert compiled.parity.rank_agreement == 1.0


def test_sets_of_categories_compile() -> None:
    estimator = LGBMClassifier(**LIGHT, min_data_per_group=5, cat_smooth=1)
    model = pipeline(clone(estimator))
    values = rows().astype(object).to_numpy()
    model.fit(values, target("binary"), model__categorical_feature=[2, 3])
    assert "||" in str(model[-1].booster_.dump_model())
    compiled = compile_model(model, rows(), "binary", optional=("a", "c"))
    assert compiled.parity.reason is None


@pytest.mark.parametrize("kind", [XGBClassifier, LGBMClassifier])
@pytest.mark.parametrize("named", [True, False])
def test_alone_on_names_and_on_positions(kind: Any, named: bool) -> None:
    frame = rows()[["a", "b"]]
    model = kind(**(LIGHT if kind is LGBMClassifier else FEW))
    model.fit(frame if named else frame.to_numpy(), target("binary"))
    compiled = compile_model(model, frame, "binary", optional=("a",))
    assert compiled.parity.reason is None
    if named and kind is XGBClassifier:
        assert model.get_booster().feature_names == ["a", "b"]


@pytest.mark.parametrize(
    "estimator", [XGBClassifier(**FEW), LGBMClassifier(**LIGHT)], ids=["xgboost", "lightgbm"]
)
@pytest.mark.parametrize(("tolerance", "runtime"), [(1e-4, "onnx"), (1e-15, "skops")])
def test_packages_load_by_either_runtime(
    tmp_path: Path, estimator: Any, tolerance: float, runtime: str
) -> None:
    made = packed(tmp_path, pipeline(estimator), "binary", tolerance=tolerance)
    folder = package.unpack(made.archive, tmp_path / "unpacked", made.digest)
    assert load(folder).manifest == made.manifest
    assert made.manifest.runtime == runtime
    assert (made.listed_types, made.unlisted_types) == ((), ())
    library = "xgboost-cpu" if isinstance(estimator, XGBClassifier) else "lightgbm"
    assert any(one.startswith(f"{library}==") for one in made.manifest.dependencies)
    needed = (folder / package.REQUIREMENTS).read_text()
    assert (library in needed) == (runtime == "skops")


@pytest.mark.parametrize(
    "estimator",
    [
        XGBClassifier(**FEW, booster="dart"),
        XGBClassifier(**FEW, missing=-1.0),
        LGBMClassifier(**LIGHT, boosting_type="rf", subsample=0.5, subsample_freq=1),
        LGBMClassifier(**LIGHT, zero_as_missing=True),
    ],
    ids=["dart", "own missing value", "random forest", "zero as missing"],
)
def test_what_has_no_faithful_translation_falls_back(tmp_path: Path, estimator: Any) -> None:
    made = packed(tmp_path, pipeline(estimator), "binary")
    assert made.manifest.runtime == "skops"
    assert made.manifest.parity.reason


def test_separate_processes_build_the_same_bytes(tmp_path: Path) -> None:
    first, second = (printed(BUILD, tmp_path / seed, Path(__file__).parent, seed=seed) for seed in "12")
    assert first == second


def test_threads_are_limited_where_nobody_chose_them() -> None:
    model = Pipeline([("a", XGBClassifier()), ("b", LGBMClassifier(n_jobs=2))])
    limited = limit_threads(model, 1).get_params()
    assert (limited["a__n_jobs"], limited["b__n_jobs"]) == (1, 2)
    assert limit_threads(LGBMRegressor(), 1).n_jobs == 1
    assert used(model) == ("xgboost", "lightgbm")
    assert used(OrdinalEncoder()) == ()
