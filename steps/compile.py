"""A fitted scikit-learn pipeline to ONNX, and the proof on real rows that both answer alike.

XGBoost and LightGBM may be the pipeline, or stand in it. Smaller weights are tried when asked for, under
limits of their own.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from configs.build import Package
from serving.manifest import Kind, QuantisationRecord, Quantised, Task
from steps import boosting, trees
from steps.errors import Permanent
from steps.fuse import fuse_numbers
from steps.parity import Limits, Parity, check_parity, spread
from steps.quantise import NotQuantisable, quantise
from steps.reference import columns_of, kinds, labels_of, signature

GRAPH = "model"
"""Name of every graph; skl2onnx would draw a new one each time."""
CALIBRATION = 10_000
"""Most rows, spread over all, that show quantisation the range of activations."""


class NotCompilable(Permanent):
    """The pipeline has no faithful translation to ONNX; the message says why."""


@dataclass(frozen=True, slots=True)
class Compiling:
    """What a project says about compiling: the entries of its section `package`."""

    runtime: Literal["auto", "onnx", "sklearn"] = "auto"
    """Who serves."""
    trained_from: int | None = None
    """Settles the batch size from which on the trained model answers; None: it is measured."""
    quantise: Literal["none", "float16", "int8"] = "none"
    """The weights wanted."""
    quantised: Limits = field(default=Limits(5e-3, 0.99))
    """What a model with such weights must keep."""

    @classmethod
    def of(cls, package: Package) -> Compiling:
        """From a project file."""
        difference = package.int8_tolerance if package.quantise == "int8" else package.float16_tolerance
        limits = Limits(difference, package.quantised_rank_agreement)
        return cls(package.runtime, package.trained_from, package.quantise, limits)


@dataclass(frozen=True, slots=True)
class Compiled:
    """The outcome of `compile_model`."""

    onnx: bytes | None
    """None when the trained model must be served; `parity.reason` says why."""
    parity: Parity
    """Of the model in `onnx`, quantised or not."""
    quantisation: QuantisationRecord | None = None
    """None when nobody asked for it."""


def to_onnx(model: Any, inputs: Sequence[tuple[str, Kind]]) -> bytes:
    """The pipeline as an ONNX model: one input for all numbers, one of shape (rows, 1) for each text column,
    probabilities as a tensor.

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
    libraries = boosting.used(model)
    try:
        boosting.register(libraries)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = convert_sklearn(
                _joined(model, inputs),
                name=GRAPH,
                initial_types=initial,
                options=options,
                target_opset=boosting.OPSET if libraries else None,
                custom_conversion_functions={StandardScaler: _scale},
                custom_shape_calculators={StandardScaler: calculate_sklearn_scaler_output_shapes},
            )
            if not libraries:
                trees.correct(converted.graph, _innermost(model))
            fuse_numbers(converted)
            _sort_opsets(converted)
    except Exception as error:  # the converters raise whatever meets them
        text = " ".join(str(error).split())[:300]
        raise NotCompilable(f"no ONNX translation: {type(error).__name__}: {text}") from error
    return bytes(converted.SerializeToString(deterministic=True))


def compile_model(
    model: Any,
    frame: pd.DataFrame,
    task: Task,
    *,
    tolerance: float = 1e-4,
    optional: Collection[str] = (),
    compiling: Compiling = Compiling(),
    seen: pd.DataFrame | None = None,
) -> Compiled:
    """`to_onnx`, `quantise` and `check_parity` in one; `onnx` is None when the trained model must be served.

    Whatever cannot be met falls back, with its reason: smaller weights to whole ones, those to the trained
    model. `seen` are training rows, which show quantisation what numbers come; without them `frame` does.
    """
    if compiling.runtime == "sklearn":
        return fallen_back(Parity(len(frame), None, None, False, "package.runtime is sklearn"), compiling)
    try:
        onnx = to_onnx(model, kinds(frame))
    except NotCompilable as error:
        return fallen_back(Parity(len(frame), None, None, False, str(error)), compiling)
    parity = check_parity(onnx, model, frame, task, limits=Limits(tolerance), optional=optional)
    if not parity.passed:
        return fallen_back(parity, compiling)
    if compiling.quantise == "none":
        return Compiled(onnx, parity)
    shown = frame if seen is None else seen
    rows = columns_of(
        shown.iloc[spread(len(shown), CALIBRATION)],
        signature("onnx", task, labels_of(model, task), kinds(frame)),
    )
    try:
        smaller = quantise(onnx, compiling.quantise, rows)
    except NotQuantisable as error:
        return Compiled(onnx, parity, _whole(compiling, str(error)))
    found = check_parity(smaller, model, frame, task, limits=compiling.quantised, optional=optional)
    if found.passed:
        return Compiled(smaller, found, replace(_whole(compiling, None), applied=True))
    return Compiled(onnx, parity, _whole(compiling, found.reason))


def fallen_back(parity: Parity, compiling: Compiling) -> Compiled:
    """The trained model serves, for the reason that `parity` gives."""
    if compiling.quantise == "none":
        return Compiled(None, parity)
    return Compiled(None, parity, _whole(compiling, "the trained model is served, and stays as it is"))


def _whole(compiling: Compiling, reason: str | None) -> QuantisationRecord:
    return QuantisationRecord(cast("Quantised", compiling.quantise), applied=False, reason=reason)


def _joined(model: Any, inputs: Sequence[tuple[str, Kind]]) -> Any:
    """The model behind a step that joins its columns, which few converters do by themselves."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    first = model
    while hasattr(first, "steps") or hasattr(first, "best_estimator_"):
        first = first.steps[0][1] if hasattr(first, "steps") else first.best_estimator_
    if isinstance(first, ColumnTransformer) or any(kind != "double" for _, kind in inputs):
        return model
    places = list(range(len(inputs)))
    columns = ColumnTransformer([("all", "passthrough", places)]).fit(np.zeros((1, len(places))))
    return Pipeline([("columns", columns), ("model", model)])


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
