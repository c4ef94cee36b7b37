"""The built-in trainer: one scikit-learn estimator by its dotted name, to a package that `serve` serves.

Hyperparameters: `estimator` (such as `sklearn.ensemble.RandomForestClassifier`), and optionally `label` (name
of the column to predict; the first one without it), `header` (whether CSV files begin with names; true when
`label` is given) and `model_name`. All others are parameters of the estimator. Text columns become one-hot.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from serving import codecs, package
from serving.contract import Tree
from serving.manifest import Manifest, ParityRecord, Task
from serving.predictor import SkopsPredictor, load_skops
from serving.training import table
from serving.training.job import Job, JobInvalid
from serving.training.table import Table

OWNERS = ("sklearn.", "numpy.", "scipy.", "functools.partial")
"""Whose types a package may construct when it is loaded."""
TRAINING, VALIDATION = ("training", "train"), "validation"
SAMPLE_ROWS = 20
_NEEDED = ("granian", "numpy", "orjson", "scikit-learn", "scipy", "skops")
_OWN = frozenset({"estimator", "label", "header", "model_name"})

log = logging.getLogger("serving")


def train(job: Job, tree: Tree) -> Manifest:
    """Fit on channel `training`, write the package's files into `/opt/ml/model`, and log the scores.

    Raises:
        JobInvalid: a hyperparameter or the data cannot be used.
    """
    asked = job.hyperparameters
    estimator = make(str(asked.get("estimator") or ""), {k: v for k, v in asked.items() if k not in _OWN})
    channel = next((name for name in TRAINING if tree.channel(name).is_dir()), TRAINING[0])
    label = str(asked.get("label") or "")
    header = asked.get("header", bool(label))
    if not isinstance(header, bool):
        raise JobInvalid(f"hyperparameter header is {header!r}; set it to true or false")
    seen = table.read(tree.channel(channel), label, header=header)
    model = _pipeline(estimator, seen)
    model.fit(seen.matrix, seen.label)
    print(f"train:score={model.score(seen.matrix, seen.label):.6f}", flush=True)  # noqa: T201 - for metric patterns
    if tree.channel(VALIDATION).is_dir():
        held = table.read(tree.channel(VALIDATION), label, header=header)
        print(f"validation:score={model.score(held.matrix, held.label):.6f}", flush=True)  # noqa: T201 - as above
    return write(model, seen, str(asked.get("model_name") or job.name or "model"), tree.model)


def make(name: str, parameters: Mapping[str, Any]) -> Any:
    """The estimator with this dotted name and these parameters, not yet fitted.

    Raises:
        JobInvalid: scikit-learn has no such estimator, or it no such parameter.
    """
    module, _, kind = name.rpartition(".")
    if not name.startswith("sklearn.") or not kind:
        raise JobInvalid(
            f"hyperparameter estimator is {name!r}; name one of scikit-learn, such as "
            "sklearn.ensemble.RandomForestClassifier, or train by a script with sagemaker_program"
        )
    from sklearn.base import is_classifier, is_regressor

    try:
        estimator = getattr(importlib.import_module(module), kind)()
    except (ImportError, AttributeError, TypeError) as error:
        raise JobInvalid(f"scikit-learn cannot make {name} by its name alone: {error}") from error
    if not is_classifier(estimator) and not is_regressor(estimator):
        raise JobInvalid(f"{name} predicts nothing; name a classifier or a regressor")
    try:
        return estimator.set_params(**parameters)
    except ValueError as error:
        raise JobInvalid(f"{name} refuses a hyperparameter: {error}") from error


def _pipeline(estimator: Any, seen: Table) -> Any:
    texts = [place for place, item in enumerate(seen.inputs) if item.type == "string"]
    if not texts:
        return estimator
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("text", encoder, texts)], remainder="passthrough")
    return Pipeline([("columns", columns), ("model", estimator)])


def write(model: Any, seen: Table, name: str, folder: Path) -> Manifest:
    """Write `model.skops`, `seaway.json`, `sample.json` and `requirements.txt`.

    Raises:
        JobInvalid: the model cannot be kept without pickle, or gives no probabilities.
    """
    import skops.io

    content = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=content)
    if foreign := [kind for kind in types if not kind.startswith(OWNERS)]:
        raise JobInvalid(f"the model holds {', '.join(foreign)}, which only a script of your own can keep")
    task, classes = _task(model)
    needed = tuple(f"{one}=={metadata.version(one)}" for one in _NEEDED)
    manifest = Manifest(
        model=name,
        task=task,
        runtime="skops",
        classes=classes,
        inputs=seen.inputs,
        parity=ParityRecord(0, None, passed=False, reason="trained in a container, not compiled"),
        trusted_types=tuple(sorted(types)),
        dependencies=needed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / package.SKOPS).write_bytes(content)
    predictor = SkopsPredictor(manifest, load_skops(folder / package.SKOPS, manifest.trusted_types))
    (folder / package.SAMPLE).write_bytes(_sample(predictor, seen))
    (folder / package.REQUIREMENTS).write_text("\n".join(needed) + "\n")
    (folder / package.MANIFEST).write_bytes(manifest.to_json())  # last: with it the package is complete
    return manifest


def _task(model: Any) -> tuple[Task, tuple[Any, ...] | None]:
    from sklearn.base import is_classifier

    if not is_classifier(model):
        return "regression", None
    if not hasattr(model, "predict_proba"):
        raise JobInvalid("the classifier has no predict_proba; choose one that has, or set its probability")
    classes = tuple(model.classes_.tolist())
    if len(classes) < 2:
        raise JobInvalid(f"all labels are {classes[0]!r}; a classifier needs at least two")
    return ("binary" if len(classes) == 2 else "multiclass"), classes


def _sample(predictor: SkopsPredictor, seen: Table) -> bytes:
    """Rows spread evenly over the training data, as a caller would send them, and the recorded answer."""
    import orjson

    places = np.unique(np.linspace(0, seen.rows - 1, min(SAMPLE_ROWS, seen.rows)).round().astype(int))
    records = [{item.name: _plain(seen.columns[item.name][row, 0]) for item in seen.inputs} for row in places]
    request = {"instances": records}
    manifest = predictor.manifest
    columns = codecs.decode(orjson.dumps(request), codecs.JSON, manifest)
    answer = orjson.loads(codecs.encode(predictor.predict(columns), codecs.JSON, manifest))
    return orjson.dumps({"request": request, **answer}, option=orjson.OPT_INDENT_2) + b"\n"


def _plain(value: Any) -> str | float | None:
    if isinstance(value, str):
        return value
    return None if np.isnan(value) else float(value)
