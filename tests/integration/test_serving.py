from __future__ import annotations

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
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from serving import package
from steps.pack import pack
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


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "--package", str(folder), "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0.1"},
    )
    try:
        until(lambda: listens(port))
        yield process, port
    finally:
        process.kill()
        process.wait()


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
