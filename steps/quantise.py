"""Smaller weights for compiled models: half precision, or eight bits.

Only the constant matrices of MatMul and Gemm are touched: those of neural networks and linear projections.
Everything stays deterministic, and no row's answer depends on the rows beside it: scales of activations are
fixed here on real rows, not taken from each batch.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from serving.codecs import Columns
from serving.codecs.layout import Array
from serving.feeding import Feeding
from serving.manifest import Quantised
from steps.errors import Permanent
from steps.trees import ENSEMBLES

PRODUCTS = ("MatMul", "Gemm")
_HALF_LIMIT = 65504.0
"""The largest number of half precision."""


class NotQuantisable(Permanent):
    """The model has nothing to quantise; the message says why."""


def quantise(onnx: bytes, mode: Quantised, rows: Columns) -> bytes:
    """The model with smaller weights; equal input gives equal bytes.

    Args:
        onnx: result of `steps.compile.to_onnx`.
        mode: `float16` halves the weights in the file, which are widened again when the model is loaded;
            `int8` also multiplies in eight bits.
        rows: real rows that show the range of activations, as the model takes them.

    Raises:
        NotQuantisable: there are no weights of this kind, or they do not fit the mode.
    """
    from onnx import load_from_string

    model = load_from_string(onnx)
    weights = _weights(model.graph)
    if not weights:
        if any(node.op_type in ENSEMBLES for node in model.graph.node):
            raise NotQuantisable("tree ensembles are compared, not multiplied: there is nothing to quantise")
        raise NotQuantisable("the compiled model has no matrix product with constant weights")
    changed = _halved(model, weights) if mode == "float16" else _eight_bits(model, rows)
    return bytes(changed.SerializeToString(deterministic=True))


def _weights(graph: Any) -> set[str]:
    from onnx import TensorProto

    constant = {item.name for item in graph.initializer if item.data_type == TensorProto.FLOAT}
    taken = {name for node in graph.node if node.op_type in PRODUCTS for name in node.input}
    return constant & taken


def _halved(model: Any, weights: set[str]) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for item in model.graph.initializer:
        if item.name not in weights:
            continue
        values, name = numpy_helper.to_array(item), item.name
        if np.abs(values).max(initial=0.0) > _HALF_LIMIT:
            raise NotQuantisable(f"a weight is beyond the range of half precision, {_HALF_LIMIT:g}")
        item.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [item.name], [name], f"{name}_widened", to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    return model


def _eight_bits(model: Any, rows: Columns) -> Any:
    from onnx import load, shape_inference
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    inferred = shape_inference.infer_shapes(model)
    add_pre_process_metadata(inferred)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.onnx"
        quantize_static(
            inferred,
            target,
            _reader(Feeding([item.name for item in model.graph.input], tuple(rows), _numbers(rows))(rows)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(PRODUCTS),
            weight_type=QuantType.QInt8,
            reduce_range=True,  # seven bits: processors without VNNI saturate at eight
        )
        return load(target)


def _numbers(rows: Columns) -> list[str]:
    return [name for name, values in rows.items() if values.dtype.kind == "f"]


def _reader(feeds: dict[str, Array]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Once(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self._left = [feeds]

        def get_next(self) -> dict[str, Array] | None:
            return self._left.pop() if self._left else None

    return Once()
