from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from serving.app import Application, Limits
from serving.manifest import Input, Task
from serving.model import ModelResponder
from serving.responder import Answer
from tests.fakes.model import MeanPredictor

PATH = "/v2/models/late/infer"
INPUTS = [
    {"name": "carrier", "datatype": "BYTES", "shape": [2], "data": ["UA", "DL"]},
    {"name": "hour", "datatype": "INT64", "shape": [2, 1], "data": [[7], [8]]},
    {"name": "delay", "datatype": "FP32", "shape": [2], "data": [1.5, None]},
]


def application(task: Task = "binary", names: str = "") -> Application:
    inputs = tuple(Input(name, "double") for name in names) if names else MeanPredictor().manifest.inputs
    return Application(ModelResponder(MeanPredictor(task, inputs), limit=10_000), Limits())


def ask(
    content: object, app: Application | None = None, path: str = PATH, binary: bytes = b"", **headers: str
) -> Answer:
    body = json.dumps(content).encode()
    if binary:
        headers = {"inference-header-content-length": str(len(body)), **headers}
    return (app or application()).answer("POST", path, headers, body + binary)


def get(path: str) -> tuple[int, Any]:
    answer = application().answer("GET", path, {}, b"")
    return answer.status, json.loads(answer.body)


def test_health_and_metadata() -> None:
    assert get("/v2/health/live") == (200, {"live": True})
    assert get("/v2/health/ready") == (200, {"ready": True})
    assert get("/v2/models/any/ready") == (200, {"name": "any", "ready": True})
    assert get("/v2/models/any/versions/3/ready")[0] == 200
    status, server = get("/v2")
    assert status == 200
    assert server["extensions"] == ["binary_tensor_data"]
    assert get("/v2/models/late/versions/3")[1] == {
        "name": "late",
        "versions": ["3"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "delay", "datatype": "FP32", "shape": [-1]},
            {"name": "hour", "datatype": "FP32", "shape": [-1]},
            {"name": "carrier", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [
            {"name": "predicted_label", "datatype": "INT64", "shape": [-1]},
            {"name": "score", "datatype": "FP32", "shape": [-1]},
        ],
    }


def test_paths_and_methods() -> None:
    for path in ("/v2/models", "/v2/models/a/b", "/v2/health", "/v2/models/a/versions"):
        status, problem = get(path)
        assert status == 404
        assert set(problem) == {"error"}
    assert get(PATH)[0] == 405
    assert application().answer("POST", "/v2", {}, b"").status == 405
    assert application().answer("GET", "/v20", {}, b"").body == b"{}"


def test_one_tensor_per_column() -> None:
    app = application()
    answer = ask({"id": "42", "inputs": INPUTS}, app, "/v2/models/late/versions/3/infer")
    same = app.answer("POST", "/invocations", {}, b'[[1.5, 7, "UA"], [null, 8, "DL"]]')
    predictions = json.loads(same.body)["predictions"]
    content = json.loads(answer.body)
    assert (content["model_name"], content["model_version"], content["id"]) == ("late", "3", "42")
    label, score = content["outputs"]
    assert (label["name"], label["datatype"], label["shape"]) == ("predicted_label", "INT64", [2])
    assert label["data"] == [row["predicted_label"] for row in predictions]
    assert (score["datatype"], score["shape"]) == ("FP32", [2])
    assert score["data"] == pytest.approx([row["score"] for row in predictions])


def test_one_tensor_in_model_order() -> None:
    app = application(names="ab")
    flat = {"name": "input", "datatype": "FP64", "shape": [2, 2], "data": [1, 2, 3, 4]}
    nested = {**flat, "name": "a", "data": [[1, 2], [3, 4]]}
    by_name = [
        {"name": "b", "datatype": "UINT8", "shape": [2], "data": [2, 4]},
        {"name": "a", "datatype": "FP32", "shape": [2], "data": [1, 3]},
    ]
    answers = {ask({"inputs": inputs}, app).body for inputs in ([flat], [nested], by_name)}
    assert len(answers) == 1
    assert json.loads(answers.pop())["model_name"] == "late"


def test_numbers_are_as_short_as_their_type_allows() -> None:
    one = application("regression", names="ab")
    answer = ask({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.3, 0.9]}]}, one)
    same = one.answer("POST", "/invocations", {"content-type": "text/csv"}, b"1.3,0.9")
    text = answer.body.decode().partition('"data":[')[2].partition("]")[0]
    assert text == same.body.decode().strip() == str(np.float32(text))


def test_integers_at_the_ends_of_their_range() -> None:
    for kind, values in (("INT8", [-128, 127]), ("UINT64", [0, 2**64 - 1]), ("BOOL", [True, 0])):
        item = tensor(datatype=kind, shape=[2], data=values)
        assert ask({"inputs": [item]}).status == 200


def test_selected_outputs() -> None:
    wanted = {"inputs": INPUTS, "outputs": [{"name": "score"}]}
    assert [item["name"] for item in json.loads(ask(wanted).body)["outputs"]] == ["score"]
    many = json.loads(ask({"inputs": INPUTS}, application("multiclass")).body)["outputs"]
    assert [(item["name"], item["datatype"], item["shape"]) for item in many] == [
        ("predicted_label", "BYTES", [2]),
        ("scores", "FP32", [2, 3]),
    ]
    assert len(many[1]["data"]) == 6
    (only,) = json.loads(ask({"inputs": INPUTS}, application("regression")).body)["outputs"]
    assert (only["name"], only["shape"]) == ("score", [2])


def test_binary_tensors() -> None:
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"UA", b"DL"))
    numbers = np.array([7, 8], "<i8").tobytes()
    inputs = [
        {
            "name": "carrier",
            "datatype": "BYTES",
            "shape": [2],
            "parameters": {"binary_data_size": len(texts)},
        },
        {"name": "hour", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": len(numbers)}},
        INPUTS[2],
    ]
    plain = json.loads(ask({"inputs": INPUTS}, application("multiclass")).body)["outputs"]
    wanted = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    answer = ask(wanted, application("multiclass"), binary=texts + numbers)
    assert answer.content_type == "application/octet-stream"
    size = int(dict(answer.headers)["inference-header-content-length"])
    labels, scores = json.loads(answer.body[:size])["outputs"]
    rest, length = answer.body[size:], labels["parameters"]["binary_data_size"]
    assert rest[:length] == b"".join(
        struct.pack("<I", len(text.encode())) + text.encode() for text in plain[0]["data"]
    )
    assert np.frombuffer(rest[length:], "<f4").tolist() == pytest.approx(plain[1]["data"])
    assert scores["parameters"] == {"binary_data_size": 4 * 6}
    one = ask({"inputs": INPUTS, "outputs": [{"name": "score", "parameters": {"binary_data": True}}]})
    assert len(one.body) == int(dict(one.headers)["inference-header-content-length"]) + 8


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "hour", "datatype": "FP32", "shape": [1], "data": [7], **changes}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "must be an object"),
        ({}, "inputs must be a list"),
        ({"inputs": []}, "at least one"),
        ({"inputs": [tensor(name=1)]}, "needs a name"),
        ({"inputs": [tensor(name="huor")]}, "one tensor per input"),
        ({"inputs": [tensor(name="huor"), tensor(name="delay")]}, "did you mean 'hour'"),
        ({"inputs": [tensor(name="delay")]}, "'hour' is missing"),
        ({"inputs": [tensor(), tensor()]}, "given twice"),
        ({"inputs": [tensor(datatype="BF16")]}, "BF16"),
        ({"inputs": [tensor(datatype="BYTES", data=["x"])]}, "must be numbers"),
        ({"inputs": [tensor(datatype="INT8", data=[1.5])]}, "at 0 that is no INT8"),
        ({"inputs": [tensor(datatype="INT8", data=[300])]}, "holds 300 at 0, but INT8 goes from -128 to 127"),
        ({"inputs": [tensor(datatype="UINT8", shape=[2], data=[None, -1])]}, "holds -1 at 1, but UINT8"),
        ({"inputs": [tensor(datatype="BOOL", data=[2])]}, "holds 2 at 0, but BOOL"),
        ({"inputs": [tensor(datatype="INT64", data=[2**63])]}, "goes from"),
        ({"inputs": [tensor(shape=[2])]}, "1 values, but its shape"),
        ({"inputs": [tensor(shape=[0], data=[])]}, "positive"),
        ({"inputs": [tensor(shape=[1, 1, 1])]}, "one or two dimensions"),
        ({"inputs": [tensor(shape=[2**62])]}, "positive"),
        ({"inputs": [tensor(data=[None])]}, "is missing"),
        ({"inputs": [tensor(data=7)]}, "needs data"),
        ({"inputs": [tensor(), tensor(name="delay", shape=[2], data=[1, 2])]}, "has 2 rows"),
        ({"inputs": [tensor(), tensor(name="carrier", datatype="BYTES", data=[7])]}, "no BYTES"),
        ({"inputs": [tensor()], "outputs": [{"name": "other"}]}, "no output 'other'"),
        ({"inputs": [tensor()], "id": 7}, "id must be text"),
        ({"inputs": [tensor(parameters={"binary_data_size": 4})]}, "more bytes than"),
        ({"inputs": [tensor()], "parameters": 7}, "parameters must be"),
    ],
)
def test_bad_requests(content: object, words: str) -> None:
    answer = ask(content)
    problem = json.loads(answer.body)
    assert (answer.status, set(problem)) == (400, {"error"})
    assert words in problem["error"]


@pytest.mark.parametrize(
    ("kind", "binary", "words"),
    [
        ("FP32", b"12345", "another number"),
        ("BYTES", b"\x05\x00\x00\x00ab", "middle of a value"),
        ("BYTES", b"\x01\x00\x00\x00\xff", "not UTF-8"),
        ("BYTES", b"\x01\x00\x00\x00a\x00", "middle of a value"),
    ],
)
def test_bad_binary(kind: str, binary: bytes, words: str) -> None:
    item = tensor(name="carrier", datatype=kind, parameters={"binary_data_size": len(binary)})
    answer = ask({"inputs": [tensor(), item]}, binary=binary)
    assert answer.status == 400
    assert words in json.loads(answer.body)["error"]
    assert ask({"inputs": [tensor()]}, binary=b"x").status == 400
    assert ask({"inputs": [tensor()]}, **{"inference-header-content-length": "9" * 20}).status == 400


def test_a_model_without_a_signature() -> None:
    class Script:
        execution_parameters: Mapping[str, object] = MappingProxyType({})

        def respond(self, request: object) -> Answer:
            return Answer(200)

    app = Application(Script(), Limits())
    assert app.answer("GET", "/v2/health/ready", {}, b"").status == 200
    answer = app.answer("POST", PATH, {}, b"{}")
    assert answer.status == 400
    assert "/invocations" in json.loads(answer.body)["error"]
