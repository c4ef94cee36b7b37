from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from steps import table as tables
from steps import train
from steps.errors import CodeFailed, TrainingFailed

NUMERIC = {"numeric": ["x", "z"]}


def rows_of(count: int = 300, *, gaps: bool = True) -> pl.DataFrame:
    random = np.random.default_rng(5)
    x = random.normal(size=count)
    c = random.choice(["a", "b", ""], count)
    y = (x + (c == "a") + random.normal(size=count) > 0).astype(int)
    frame = pl.DataFrame({"x": x, "z": random.normal(size=count), "c": c, "y": y, "when": np.arange(count)})
    return frame.with_columns(z=pl.when(pl.col("when") % 7 > 0).then(pl.col("z"))) if gaps else frame


def processed(folder: Path, rows: pl.DataFrame) -> Path:
    rows.write_parquet(folder / "table.parquet")
    return folder


def test_a_model_is_fitted_saved_and_loaded(tmp_path: Path, project) -> None:
    setting = project(train__hyperparameters={"max_iter": 5, "early_stopping": True})
    facts = train.run(setting, tmp_path, processed(tmp_path, rows_of()), tmp_path)
    assert facts["classes"] == [0, 1]
    assert facts["rows"] == 240
    assert [one["required"] for one in facts["inputs"]] == [True, False, False]
    assert len(facts["curves"]["validation_score"]) == 6
    assert facts["estimator"].endswith("HistGradientBoostingClassifier")
    model = train.load(tmp_path, tmp_path)
    seen = tables.matrix(rows_of(), setting.data.features)
    seen[0, 2] = "never seen"
    assert model.predict_proba(seen).shape == (300, 2)


@pytest.mark.parametrize("name", ["xgboost.XGBClassifier", "lightgbm.LGBMClassifier"])
def test_boosting_libraries_by_dotted_name(tmp_path: Path, project, name: str) -> None:
    setting = project(
        train__estimator=name,
        train__hyperparameters={"n_estimators": 5, "min_child_samples": 9}
        if name.startswith("lightgbm")
        else {"n_estimators": 5},
    )
    facts = train.run(setting, tmp_path, processed(tmp_path, rows_of()), tmp_path)
    assert facts["estimator"].endswith(name.partition(".")[2])
    model = train.load(tmp_path, tmp_path)
    found = model[-1].get_params()
    assert (found["n_jobs"], found["random_state"]) == (1, setting.train.seed)
    assert model.predict_proba(tables.matrix(rows_of(), setting.data.features)).shape == (300, 2)


def test_xgboost_says_which_classes_it_takes(tmp_path: Path, project) -> None:
    setting = project(train__estimator="xgboost.XGBClassifier", train__hyperparameters={"n_estimators": 5})
    rows = rows_of().with_columns(y=pl.col("y").replace_strict({0: "no", 1: "yes"}))
    with pytest.raises(TrainingFailed, match="number them"):
        train.run(setting, tmp_path, processed(tmp_path, rows), tmp_path)


def test_the_same_seed_gives_the_same_model(project) -> None:
    setting = project(train__hyperparameters={"max_iter": 5, "early_stopping": True})
    seen = tables.matrix(rows_of(), setting.data.features)
    one, two = (train.fit(train.build(setting), rows_of(), setting, 2).predict_proba(seen) for _ in range(2))
    assert np.array_equal(one, two)


def test_codes_may_be_categories_and_the_compiled_model_agrees(project) -> None:
    from steps.compile import compile_model

    setting = project(train__hyperparameters={"max_iter": 5, "categorical_features": [2]})
    rows = rows_of()
    model = train.fit(train.build(setting), rows, setting, 1)
    assert model.steps[-1][1].is_categorical_.tolist() == [False, False, True]
    seen = rows.select("x", "z", "c").with_columns(pl.col("x").round(2), pl.col("z").round(2)).to_pandas()
    seen.loc[:9, "c"] = "never seen"
    compiled = compile_model(model, seen, "binary", optional=("z", "c"))
    assert compiled.onnx
    assert compiled.parity.max_abs_difference < 1e-5


def test_seeds_reach_nested_estimators_and_spare_chosen_ones() -> None:
    from sklearn.ensemble import BaggingClassifier
    from sklearn.tree import DecisionTreeClassifier

    model = train.seeded(BaggingClassifier(DecisionTreeClassifier(random_state=1)), 9)
    assert (model.random_state, model.estimator.random_state) == (9, 1)
    assert train.seeded(BaggingClassifier(DecisionTreeClassifier()), 9).estimator.random_state == 9


def test_a_function_may_bring_its_own_columns_by_name(tmp_path: Path, project) -> None:
    from steps.code import project_code

    (tmp_path / "own.py").write_text(
        "from sklearn.compose import ColumnTransformer\nfrom sklearn.impute import SimpleImputer\n"
        "from sklearn.linear_model import LogisticRegression\nfrom sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import OneHotEncoder\n"
        "def model(features, seed, C):\n"
        "    columns = ColumnTransformer([('n', SimpleImputer(), list(features.numeric)), ('c', OneHotEncoder(), ['c'])])\n"
        "    return make_pipeline(columns, LogisticRegression(C=C, random_state=seed))\n"
    )
    setting = project(train={"function": "own:model", "hyperparameters": {"C": 2.0}, "seed": 3})
    with project_code(tmp_path):
        model = train.fit(train.build(setting), rows_of(), setting, 1)
    assert model.steps[0][1].transformers[1][2] == [2]
    assert (model.steps[1][1].C, model.steps[1][1].random_state) == (2.0, 3)


def test_loss_curves_are_found(project) -> None:
    estimator = "sklearn.neural_network.MLPClassifier"
    hyper = {"hidden_layer_sizes": [4], "early_stopping": True, "max_iter": 3, "tol": 0.0}
    setting = project(train={"estimator": estimator, "hyperparameters": hyper}, data__features=NUMERIC)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = train.fit(train.build(setting), rows_of(gaps=False), setting, 1)
    assert set(train.curves(model)) == {"loss", "validation_score"}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"estimator": "sklearn.ensemble.HistGradientBoostingClasifier"},
            "train.estimator: .* did you mean HistGrad",
        ),
        ({"estimator": "lightgbn.Model"}, "there is no module 'lightgbn'"),
        ({"estimator": "sklearn.utils.resample"}, "is not a class"),
        ({"estimator": "sklearn.svm.LinearSVC"}, "gives no probabilities"),
        (
            {"estimator": "sklearn.tree.DecisionTreeClassifier", "task": "regression"},
            "is a classifier; set train.task",
        ),
        ({"estimator": "sklearn.preprocessing.OrdinalEncoder"}, "is no scikit-learn estimator"),
        (
            {"estimator": "sklearn.tree.DecisionTreeClassifier", "hyperparameters": {"max_dept": 3}},
            "train.hyperparameters.max_dept: DecisionTreeClassifier does not take it; did you mean max_depth",
        ),
        (
            {"estimator": "sklearn.tree.DecisionTreeClassifier", "hyperparameters": {"max_depth": -3}},
            "train.hyperparameters: The 'max_depth' parameter",
        ),
        ({"estimator": "sklearn.linear_model.LogisticRegression"}, "it takes no missing values"),
    ],
)
def test_failures_name_the_key(project, settings, says) -> None:
    setting = project(train=settings)
    with pytest.raises((TrainingFailed, CodeFailed), match=says):
        train.fit(train.build(setting), rows_of(), setting, 1)


@pytest.mark.parametrize(
    ("columns", "says"),
    [("['x', 'w']", "w is not among data.features"), ("lambda frame: [0]", "list the columns by name")],
)
def test_columns_a_function_cannot_have(tmp_path: Path, project, columns, says) -> None:
    from steps.code import project_code

    (tmp_path / "own.py").write_text(
        "from sklearn.compose import ColumnTransformer\nfrom sklearn.pipeline import make_pipeline\n"
        "from sklearn.tree import DecisionTreeClassifier\n"
        f"def model(features, seed):\n    return make_pipeline(ColumnTransformer([('n', 'passthrough', {columns})]), "
        "DecisionTreeClassifier())\n"
    )
    with project_code(tmp_path), pytest.raises(TrainingFailed, match=says):
        train.build(project(train={"function": "own:model"}))


def test_training_rows_of_one_class_are_refused(project) -> None:
    setting = project()
    with pytest.raises(TrainingFailed, match="every training row has the class 1"):
        train.fit(train.build(setting), rows_of().with_columns(y=pl.lit(1)), setting, 1)
