from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from serving.manifest import Task
from steps.compile import compile_model, to_onnx
from steps.reference import kinds

NUMERIC, TEXT = ["a", "b"], ["c", "d"]


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


def target(frame: pd.DataFrame, task: Task) -> Any:
    score = frame.a.fillna(0) + (frame.c == "x") - frame.d.isin(["a", "d"]) + frame.b / 50
    if task == "multiclass":
        return np.digitize(score, [0.2, 1.0]).astype(str)
    return (score > score.median()).astype(int) if task == "binary" else score * 100


def ordinal(estimator: Any, columns: Any = (NUMERIC, TEXT)) -> Pipeline:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return Pipeline(
        [
            ("columns", ColumnTransformer([("n", "passthrough", columns[0]), ("c", encoder, columns[1])])),
            ("m", estimator),
        ]
    )


def one_hot(estimator: Any) -> Pipeline:
    numbers = make_pipeline(SimpleImputer(strategy="constant", fill_value=0.0), StandardScaler())
    encoder = OneHotEncoder(handle_unknown="ignore")
    return Pipeline(
        [("columns", ColumnTransformer([("n", numbers, NUMERIC), ("c", encoder, TEXT)])), ("m", estimator)]
    )


HGB = {"random_state": 7, "max_iter": 10}
CASES: list[tuple[str, Any, Task]] = [
    ("categories", ordinal(HistGradientBoostingClassifier(categorical_features=[2, 3], **HGB)), "binary"),
    (
        "categories, three classes",
        ordinal(HistGradientBoostingClassifier(categorical_features=[2, 3], **HGB)),
        "multiclass",
    ),
    (
        "categories, regression",
        ordinal(HistGradientBoostingRegressor(categorical_features=[2, 3], **HGB)),
        "regression",
    ),
    ("ordinal", ordinal(HistGradientBoostingClassifier(**HGB)), "binary"),
    ("logistic", one_hot(LogisticRegression()), "binary"),
    ("logistic, three classes", one_hot(LogisticRegression()), "multiclass"),
    ("forest", one_hot(RandomForestClassifier(8, random_state=7)), "binary"),
    ("forest with missing values", ordinal(RandomForestClassifier(8, random_state=7)), "binary"),
    ("gradient boosting", one_hot(GradientBoostingClassifier(n_estimators=10, random_state=7)), "binary"),
    ("linear", one_hot(LinearRegression()), "regression"),
]


@pytest.mark.parametrize(("model", "task"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_compiled_models_answer_as_trained_ones(model: Any, task: Task) -> None:
    frame = rows()
    compiled = compile_model(model.fit(frame, target(frame, task)), frame, task, optional=("a", "c"))
    assert compiled.parity.reason is None
    assert compiled.onnx
    assert compiled.parity.rank_agreement in {None, 1.0}


def test_models_that_learned_positions() -> None:
    frame = rows()
    model = ordinal(HistGradientBoostingClassifier(categorical_features=[2, 3], **HGB), ([0, 1], [2, 3]))
    model.fit(frame.astype(object).to_numpy(), target(frame, "binary"))
    assert compile_model(model, frame, "binary", optional=("a", "c")).parity.passed


def test_equal_pipelines_give_equal_bytes() -> None:
    frame = rows()
    first, second = (
        to_onnx(one_hot(LogisticRegression()).fit(frame, target(frame, "binary")), kinds(frame)) for _ in "ab"
    )
    assert first == second


def test_all_numbers_are_one_input() -> None:
    frame = rows().rename(columns={"b": "numbers"})
    joined = ColumnTransformer([("n", "passthrough", ["a", "numbers"]), ("c", OrdinalEncoder(), TEXT)])
    apart = ColumnTransformer([("b", StandardScaler(), ["numbers"]), ("a", SimpleImputer(), ["a"])])
    for columns, splits in ((joined, 0), (apart, 1)):
        model = make_pipeline(columns, HistGradientBoostingRegressor(**HGB)).fit(frame, rows().b)
        graph = onnx.load_from_string(to_onnx(model, kinds(frame))).graph
        assert [item.name for item in graph.input] == ["numbers_", "c", "d"]
        assert [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] == [0, 2]
        assert sum(node.op_type == "Split" for node in graph.node) == splits


def test_a_difference_falls_back_with_its_reason() -> None:
    frame = rows()
    model = ordinal(HistGradientBoostingRegressor(loss="poisson", **HGB)).fit(frame, np.exp(frame.b / 20))
    compiled = compile_model(model, frame, "regression")
    assert compiled.onnx is None
    assert "above the tolerance" in str(compiled.parity.reason)


def test_an_encoder_that_refuses_unseen_values_is_not_compiled() -> None:
    frame = rows()
    model = Pipeline(
        [("columns", ColumnTransformer([("c", OneHotEncoder(), TEXT)])), ("m", LogisticRegression())]
    )
    compiled = compile_model(model.fit(frame[TEXT], target(frame, "binary")), frame[TEXT], "binary")
    assert compiled.onnx is None
    assert "handle_unknown" in str(compiled.parity.reason)
