"""A fitted model as it was trained: what it answers, and how its rows look to a model server."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from serving.codecs import Columns
from serving.manifest import Input, Kind, Label, Manifest, ParityRecord, Runtime, Task
from serving.predictor import arranged, learned_names


def kinds(frame: pd.DataFrame) -> tuple[tuple[str, Kind], ...]:
    """Name and kind of each column: numbers and booleans are `double`, everything else `string`."""
    return tuple(
        (str(name), "double" if pd.api.types.is_numeric_dtype(frame[name]) else "string") for name in frame
    )


def columns_of(frame: pd.DataFrame, manifest: Manifest) -> Columns:
    """A data frame as the model server decodes requests; missing text is the empty string."""
    found: dict[str, npt.NDArray[Any]] = {}
    for item in manifest.inputs:
        values = frame[item.name]
        if item.type == "double":
            with np.errstate(over="ignore"):
                column = values.to_numpy(np.float64, na_value=np.nan).astype(manifest.number_type)
        else:
            column = values.astype(object).where(values.notna(), "").to_numpy(object)
        found[item.name] = column.reshape(-1, 1)
    return found


def signature(
    runtime: Runtime, task: Task, classes: Sequence[Label] | None, inputs: Sequence[tuple[str, Kind]]
) -> Manifest:
    """A manifest with just what a predictor needs."""
    return Manifest(
        model="model",
        task=task,
        runtime=runtime,
        classes=None if classes is None else tuple(classes),
        inputs=tuple(Input(name, kind) for name, kind in inputs),
        parity=ParityRecord(0, None, passed=False),
    )


def labels_of(model: Any, task: Task) -> tuple[Label, ...] | None:
    """The classes of a fitted model as plain Python values; None for regression."""
    return None if task == "regression" else tuple(np.asarray(model.classes_).tolist())


def reference_scores(model: Any, frame: pd.DataFrame, task: Task) -> npt.NDArray[np.float64]:
    """What scikit-learn answers, in the shape of `Predictions.scores`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = as_trained(model, frame)
        if task == "regression":
            return np.asarray(model.predict(rows), dtype=np.float64).reshape(-1)
        table = np.asarray(model.predict_proba(rows), dtype=np.float64)
    return table[:, 1] if task == "binary" else table


def as_trained(model: Any, frame: pd.DataFrame) -> Any:
    """The frame itself for a model that learned names, else its values by position."""
    if learned_names(model):
        return frame
    return arranged(model, columns_of(frame, signature("skops", "regression", None, kinds(frame))))
