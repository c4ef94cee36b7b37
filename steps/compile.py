"""A fitted scikit-learn pipeline to ONNX, and the proof on real rows that both answer alike."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from serving.codec import Columns
from serving.errors import ServingError
from serving.manifest import Input, Kind, Label, Manifest, ParityRecord, Runtime, Task
from serving.predictor import OnnxPredictor, Predictor, arranged
from steps import trees
from steps.errors import Permanent

GRAPH = "model"
"""Name of every graph; skl2onnx would draw a new one each time."""
UNSEEN = "\N{REPLACEMENT CHARACTER}unseen"
"""A category that no training data holds."""
PROBES = 200
"""Rows repeated with an unseen category, or with a missing value, per column."""


class NotCompilable(Permanent):
    """The pipeline has no faithful translation to ONNX; the message says why."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How closely the compiled model follows the trained one."""

    rows: int
    """Real rows compared; probes with unseen categories and missing values come on top."""
    max_abs_difference: float | None
    """Largest difference of scores; None when they could not be compared."""
    rank_agreement: float | None
    """Spearman's correlation of the scores, or for multiclass the share of equal labels."""
    passed: bool
    reason: str | None = None
    """Why it did not pass."""
    speed: float | None = None
    """How many times faster than scikit-learn the compiled model answers one row."""

    @property
    def record(self) -> ParityRecord:
        """What the manifest keeps; the speed is left out because it differs from run to run."""
        return ParityRecord(self.rows, self.max_abs_difference, self.passed, self.reason)


@dataclass(frozen=True, slots=True)
class Compiled:
    """The outcome of `compile_model`."""

    onnx: bytes | None
    """None when the trained model must be served; `parity.reason` says why."""
    parity: Parity


def kinds(frame: pd.DataFrame) -> tuple[tuple[str, Kind], ...]:
    """Name and kind of each column: numbers and booleans are `double`, everything else `string`."""
    return tuple(
        (str(name), "double" if pd.api.types.is_numeric_dtype(frame[name]) else "string") for name in frame
    )


def columns_of(frame: pd.DataFrame, manifest: Manifest) -> Columns:
    """A data frame as the model server decodes requests; missing text is the empty string."""
    found: Columns = {}
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
        model=GRAPH,
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
    if hasattr(model, "feature_names_in_"):
        return frame
    return arranged(model, columns_of(frame, signature("skops", "regression", None, kinds(frame))))


def to_onnx(model: Any, inputs: Sequence[tuple[str, Kind]]) -> bytes:
    """The pipeline as an ONNX model: one input of shape (rows, 1) per column, probabilities as a tensor.

    Equal pipelines give equal bytes. Whether the answers are the pipeline's, `check_parity` finds out.

    Raises:
        NotCompilable: a step of the pipeline has no ONNX counterpart.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from skl2onnx.shape_calculators.scaler import calculate_sklearn_scaler_output_shapes
    from sklearn.preprocessing import StandardScaler

    types = {"double": FloatTensorType, "string": StringTensorType}
    initial = [(name, types[kind]([None, 1])) for name, kind in inputs]
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = convert_sklearn(
                model,
                name=GRAPH,
                initial_types=initial,
                options=options,
                custom_conversion_functions={StandardScaler: _scale},
                custom_shape_calculators={StandardScaler: calculate_sklearn_scaler_output_shapes},
            )
            trees.correct(converted.graph, _innermost(model))
            _sort_opsets(converted)
    except Exception as error:  # the converters raise whatever meets them
        text = " ".join(str(error).split())[:300]
        raise NotCompilable(f"no ONNX translation: {type(error).__name__}: {text}") from error
    return bytes(converted.SerializeToString(deterministic=True))


def check_parity(
    onnx: bytes,
    model: Any,
    frame: pd.DataFrame,
    task: Task,
    *,
    tolerance: float = 1e-4,
    optional: Collection[str] = (),
) -> Parity:
    """Compare the compiled model with scikit-learn on real rows.

    Args:
        onnx: result of `to_onnx` for the columns of `frame`, in their order.
        model: the fitted pipeline.
        frame: real rows, the model's input columns only.
        task: what is predicted.
        tolerance: largest difference of scores that passes; for regression times the largest absolute
            score, when that is above 1.
        optional: columns that may be missing; they are probed with missing values.
    """
    manifest = signature("onnx", task, labels_of(model, task), kinds(frame))
    try:
        compiled = OnnxPredictor(manifest, onnx)
        probes = _probes(model, frame, task, optional)
        rows = pd.concat([frame, *probes], ignore_index=True)
        expected = reference_scores(model, rows, task)
        found = compiled.predict(columns_of(rows, manifest)).scores
    except (ServingError, NotCompilable) as error:
        return Parity(len(frame), None, None, passed=False, reason=str(error))
    difference = float(np.abs(found - expected).max())
    scale = max(1.0, float(np.abs(expected).max())) if task == "regression" else 1.0
    passed = difference <= tolerance * scale
    reason = (
        None if passed else f"scores differ by {difference:.3g}, above the tolerance {tolerance * scale:.3g}"
    )
    agreement = _rank_agreement(found[: len(frame)], expected[: len(frame)])
    speed = _speed(compiled, manifest, model, frame) if passed else None
    return Parity(len(frame), difference, agreement, passed, reason, speed)


def compile_model(
    model: Any, frame: pd.DataFrame, task: Task, *, tolerance: float = 1e-4, optional: Collection[str] = ()
) -> Compiled:
    """`to_onnx` and `check_parity` in one; `onnx` is None when the trained model must be served."""
    try:
        onnx = to_onnx(model, kinds(frame))
    except NotCompilable as error:
        return Compiled(None, Parity(len(frame), None, None, passed=False, reason=str(error)))
    parity = check_parity(onnx, model, frame, task, tolerance=tolerance, optional=optional)
    return Compiled(onnx if parity.passed else None, parity)


def _scale(scope: Any, operator: Any, container: Any) -> None:
    """Standardise in double precision, as scikit-learn does.

    Whole numbers often lie exactly on the thresholds of trees behind a scaler; single precision would send
    them down the other branch.
    """
    from onnx import TensorProto
    from skl2onnx.operator_converters.common import concatenate_variables

    scaler, output = operator.raw_operator, operator.outputs[0].full_name
    source = operator.inputs[0].full_name
    if len(operator.inputs) > 1:
        source = concatenate_variables(scope, operator.inputs, container)

    def add(kind: str, inputs: list[str], target: str | None = None, **attributes: Any) -> str:
        result = target or scope.get_unique_variable_name("scaled")
        name = scope.get_unique_operator_name(kind)
        container.add_node(kind, inputs, result, name=name, **attributes)
        return str(result)

    def constant(values: npt.NDArray[np.float64]) -> str:
        name = scope.get_unique_variable_name("scaling")
        container.add_initializer(name, TensorProto.DOUBLE, [1, len(values)], values.tolist())
        return str(name)

    value = add("Cast", [source], to=TensorProto.DOUBLE)
    if scaler.with_mean:
        value = add("Sub", [value, constant(scaler.mean_)])
    if scaler.with_std:
        value = add("Div", [value, constant(scaler.scale_)])
    add("Cast", [value], output, to=TensorProto.FLOAT)


def _sort_opsets(converted: Any) -> None:
    """Put the operator sets in order; skl2onnx keeps them in a set, whose order changes from run to run."""
    ordered = sorted(converted.opset_import, key=lambda item: item.domain)
    del converted.opset_import[:]
    converted.opset_import.extend(ordered)


def _innermost(model: Any) -> Any:
    while True:
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif hasattr(model, "steps"):
            model = model.steps[-1][1]
        else:
            return model


def _probes(model: Any, frame: pd.DataFrame, task: Task, optional: Collection[str]) -> list[pd.DataFrame]:
    """Rows with an unseen category, or with a missing value, in one column each.

    Raises:
        NotCompilable: scikit-learn refuses unseen categories, which ONNX would answer.
    """
    few, probes = frame.head(PROBES), []
    for name, kind in kinds(frame):
        if kind == "string":
            probe = few.assign(**{name: UNSEEN})
            try:
                reference_scores(model, probe, task)
            except ValueError as error:
                problem = f"scikit-learn refuses unseen values of {name!r}; set handle_unknown on its encoder"
                raise NotCompilable(problem) from error
            probes.append(probe)
        if name in optional:
            probes.append(few.assign(**{name: "" if kind == "string" else np.nan}))
    return probes


def _rank_agreement(found: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> float | None:
    if found.ndim == 2:
        return float(np.mean(found.argmax(axis=1) == expected.argmax(axis=1)))
    if len(found) < 2 or np.ptp(found) == 0 or np.ptp(expected) == 0:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(found, expected).statistic)


def _speed(compiled: Predictor, manifest: Manifest, model: Any, frame: pd.DataFrame) -> float:
    row = frame.head(1)
    columns = columns_of(row, manifest)
    trained = _median_time(lambda: reference_scores(model, row, manifest.task), 9)
    return trained / _median_time(lambda: compiled.predict(columns), 99)


def _median_time(call: Callable[[], object], times: int) -> float:
    def once() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    return statistics.median(once() for _ in range(times))
