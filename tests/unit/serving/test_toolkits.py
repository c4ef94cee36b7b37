"""Scripts as they stand in public examples, which import from SageMaker's toolkits."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.errors import NotAcceptable, RequestRefused, ServingError
from serving.handlers import toolkits
from serving.handlers.responder import ScriptResponder
from serving.handlers.script import ScriptRefused
from serving.responder import Request

CONTAINERS = """
from __future__ import print_function
from sagemaker_containers.beta.framework import (
    content_types, encoders, env, modules, transformer, worker)

class Model:
    def predict(self, rows):
        return rows.sum(axis=1)

def model_fn(model_dir):
    return Model()

def output_fn(prediction, accept):
    if accept == content_types.CSV:
        return worker.Response(encoders.encode(prediction, accept), mimetype=accept)
    if accept == content_types.JSON:
        return worker.Response(encoders.array_to_json(prediction), accept, mimetype=accept, status=201)
    raise RuntimeError("{} accept type is not supported by this script.".format(accept))
"""
INFERENCE = """
import sagemaker_inference
from sagemaker_inference import content_types, decoder, default_inference_handler, encoder, errors

class Mine(default_inference_handler.DefaultInferenceHandler):
    pass

def model_fn(model_dir):
    return 2

def input_fn(body, content_type):
    if content_type == content_types.OCTET_STREAM:
        raise errors.UnsupportedFormatError(content_type)
    if content_type == "text/x-refused":
        raise errors.BaseInferenceToolkitError(422, "no", "Unprocessable")
    return Mine().default_input_fn(body, content_type)

def predict_fn(data, model):
    return model * data

def output_fn(prediction, accept):
    return encoder.encode(prediction, accept)
"""


@pytest.fixture(autouse=True)
def same_interpreter_after() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("sagemaker_", "inference")):
            del sys.modules[name]


def responder(folder: Path, code: str) -> ScriptResponder:
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "inference.py").write_text(code)
    return ScriptResponder(folder, {})


def test_a_script_of_the_scikit_learn_examples(tmp_path: Path) -> None:
    served = responder(tmp_path, CONTAINERS)
    answer = served.respond(Request(b"1,2\n3,4", "text/csv", "text/csv"))
    assert (answer.status, answer.body, answer.content_type) == (200, b"3.0\n7.0\n", "text/csv")
    answer = served.respond(Request(b"[[1, 2]]", "application/json"))
    assert (answer.status, answer.body, answer.content_type) == (201, b"[3.0]", "application/json")


def test_a_script_over_the_inference_toolkit(tmp_path: Path) -> None:
    served = responder(tmp_path, INFERENCE)
    assert served.respond(Request(b"1,2", "text/csv")).body == b"[[2.0,4.0]]"
    npy = served.respond(Request(b"[1]", "", "application/x-npy")).body
    assert toolkits.decode(npy, "application/x-npy").tolist() == [[2.0]]
    for kind, status in (("application/octet-stream", 415), ("text/x-refused", 422)):
        with pytest.raises(ServingError) as caught:
            served.respond(Request(b"1", kind))
        assert caught.value.status == status
    with pytest.raises(NotAcceptable):
        served.respond(Request(b"1", "text/csv", "image/png"))


def test_formats_both_ways() -> None:
    toolkits.offer()
    encoders = importlib.import_module(f"{toolkits.BETA}.encoders")
    assert encoders.array_to_csv([[1, 2], [3, 4]]) == "1,2\n3,4\n"
    assert encoders.csv_to_numpy("1,2\n", np.float64).dtype == np.float64
    assert encoders.json_to_numpy("[[1]]").tolist() == [[1.0]]
    for kind in (None, np.float64):
        assert encoders.json_to_numpy("[[16777217, 0.1]]", kind).tolist() == [[16777217.0, 0.1]]
        assert encoders.csv_to_numpy("0.1,16777217", kind).tolist() == [[0.1, 16777217.0]]
    assert encoders.csv_to_numpy("1,a\n", str).tolist() == [["1", "a"]]
    assert encoders.json_to_numpy('["1", "a"]', str).tolist() == [["1", "a"]]
    assert encoders.csv_to_numpy("1,2", int).tolist() == [[1, 2]]
    assert encoders.csv_to_numpy("9007199254740993,2", int).tolist() == [[9007199254740993, 2]]
    with pytest.raises(RequestRefused, match="no whole number"):
        encoders.csv_to_numpy("1,", int)
    assert encoders.npy_to_numpy(encoders.array_to_npy(np.eye(2))).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(RequestRefused):
        encoders.decode("x", "text/csv")


def test_what_is_not_offered_says_so(tmp_path: Path) -> None:
    with pytest.raises(ScriptRefused, match="Worker"):
        responder(tmp_path, f"from {toolkits.BETA}.worker import Worker\n")
    with pytest.raises(ScriptRefused, match="install the toolkit"):
        responder(tmp_path, f"from {toolkits.BETA} import env\nenv.ServingEnv()\n")


def test_a_toolkit_beside_the_script_goes_first(tmp_path: Path) -> None:
    code = "from sagemaker_inference import NAME\ndef model_fn(d): return 0\ndef predict_fn(x, m): return [NAME]\n"
    responder(tmp_path / "one", INFERENCE)
    (tmp_path / "two" / "code").mkdir(parents=True)
    (tmp_path / "two" / "code" / "sagemaker_inference.py").write_text("NAME = 'own'")
    assert responder(tmp_path / "two", code).respond(Request(b"[1]")).body == b'["own"]'
