"""Two runtimes of one model, with predictors that only say which of them was asked."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

from serving.codecs import Columns
from serving.manifest import Input, Manifest, ParityRecord
from serving.predictions import Predictions
from serving.predictor import BySize

MANIFEST = Manifest(
    "m",
    "regression",
    "onnx",
    None,
    (Input("a", "double"),),
    ParityRecord(1, 0.0, passed=True),
    trained_from=3,
)


class Answers:
    def __init__(self, score: float) -> None:
        self.manifest = MANIFEST
        self._score = score

    def predict(self, columns: Columns) -> Predictions:
        return Predictions(np.full(len(columns["a"]), self._score), None)


def score(predictor: BySize, rows: int) -> float:
    return float(predictor.predict({"a": np.zeros((rows, 1))}).scores[0])


def test_large_batches_go_to_the_trained_model_once_it_is_there() -> None:
    loads, may_load = [], threading.Event()

    def load() -> Answers:
        loads.append(1)
        assert may_load.wait(10)
        return Answers(2)

    both = BySize(Answers(1), 3, load)
    assert score(both, 2) == 1
    assert not loads
    assert score(both, 3) == 1
    assert score(both, 5) == 1
    may_load.set()
    assert both.settled.wait(10)
    assert (score(both, 3), score(both, 2), len(loads)) == (2, 1, 1)


def test_a_trained_model_that_cannot_be_loaded_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    def load() -> Answers:
        raise ImportError("no module named sklearn")

    both = BySize(Answers(1), 3, load)
    with caplog.at_level(logging.ERROR, "serving"):
        assert score(both, 3) == 1
        assert both.settled.wait(10)
    assert score(both, 3) == 1
    assert "compiled one answers large batches" in caplog.text
