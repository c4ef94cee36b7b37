"""Fit the project's estimator on the training rows and leave `model.skops` and `training.json`."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.build import Features
from configs.project import Project
from steps import table as tables
from steps.boosting import limit_threads
from steps.code import call, project_code, resolve
from steps.errors import CodeFailed, TrainingFailed

if TYPE_CHECKING:
    import polars as pl

MODEL = "model.skops"
FACTS = "training.json"
_CURVES = {
    "train_score_": "train_score",
    "validation_score_": "validation_score",
    "loss_curve_": "loss",
    "validation_scores_": "validation_score",
    "oob_scores_": "out_of_bag_score",
    "scores_": "score",
}


def run(
    project: Project, project_folder: Path, processed: Path, out: Path, threads: int = 1
) -> dict[str, Any]:
    """Split the table of the process step's folder, fit on its training rows, and save the model.

    Args:
        project: the project.
        project_folder: where its functions are found.
        processed: folder with `table.parquet`.
        out: folder to write to.
        threads: most threads that numeric libraries may use. One is nearly as quick up to some 100,000 rows,
            and does not suffer on a busy machine, where scikit-learn's threads wait for each other.

    Returns:
        The content of `training.json`: `estimator`, `task`, `classes`, `inputs`, `rows`, `seed`,
        `hyperparameters`, `curves`, `untrusted_types`.

    Raises:
        steps.errors.TrainingFailed: no model came out; the message names the key of the project file.
        steps.errors.CodeFailed: a function of the project does not work.
    """
    import skops.io

    rows, _ = tables.split(tables.read(processed), project)
    with project_code(project_folder):
        model = fit(build(project), rows, project, threads)
        skops.io.dump(model, out / MODEL)
        facts = {
            "estimator": _name(model),
            "task": project.train.task,
            "classes": None if project.train.task == "regression" else model.classes_.tolist(),
            "inputs": tables.inputs(rows, project.data.features),
            "rows": rows.height,
            "seed": project.train.seed,
            "hyperparameters": project.train.hyperparameters,
            "curves": curves(model),
            "untrusted_types": sorted(skops.io.get_untrusted_types(file=out / MODEL)),
        }
    (out / FACTS).write_text(json.dumps(facts, indent=2) + "\n")
    return facts


def load(folder: Path, project_folder: Path) -> Any:
    """The fitted model of a training step's folder. Only for folders this installation wrote."""
    import skops.io

    file = folder / MODEL
    with project_code(project_folder):
        return skops.io.load(file, trusted=skops.io.get_untrusted_types(file=file))


def build(project: Project) -> Any:
    """The unfitted model: the estimator or the function's answer, with columns by position and seeds set.

    Raises:
        TrainingFailed: it is no estimator for the task, or does not take a hyperparameter.
    """
    train, features = project.train, project.data.features
    if train.function:
        made = call(train.function, "train.function", features, train.seed, **train.hyperparameters)
    else:
        made = _construct(str(train.estimator), train.hyperparameters)
    _check_estimator(made, train.task)
    model = made if _by_position(made, features) else wrap(made, features)
    return seeded(model, train.seed)


def wrap(estimator: Any, features: Features) -> Any:
    """The estimator behind columns it can read: numbers pass, text gets a number, unknown text -1.

    An estimator that knows categories takes the codes as such when its hyperparameters say so, for example
    `categorical_features: [2]`: positions count the numeric columns first.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    numeric = list(range(len(features.numeric)))
    categorical = list(range(len(numeric), len(numeric) + len(features.categorical)))
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    parts = [("numeric", "passthrough", numeric), ("categorical", encoder, categorical)]
    used = [part for part in parts if part[2]]
    return Pipeline([("columns", ColumnTransformer(used)), ("model", estimator)])


def seeded(model: Any, seed: int) -> Any:
    """The model with every `random_state` that is not set yet, however deep, set to the seed."""
    unset = [
        name
        for name, value in model.get_params(deep=True).items()
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    ]
    return model.set_params(**dict.fromkeys(unset, seed)) if unset else model


def fit(model: Any, rows: pl.DataFrame, project: Project, threads: int) -> Any:
    """Fit on the rows and return the model.

    Raises:
        TrainingFailed: with scikit-learn's reason.
    """
    from threadpoolctl import threadpool_limits

    limit_threads(model, threads)
    target = rows[project.data.target].to_numpy()
    if project.train.task != "regression" and rows[project.data.target].n_unique() < 2:
        raise TrainingFailed(
            f"data.target: every training row has the class {rows[project.data.target][0]!r}; "
            "give more data or a smaller hold-out"
        )
    try:
        with threadpool_limits(limits=threads):
            model.fit(tables.matrix(rows, project.data.features), target)
    except Exception as error:
        raise TrainingFailed(_why_not(error)) from error
    return model


def curves(model: Any) -> dict[str, list[float]]:
    """What the fitted estimator recorded after each iteration, by name; empty when it records nothing."""
    import numpy as np

    found: dict[str, list[float]] = {}
    for attribute, name in _CURVES.items():
        values = getattr(_innermost(model), attribute, None)
        if isinstance(values, list | np.ndarray) and np.ndim(values) == 1 and len(values):
            numbers = np.asarray(values, dtype=float)
            if np.isfinite(numbers).all():
                found[name] = numbers.tolist()
    return found


def _construct(dotted: str, hyperparameters: dict[str, Any]) -> Any:
    import inspect

    try:
        kind = resolve(dotted, "train.estimator")
    except CodeFailed as error:
        raise TrainingFailed(str(error)) from error
    if not isinstance(kind, type):
        raise TrainingFailed(f"train.estimator: {dotted} is not a class; name an estimator class")
    known = inspect.signature(kind).parameters
    open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
    for name in hyperparameters:
        if name not in known and not open_ended:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
            raise TrainingFailed(f"train.hyperparameters.{name}: {kind.__name__} does not take it; {hint}")
    try:
        return kind(**hyperparameters)
    except Exception as error:
        raise TrainingFailed(f"train.hyperparameters: {kind.__name__} refuses them: {error}") from error


def _check_estimator(made: Any, task: str) -> None:
    key = "train.function or train.estimator"
    if not all(hasattr(made, method) for method in ("fit", "predict", "get_params")):
        raise TrainingFailed(f"{key}: {type(made).__name__} is no scikit-learn estimator; give one")
    if task != "regression" and not hasattr(made, "predict_proba"):
        raise TrainingFailed(
            f"{key}: {type(made).__name__} gives no probabilities (predict_proba) for a {task} task; "
            "choose a classifier that does, or wrap it in CalibratedClassifierCV"
        )
    if task == "regression" and hasattr(made, "predict_proba"):
        raise TrainingFailed(
            f"{key}: {type(made).__name__} is a classifier; set train.task, or give a regressor"
        )


def _by_position(estimator: Any, features: Features) -> bool:
    """Turn the column names in its ColumnTransformers into positions; False when it has none of these."""
    from sklearn.compose import ColumnTransformer

    parts = [estimator, *estimator.get_params(deep=True).values()]
    transformers = {id(part): part for part in parts if isinstance(part, ColumnTransformer)}
    for one in transformers.values():
        one.transformers = [
            (name, part, _positions(wanted, features)) for name, part, wanted in one.transformers
        ]
    return bool(transformers)


def _positions(wanted: Any, features: Features) -> Any:
    names = tables.columns(features)
    if callable(wanted):
        raise TrainingFailed("train.function: a column selector sees no names here; list the columns by name")
    try:
        if isinstance(wanted, str):
            return names.index(wanted)
        if isinstance(wanted, list | tuple):
            return [names.index(one) if isinstance(one, str) else one for one in wanted]
    except ValueError:
        lacking = [one for one in ([wanted] if isinstance(wanted, str) else wanted) if one not in names]
        raise TrainingFailed(
            f"train.function: {', '.join(map(str, lacking))} is not among data.features; add it there"
        ) from None
    return wanted


def _why_not(error: Exception) -> str:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "Invalid classes inferred" in text:
        return "data.target: XGBoost takes the classes 0, 1, 2, ...; number them in process.function"
    if "parameter of" in text:
        return f"train.hyperparameters: {text}"
    if "NaN" in text:
        return (
            "train.estimator: it takes no missing values; use HistGradientBoosting, impute in "
            "train.function, or fill them in process.function"
        )
    if "could not convert string to float" in text:
        return f"train.function: {text}; encode the categorical columns in its ColumnTransformer"
    return f"train: the fit failed with {type(error).__name__}: {text}; correct the estimator or the data"


def _innermost(model: Any) -> Any:
    """The estimator that learnt, inside pipelines and searches."""
    while True:
        if hasattr(model, "steps"):
            model = model.steps[-1][1]
        elif hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        else:
            return model


def _name(model: Any) -> str:
    kind = type(_innermost(model))
    return f"{kind.__module__}.{kind.__qualname__}"
