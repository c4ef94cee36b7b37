"""A BentoML service for each variant, by the input types its documentation shows.

The methods are synchronous, which BentoML's documentation recommends for computing: it calls them in threads.
"""

from __future__ import annotations

import os
from typing import Any

import bentoml
import numpy as np
import pandas as pd

from benchmarks.serving.peers.apps import model

QUIET = {"access": {"enabled": False}}


@bentoml.service(workers=1, logging=QUIET)
class Trained:
    """Takes a data frame: scikit-learn wants one."""

    def __init__(self) -> None:
        self._model = model.trained()

    @bentoml.api
    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        return self._model.predict_proba(rows)


@bentoml.service(workers=1, logging=QUIET)
class Compiled:
    """Takes records: ONNX Runtime needs no data frame."""

    def __init__(self) -> None:
        self._predict = model.rows()

    @bentoml.api
    def predict(self, rows: list[dict[str, Any]]) -> np.ndarray:
        return self._predict(rows)


service = Compiled if os.environ[model.VARIANT] == "ONNX" else Trained
