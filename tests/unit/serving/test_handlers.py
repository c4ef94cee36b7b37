from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from serving.errors import BadBody, ModelFailed, NotAcceptable, RequestRefused, ServingError
from serving.handlers import arrays, byo
from serving.handlers import responder as handlers
from serving.handlers.responder import ScriptResponder
from serving.handlers.script import ScriptRefused
from serving.responder import Request

MODEL = """
class Model:
    def predict(self, rows):
        return rows.sum(axis=1)

def model_fn(model_dir):
    return Model()
"""


@pytest.fixture(autouse=True)
def same_interpreter_after() -> Iterator[None]:
    path, modules, environ = list(sys.path), set(sys.modules), os.environ.get("SM_MODEL_DIR")
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in ("inference", "shared", "predictor"):
            del sys.modules[name]
    if environ is None:
        os.environ.pop("SM_MODEL_DIR", None)


def responder(folder: Path, code: str, environ: Mapping[str, str] | None = None) -> ScriptResponder:
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "inference.py").write_text(code)
    return ScriptResponder(folder, environ or {})


def test_model_fn_alone(tmp_path: Path) -> None:
    served = responder(tmp_path, MODEL)
    answer = served.respond(Request(b"1,2\n3,4", "text/csv", "*/*"))
    assert (answer.status, answer.body, answer.content_type) == (200, b"[3.0,7.0]", arrays.JSON)
    assert served.respond(Request(b"[1, 2]", "", "text/csv")).body == b"3.0\n"
    with pytest.raises(NotAcceptable):
        served.respond(Request(b"[1, 2]", "", "image/png"))
    with pytest.raises(BadBody):
        served.respond(Request(b"a,b", "text/csv"))
    assert served.execution_parameters["BatchStrategy"] == "MULTI_RECORD"


def test_default_accept_is_the_environment_s(tmp_path: Path) -> None:
    served = responder(tmp_path, MODEL, {"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv"})
    assert served.respond(Request(b"[1, 2]")).content_type == "text/csv"


def test_the_three_functions(tmp_path: Path) -> None:
    code = """
import json
def model_fn(model_dir): return {"dir": model_dir}
def input_fn(body, content_type): return [type(body).__name__, content_type]
def predict_fn(data, model): return {"data": data, "dir": model["dir"]}
def output_fn(prediction, accept): return json.dumps(prediction), "application/x-mine"
"""
    served = responder(tmp_path, code)
    answer = served.respond(Request(b"1", "text/csv", "text/csv"))
    assert json.loads(answer.body) == {"data": ["str", "text/csv"], "dir": str(tmp_path)}
    assert answer.content_type == "application/x-mine"
    binary = served.respond(Request(b"\xff", "application/octet-stream"))
    assert json.loads(binary.body)["data"] == ["bytes", "application/octet-stream"]
    with pytest.raises(RequestRefused, match="UTF-8"):
        served.respond(Request(b"\xff", "text/csv"))


def test_transform_fn_and_context(tmp_path: Path) -> None:
    code = """
def model_fn(model_dir, context): return context.system_properties["model_dir"]
def transform_fn(model, body, content_type, accept, context):
    context.set_response_content_type(0, "text/plain")
    context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", "a=1")
    context.set_response_status(code=202)
    return model + context.get_request_header(0, "X-Trace") + body
"""
    answer = responder(tmp_path, code).respond(Request(b'"!"', "", "", {"x-trace": "7"}))
    assert answer.body == f'{tmp_path}7"!"'.encode()
    assert (answer.status, answer.content_type) == (202, "text/plain")
    assert answer.headers == (("x-amzn-sagemaker-custom-attributes", "a=1"),)


def test_a_further_parameter_with_a_default_is_no_context(tmp_path: Path) -> None:
    code = MODEL + "def predict_fn(data, model, threshold=0.5): return [threshold]\n"
    assert responder(tmp_path, code).respond(Request(b"[1]")).body == b"[0.5]"
    code = MODEL + "def predict_fn(data, model, context=None): return [context is not None]\n"
    assert responder(tmp_path, code).respond(Request(b"[1]")).body == b"[true]"


def test_hooks_around_loading(tmp_path: Path) -> None:
    code = """
seen = []
def pre_model_fn(model_dir): seen.append("pre")
def model_fn(model_dir): seen.append("model"); return seen
def model_warmup_fn(model_dir, model): model.append("warm")
def predict_fn(data, model): return model
def execution_parameters_fn(): return {"MaxConcurrentTransforms": 3}
"""
    served = responder(tmp_path, code)
    assert served.respond(Request(b"[1]")).body == b'["pre","model","warm"]'
    assert served.execution_parameters == {"MaxConcurrentTransforms": 3}


def test_old_response_objects(tmp_path: Path) -> None:
    code = """
class Response:
    def __init__(self, response, mimetype): self.response, self.mimetype = response, mimetype
def model_fn(model_dir): return 0
def transform_fn(model, body, content_type, accept): return Response([b"a", "b"], "text/x")
"""
    answer = responder(tmp_path, code).respond(Request(b"1"))
    assert (answer.body, answer.content_type) == (b"ab", "text/x")
    flask = """
from flask import Response
def model_fn(model_dir): return 0
def transform_fn(model, body, content_type, accept): return Response("no", status=422, mimetype="text/plain")
"""
    answer = responder(tmp_path, flask).respond(Request(b"1"))
    assert (answer.status, answer.body) == (422, b"no")
    assert answer.content_type.startswith("text/plain")


def test_streams(tmp_path: Path) -> None:
    code = """
def model_fn(model_dir): return ["a", b"b", "c"]
def transform_fn(model, body, content_type, accept):
    if body == "0":
        raise ValueError("too early")
    yield from model
"""
    served = responder(tmp_path, code)
    answer = served.respond(Request(b"1", "application/json", "text/plain"))
    assert answer.stream is not None
    assert (list(answer.stream), answer.content_type) == ([b"a", b"b", b"c"], "text/plain")
    with pytest.raises(ModelFailed, match="too early"):
        served.respond(Request(b"0"))


@pytest.mark.parametrize(
    ("code", "match"),
    [
        (
            "def model_fn(d): ...\ndef transform_fn(*a): ...\ndef predict_fn(a, b): ...",
            "transform_fn and predict_fn",
        ),
        ("x = 1", "must define model_fn"),
        ("model_fn = 3", "no function"),
        ("import nothing_like_this", "ModuleNotFoundError"),
        ("def", "SyntaxError"),
        ("def model_fn(d): ...\ndef execution_parameters_fn(): return 3", "dictionary"),
    ],
)
def test_unusable_scripts_are_refused_at_the_start(tmp_path: Path, code: str, match: str) -> None:
    with pytest.raises(ScriptRefused, match=match):
        responder(tmp_path, code)


def test_what_user_code_raises(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match="model_fn raised FileNotFoundError"):
        responder(tmp_path, "def model_fn(d): raise FileNotFoundError('weights')")
    code = (
        MODEL
        + """
class UnsupportedFormatError(Exception): ...
class Refused(Exception):
    status_code = 422
def input_fn(body, content_type):
    raise {"a": UnsupportedFormatError, "b": Refused, "c": ValueError}[body]("sorry")
"""
    )
    served = responder(tmp_path, code)
    for body, status in ((b"a", 415), (b"b", 422), (b"c", 500)):
        with pytest.raises(ServingError, match="sorry") as caught:
            served.respond(Request(body, "text/csv"))
        assert caught.value.status == status


def test_models_of_one_process_keep_their_own_modules(tmp_path: Path) -> None:
    code = "import shared\ndef model_fn(d): return shared.NAME\ndef predict_fn(x, model): return [model, shared.NAME]\n"
    both = []
    for name in ("one", "two"):
        (tmp_path / name / "code").mkdir(parents=True)
        (tmp_path / name / "code" / "shared.py").write_text(f"NAME = {name!r}")
        both.append(responder(tmp_path / name, code))
    assert [one.respond(Request(b"[1]")).body for one in both] == [b'["one","one"]', b'["two","two"]']


def test_submit_directory_goes_first(tmp_path: Path) -> None:
    responder(tmp_path, MODEL)
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text("def model_fn(d): return 0\ndef predict_fn(x, m): return ['other']")
    environ = {"SAGEMAKER_SUBMIT_DIRECTORY": str(other), "SAGEMAKER_PROGRAM": "mine.py"}
    assert ScriptResponder(tmp_path, environ).respond(Request(b"[1]")).body == b'["other"]'


def test_a_model_s_arrays_go_out_as_npy(tmp_path: Path) -> None:
    answer = responder(tmp_path, MODEL).respond(Request(b"[[1, 2]]", "", arrays.NPY))
    np.testing.assert_array_equal(arrays.decode(answer.body, arrays.NPY), [[3.0]])


def test_load_knows_a_web_application(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "predictor.py").write_text(
        """
import flask
app = flask.Flask(__name__)
@app.route("/ping")
def ping(): return "\\n", 200
@app.route("/invocations", methods=["POST"])
def invocations():
    if flask.request.content_type != "text/csv":
        return "This predictor only supports CSV data", 415
    return flask.Response(flask.request.data.decode() + flask.request.headers["X-Trace"], mimetype="text/csv")
@app.route("/stream")
def unused(): ...
"""
    )
    served = handlers.load(tmp_path, {"SAGEMAKER_PROGRAM": "predictor.py"})
    answer = served.respond(Request(b"1,2;", "text/csv", "", {"x-trace": "7"}))
    assert (answer.status, answer.body, answer.stream) == (200, b"1,2;7", None)
    assert answer.content_type == "text/csv; charset=utf-8"
    assert served.respond(Request(b"{}", "application/json")).status == 415
    assert served.execution_parameters["MaxPayloadInMB"] == 6


def test_exits_of_user_code_are_its_failures(tmp_path: Path) -> None:
    code = MODEL + (
        "import sys\n"
        "def input_fn(body, kind):\n    if body == '0': sys.exit(404)\n    return body\n"
        "def predict_fn(data, model):\n    yield 'a'\n    if data == '1': sys.exit()\n"
        "def output_fn(parts, accept):\n    return parts\n"
    )
    served = responder(tmp_path, code)
    with pytest.raises(ModelFailed, match="input_fn raised SystemExit: 404") as caught:
        served.respond(Request(b"0"))
    assert caught.value.status == 500
    stream = served.respond(Request(b"1")).stream
    assert stream is not None
    with pytest.raises(ModelFailed, match="SystemExit"):
        list(stream)
    with pytest.raises(ScriptRefused, match="SystemExit: 2"):
        responder(tmp_path, "raise SystemExit(2)")


def test_an_application_that_exits_has_failed() -> None:
    def app(environ: dict[str, object], start_response: object) -> list[bytes]:
        sys.exit(3)

    with pytest.raises(ModelFailed, match="the application raised SystemExit: 3"):
        byo.ByoResponder(app, {}).respond(Request(b"1"))
