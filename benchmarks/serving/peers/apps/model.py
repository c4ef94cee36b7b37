"""The flights model as the peers load it: the scikit-learn pipeline, or the compiled ONNX graph.

Runs in the environments of the peers, so it imports nothing of the project. The folder is in the environment
variable `SEAWAY_BENCHMARK_MODEL`; `SEAWAY_BENCHMARK_VARIANT` is `scikit-learn` or `ONNX`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER, VARIANT = "SEAWAY_BENCHMARK_MODEL", "SEAWAY_BENCHMARK_VARIANT"
TRAINED, COMPILED = "model.pkl", "model.onnx"

Predict = Callable[[Sequence[Mapping[str, Any]]], Any]


def rows() -> Predict:
    """From records to an array of probabilities, one column per class, by the variant that is asked for."""
    return _compiled_rows() if os.environ[VARIANT] == "ONNX" else _trained_rows()


def trained() -> Any:
    """The fitted pipeline."""
    import pickle

    return pickle.loads((Path(os.environ[FOLDER]) / TRAINED).read_bytes())  # noqa: S301 (our own file)


def compiled() -> Callable[[Mapping[str, Sequence[Any]]], Any]:
    """From columns, in the model's order, to probabilities, in ONNX Runtime with one thread.

    The graph takes all numbers in its first input, and each column of text in one of its own.
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    path = Path(os.environ[FOLDER]) / COMPILED
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    numbers, *texts = (item.name for item in session.get_inputs())
    outputs = [session.get_outputs()[-1].name]

    def predict(columns: Mapping[str, Sequence[Any]]) -> Any:
        feeds = {name: np.asarray(columns[name], dtype=object).reshape(-1, 1) for name in texts}
        numeric = [values for name, values in columns.items() if name not in feeds]
        feeds[numbers] = np.array(numeric, np.float32).reshape(len(numeric), -1).T
        return session.run(outputs, feeds)[0]

    return predict


def _trained_rows() -> Predict:
    import pandas as pd

    model = trained()
    return lambda records: model.predict_proba(pd.DataFrame(records))


def _compiled_rows() -> Predict:
    predict = compiled()
    return lambda records: predict({name: [row[name] for row in records] for name in records[0]})
