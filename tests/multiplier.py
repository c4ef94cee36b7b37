"""The smallest real model: it multiplies by a factor."""

from __future__ import annotations

import json
from pathlib import Path


def multiplier(folder: Path, factor: float, *, broken: bool = False) -> tuple[Path, str]:
    """A model that multiplies; a broken one has bytes that no runtime loads."""
    import onnx
    from onnx import TensorProto, helper

    from serving.package import Input, Manifest, ParityRecord, write

    folder.mkdir()
    node = helper.make_node("Mul", ["x", "factor"], ["variable"])
    shape = [None, 1]
    graph = helper.make_graph(
        [node],
        "multiply",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("variable", TensorProto.FLOAT, shape)],
        [helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(b"no model" if broken else onnx.ModelProto.SerializeToString(model))
    manifest = Manifest(
        model="multiply",
        task="regression",
        runtime="onnx",
        classes=None,
        inputs=(Input("x", "double", required=True),),
        parity=ParityRecord(rows=1, max_abs_difference=0.0, passed=True),
    )
    (folder / "seaway.json").write_bytes(manifest.to_json())
    sample = {"request": {"instances": [{"x": 1.0}]}, "predictions": [{"score": factor}]}
    (folder / "sample.json").write_text(json.dumps(sample))
    (folder / "requirements.txt").write_text("")
    archive = folder.with_suffix(".tar.gz")
    return archive, write(folder, archive)
