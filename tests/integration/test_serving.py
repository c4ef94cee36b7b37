from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from serving import package
from steps.pack import pack
from tests.fakes import bodies
from tests.ports import free_port
from tests.processes import until

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module", params=["onnx", "skops"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"a": draw.normal(size=500).round(2), "c": draw.choice(["x", "y", ""], 500)})
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = Pipeline(
        [
            ("columns", ColumnTransformer([("n", "passthrough", ["a"]), ("c", encoder, ["c"])])),
            ("m", HistGradientBoostingClassifier(max_iter=10, random_state=7, categorical_features=[1])),
        ]
    ).fit(frame, frame.a + (frame.c == "x") > 0.5)
    out = tmp_path_factory.mktemp(request.param)
    tolerance = 1e-4 if request.param == "onnx" else 1e-15
    made = pack(
        model,
        frame,
        name="m",
        task="binary",
        features=("a", "c"),
        trained_on=frame,
        folder=out,
        tolerance=tolerance,
    )
    assert made.manifest.runtime == request.param
    return package.unpack(made.archive, out / "unpacked", made.digest)


@contextlib.contextmanager
def serving(folder: Path, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "--package", str(folder), "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **variables},
    )
    try:
        until(lambda: listens(port))
        yield process, port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with serving(folder, SAGEMAKER_MAX_PAYLOAD_IN_MB="0.1") as running:
        yield running


def test_answers(folder: Path, server: tuple[subprocess.Popen[bytes], int]) -> None:
    sample = json.loads((folder / package.SAMPLE).read_text())
    with httpx.Client(base_url=f"http://127.0.0.1:{server[1]}") as client:
        ready = client.get("/ping")
        assert (ready.status_code, ready.content) == (200, b"")
        answer = client.post("/invocations", json=sample["request"])
        assert answer.json()["predictions"] == sample["predictions"]
        lines = "a,c\n" + "".join(f"{row['a']},{row['c']}\n" for row in sample["request"]["instances"])
        table = client.post(
            "/invocations", content=lines, headers={"content-type": "text/csv; charset=utf-8"}
        )
        assert table.headers["content-type"] == "text/csv"
        found = [float(line.split(",")[1]) for line in table.text.splitlines()]
        assert found == pytest.approx([row["score"] for row in sample["predictions"]], abs=1e-6)
        many = client.post("/invocations", json={"instances": sample["request"]["instances"] * 60})
        assert len(many.json()["predictions"]) == 60 * len(sample["predictions"])


def test_refusals(server: tuple[subprocess.Popen[bytes], int]) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{server[1]}") as client:
        missing = client.post("/invocations", json=[{"a": None, "c": "x"}])
        assert missing.status_code == 400
        assert (missing.json()["field"], missing.json()["row"]) == ("a", 0)
        assert (
            client.post("/invocations", content=b"x", headers={"content-type": "image/png"}).status_code
            == 415
        )
        assert (
            client.post("/invocations", json=[[1, "x"]], headers={"accept": "image/png"}).status_code == 406
        )
        assert client.post("/invocations", content=b" " * 200_000).status_code == 413
        assert client.post("/invocations", content=iter([b" " * 60_000] * 3)).status_code == 413
        assert client.get("/invocations").status_code == 405
        nothing = client.post("/invocations", content=b"x", headers={"content-encoding": "gzip"})
        assert nothing.status_code == 415
        unknown = client.get("/models")
        assert (unknown.status_code, unknown.content) == (404, b"{}")
        assert client.get("/ping").status_code == 200


def test_killing_the_process_frees_the_port(server: tuple[subprocess.Popen[bytes], int]) -> None:
    process, port = server
    process.send_signal(signal.SIGKILL)
    process.wait(5)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_sigterm_finishes_what_was_begun(server: tuple[subprocess.Popen[bytes], int]) -> None:
    process, port = server
    body = b'[[0.5, "x"]]'
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as begun:
        begun.sendall(head + body[:4])
        assert httpx.get(f"http://127.0.0.1:{port}/ping").status_code == 200
        process.send_signal(signal.SIGTERM)
        until(lambda: not listens(port))
        assert process.poll() is None
        begun.sendall(body[4:])
        assert begun.recv(65536).startswith(b"HTTP/1.1 200")
    assert process.wait(10) == 0


def test_every_format_over_the_wire(folder: Path, server: tuple[subprocess.Popen[bytes], int]) -> None:
    rows = json.loads((folder / package.SAMPLE).read_text())["request"]["instances"]
    frame = pd.DataFrame(rows)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    arrow, parquet, npy = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with pa.ipc.new_stream(arrow, table.schema) as writer:
        writer.write_table(table)
    pq.write_table(table, parquet)
    np.save(npy, np.array([(row["a"], row["c"]) for row in rows], [("a", "f8"), ("c", "U2")]))
    sent = {
        "application/vnd.apache.arrow.stream": arrow.getvalue(),
        "application/vnd.apache.parquet": parquet.getvalue(),
        "application/x-npy": npy.getvalue(),
        "application/jsonlines": "\n".join(json.dumps(row) for row in rows).encode(),
    }
    with httpx.Client(base_url=f"http://127.0.0.1:{server[1]}") as client:
        expected = client.post("/invocations", json=rows).json()
        for kind, body in sent.items():
            headers = {"content-type": kind, "accept": "application/json"}
            assert client.post("/invocations", content=body, headers=headers).json() == expected
        lines = client.post("/invocations", json=rows, headers={"accept": "application/x-ndjson"})
        assert [json.loads(line) for line in lines.text.splitlines()] == expected["predictions"]
        tensors = [
            {"name": "a", "datatype": "FP64", "shape": [len(rows)], "data": [row["a"] for row in rows]},
            {"name": "c", "datatype": "BYTES", "shape": [len(rows), 1], "data": [row["c"] for row in rows]},
        ]
        answer = client.post("/v2/models/any/infer", json={"inputs": tensors}).json()
        scores = next(item["data"] for item in answer["outputs"] if item["name"] == "score")
        assert scores == pytest.approx([row["score"] for row in expected["predictions"]])
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.get("/execution-parameters").json()["MaxPayloadInMB"] == pytest.approx(0.1, rel=1e-4)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a server of the model that `tests.fakes.bodies` speaks to."""
    out = tmp_path_factory.mktemp("compiled")
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "delay": draw.normal(size=300).round(2),
            "hour": draw.integers(0, 24, 300).astype(float),
            "carrier": draw.choice(["UA", "DL", ""], 300),
        }
    )
    frame.loc[::9, "delay"] = np.nan
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("n", "passthrough", ["delay", "hour"]), ("c", encoder, ["carrier"])])
    model = Pipeline([("c", columns), ("m", HistGradientBoostingClassifier(max_iter=5, random_state=7))])
    made = pack(
        model.fit(frame, frame.hour > 12),
        frame,
        name="m",
        task="binary",
        features=("delay", "hour", "carrier"),
        trained_on=frame,
        folder=out,
    )
    folder = package.unpack(made.archive, out / "unpacked", made.digest)
    with serving(folder, SAGEMAKER_MAX_PAYLOAD_IN_MB="0.1") as (_, port):
        yield port


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=bodies.anything() | bodies.spoilt(), accept=st.sampled_from(bodies.ACCEPTS))
def test_no_body_makes_the_server_fail_or_hang(compiled: int, call: bodies.Call, accept: str) -> None:
    headers = {"content-type": call.content_type, "accept": accept}
    if call.header is not None:
        headers["inference-header-content-length"] = str(call.header)
    url = f"http://127.0.0.1:{compiled}"
    answer = httpx.post(f"{url}{call.path}", content=call.body, headers=headers, timeout=10)
    assert answer.status_code < 500


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that streams words; `fail` breaks it, `hang` never answers."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "code").mkdir()
    (folder / "code" / "inference.py").write_text(SCRIPT)
    return folder


SCRIPT = """
import threading

def model_fn(model_dir):
    return threading.Event()

def transform_fn(model, body, content_type, accept):
    text = body.decode() if isinstance(body, bytes) else body
    if text == "hang":
        model.wait()
    return words(text, model), "text/plain"

def words(text, model):
    for word in text.split():
        if word == "fail":
            raise ValueError("lost")
        if word == "hold":
            model.wait()
        yield word.encode()
"""


def stream(port: int, text: str) -> Iterator[bytes]:
    with httpx.stream(
        "POST", f"http://127.0.0.1:{port}/invocations", content=text, headers={"content-type": "text/plain"}
    ) as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        yield from answer.iter_raw()


def test_streams(script: Path) -> None:
    with serving(script) as (process, port):
        assert b"".join(stream(port, "one two three")) == b"onetwothree"
        broken = stream(port, "one two fail")
        with pytest.raises(httpx.RemoteProtocolError):
            b"".join(broken)
        assert b"".join(stream(port, "still here")) == b"stillhere"
        held = stream(port, "first hold")
        assert next(held) == b"first"  # sent before the rest is made
        process.send_signal(signal.SIGTERM)
        until(lambda: not listens(port))
        held.close()
        assert process.poll() is None


def test_the_time_limit(script: Path) -> None:
    with serving(script, SAGEMAKER_MODEL_SERVER_TIMEOUT="0.3") as (process, port):
        url = f"http://127.0.0.1:{port}"
        slow = httpx.post(f"{url}/invocations", content="hang", headers={"content-type": "text/plain"})
        assert slow.status_code == 504
        assert "0.3 s" in slow.json()["error"]
        until(lambda: httpx.get(f"{url}/ping").status_code == 503)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0  # a call that never returns does not keep the process


def test_captures_are_written(folder: Path, tmp_path: Path) -> None:
    variables = {
        "SEAWAY_CAPTURE": json.dumps({"destination": str(tmp_path)}),
        "SEAWAY_ENDPOINT": "e",
        "SEAWAY_VARIANT": "v",
    }
    with serving(folder, **variables) as (process, port):
        answer = httpx.post(
            f"http://127.0.0.1:{port}/invocations",
            content=b'[[0.5, "x"]]',
            headers={"x-amzn-requestid": "the-event", "content-type": "application/json"},
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    (file,) = tmp_path.rglob("*.jsonl")
    record = json.loads(file.read_text())
    assert record["eventMetadata"]["eventId"] == "the-event"
    assert record["captureData"]["endpointInput"]["data"] == '[[0.5, "x"]]'
    assert record["captureData"]["endpointOutput"]["data"] == answer.text
