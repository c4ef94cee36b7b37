from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from flows.dossier import sample_request
from seaway.cli import application
from serving import package
from serving.pipeline import stages
from serving.pipeline.remote import HttpStage, StageTooSlow, StageUnreachable
from serving.pipeline.responder import TIMINGS
from serving.pipeline.stages import Stage
from serving.responder import Request
from steps.pack import pack
from steps.pipeline import PipelineRefused, pack_pipeline
from tests.ports import free_port
from tests.processes import until

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]

PREPROCESS = """
import json
class Bad(Exception):
    status_code = 400
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    if content_type != "application/json":
        error = Bad("send JSON"); error.status_code = 415; raise error
    try:
        rows = [{"a": float(row["minutes"]) / 60, "b": row.get("b", 0)} for row in json.loads(body)["instances"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Bad(f"minutes must be a number: {error!r}")
    if len(rows) == 7:
        return "x" * (6 * 1024 * 1024), "application/json"
    return json.dumps({"instances": rows}), "application/json"
"""
POSTPROCESS = """
import json
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    rows = json.loads(body)["predictions"]
    for row in rows:
        row["late"] = row["score"] > 0.5
    return json.dumps({"predictions": rows}), "application/json"
"""
SAMPLE = {"instances": [{"minutes": 30.0, "b": 1.0}, {"minutes": -90.0, "b": 0.0}]}


@pytest.fixture(autouse=True)
def same_interpreter_after() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in (set(sys.modules) - modules) & {"inference", "helper"}:
        del sys.modules[name]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"a": draw.normal(size=200).round(2), "b": draw.normal(size=200).round(2)})
    fitted = LogisticRegression().fit(frame, (frame.a > 0).astype(int))
    folder = tmp_path_factory.mktemp("model")
    return pack(
        fitted, frame, name="m", task="binary", features=("a", "b"), trained_on=frame, folder=folder
    ).archive


def script(folder: Path, code: str, requirements: str = "") -> Path:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(code)
    if requirements:
        (folder / "code" / "requirements.txt").write_text(requirements)
    return folder


@pytest.fixture(scope="module")
def sources(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path | str]:
    folder = tmp_path_factory.mktemp("scripts")
    return [
        script(folder / "pre", PREPROCESS, "orjson\n"),
        model,
        script(folder / "post", POSTPROCESS, "orjson\n"),
    ]


NAMES = ("preprocess", "predict", "postprocess")


@contextlib.contextmanager
def serving(folder: Path, **variables: str) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "serving", "--package", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables})

    def listens() -> bool:
        assert process.poll() is None
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(listens)
        yield port
    finally:
        process.kill()
        process.wait()


def unpacked(archive: Path, folder: Path) -> Path:
    return package.unpack(archive, folder, package.digest(archive))


def test_a_pipeline_is_packed_the_same_every_time(sources: list[Path | str], tmp_path: Path) -> None:
    sample = json.dumps(SAMPLE).encode()
    made = [
        pack_pipeline(sources, NAMES, tmp_path / f"{n}.tar.gz", model="whole", sample=sample)
        for n in range(2)
    ]
    assert made[0].digest == made[1].digest == package.digest(made[0].archive)
    folder = unpacked(made[0].archive, tmp_path / "unpacked")
    assert {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()} >= {
        "pipeline.json", "seaway.json", "sample.json", "requirements.txt", "code/requirements.txt",
        "stages/1/code/inference.py", "stages/2/seaway.json", "stages/3/code/inference.py",
    }  # fmt: skip
    assert not list(folder.rglob("__pycache__"))
    manifest = package.load_manifest(folder)
    assert (manifest.model, manifest.runtime, manifest.task, manifest.classes) == (
        "whole",
        "pipeline",
        "binary",
        (0, 1),
    )
    assert [(one.name, one.type, one.required) for one in manifest.inputs] == [
        ("minutes", "double", False),
        ("b", "double", False),
    ]
    assert "onnxruntime" in (folder / "requirements.txt").read_text()
    assert (folder / "code/requirements.txt").read_text() == "orjson\n"
    assert made[0].testable
    request = sample_request(made[0].archive, made[0].digest, tmp_path / "packages")
    assert request.columns == ("minutes", "b")
    assert [row["late"] for row in request.predictions] == [True, False]


def test_one_process_and_several_answer_alike(sources: list[Path | str], model: Path, tmp_path: Path) -> None:
    sample = json.dumps(SAMPLE).encode()
    made = pack_pipeline(sources, NAMES, tmp_path / "p.tar.gz", model="whole", sample=sample)
    inside = unpacked(made.archive, tmp_path / "inside")
    with serving(unpacked(model, tmp_path / "m")) as far:
        listed = [
            Stage("preprocess", "stages/1"),
            Stage("predict", url=f"http://127.0.0.1:{far}"),
            Stage("postprocess", "stages/3"),
        ]
        apart = unpacked(made.archive, tmp_path / "apart")
        (apart / "pipeline.json").write_bytes(stages.write(listed))
        with serving(inside) as one, serving(apart) as two:
            answers = [_answers(port) for port in (one, two)]
    assert answers[0] == answers[1]
    ok, refused, unread, large, parameters = answers[0]
    assert ok[0] == 200
    assert ok[1]["predictions"] == json.loads((inside / "sample.json").read_text())["predictions"]
    assert refused[0] == 400
    assert refused[1]["error"].startswith('stage "preprocess" (1 of 3): transform_fn raised Bad: minutes')
    assert unread[0] == 415
    assert large[0] == 413
    assert "longer than the 5 MB" in large[1]["error"]
    assert parameters[1]["MaxConcurrentTransforms"] == 1


def _answers(port: int) -> list[tuple[int, Any]]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get("/ping").status_code == 200
        found = client.post("/invocations", json=SAMPLE)
        timed = [one.split(";dur=") for one in found.headers[TIMINGS].split(", ")]
        assert [name for name, _ in timed] == list(NAMES)
        assert all(float(value) > 0 for _, value in timed)
        bad = client.post("/invocations", json={"instances": [{"minutes": "x"}]})
        assert bad.headers[TIMINGS].startswith("preprocess;dur=")
        kind = client.post("/invocations", content=b"1", headers={"content-type": "text/csv"})
        large = client.post("/invocations", json={"instances": [SAMPLE["instances"][0]] * 7})
        shown = client.get("/execution-parameters")
        return [(one.status_code, one.json()) for one in (found, bad, kind, large, shown)]


def test_stages_that_do_not_fit(sources: list[Path | str], tmp_path: Path) -> None:
    out = tmp_path / "p.tar.gz"
    with pytest.raises(PipelineRefused, match="has no sample"):
        pack_pipeline(sources, NAMES, out, model="m")
    with pytest.raises(PipelineRefused, match=r'stage "preprocess" \(1 of 2\).*minutes must be a number'):
        pack_pipeline(sources[:2], NAMES[:2], out, model="m", sample=b'{"instances": [{"x": 1}]}')
    with pytest.raises(PipelineRefused, match="2 to 15 stages, not 1"):
        pack_pipeline(sources[:1], NAMES[:1], out, model="m", sample=b"{}")
    with pytest.raises(PipelineRefused, match="give an archive or a folder"):
        pack_pipeline([tmp_path / "no", sources[1]], NAMES[:2], out, model="m")
    with pytest.raises(PipelineRefused, match="instances"):
        pack_pipeline(sources, NAMES, out, model="m", sample=b"[]")
    assert not out.exists()
    old = unpacked(sources[1], tmp_path / "old")  # type: ignore[arg-type]
    text = (old / "seaway.json").read_text()
    (old / "seaway.json").write_text(text.replace('"orjson==', '"orjson==0.'))
    with pytest.raises(PipelineRefused, match='stage "a" needs orjson 0.*and stage "b"'):
        pack_pipeline([old, sources[1]], ("a", "b"), out, model="m")


def test_the_command(sources: list[Path | str], tmp_path: Path) -> None:
    (tmp_path / "sample.json").write_text(json.dumps(SAMPLE))
    out = tmp_path / "made.tar.gz"
    options = ["--sample", str(tmp_path / "sample.json"), "-o", str(out), "--json"]
    command = ["pipeline", "build", "whole", f"clean={sources[0]}", str(sources[1]), str(sources[2])]
    found = CliRunner().invoke(application(), [*command, *options])
    assert found.exit_code == 0, found.output
    shown = json.loads(found.stdout)
    assert shown["stages"] == ["clean", "model", "post"]
    assert shown["digest"] == package.digest(out)
    refused = CliRunner().invoke(application(), ["pipeline", "build", "whole", "a", "b"])
    assert refused.exit_code == 1
    assert "there is no a; give MODEL:VERSION" in refused.output


@contextlib.contextmanager
def answering(act: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[Any]]]:
    """A server that does what it is told; also the addresses of its clients."""
    clients: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            clients.append(self.client_address)
            self.body = self.rfile.read(int(self.headers["content-length"]))
            act(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", clients
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reply(handler: Any, status: int, body: bytes, **lines: str) -> None:
    handler.send_response(status)
    for name, value in {"content_length": str(len(body)), **lines}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def test_a_stage_elsewhere_is_asked_on_one_connection() -> None:
    def echo(handler: Any) -> None:
        told = f"{handler.headers['content-type']}|{handler.headers['accept']}|{handler.headers['x-own']}|".encode()
        reply(handler, 200, told + handler.body, content_type="a/b", x_more="1")

    with answering(echo) as (url, clients):
        stage = HttpStage(url)
        for _ in range(3):
            answer = stage.respond(Request(b"body", "text/csv", "x/y", {"x-own": "7", "host": "elsewhere"}))
            assert (answer.status, answer.body, answer.content_type) == (200, b"text/csv|x/y|7|body", "a/b")
            assert ("x-more", "1") in answer.headers
        assert len(set(clients)) == 1
        assert stage.respond(Request(b"")).body == b"None|None|None|"
        stage.close()


def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    def once(handler: Any) -> None:
        reply(handler, 200, b"ok")
        handler.close_connection = True  # without saying so

    with answering(once) as (url, clients):
        stage = HttpStage(url)
        assert stage.respond(Request(b"")).body == b"ok"
        until(lambda: _heard(stage))
        assert stage.respond(Request(b"")).body == b"ok"
        assert len(set(clients)) == 2
        stage.close()


def _heard(stage: HttpStage) -> bool:
    from serving.pipeline.remote import _heard as heard

    sock = stage._idle[0].sock
    assert sock is not None
    return heard(sock)


def test_a_stage_that_is_slow_or_hangs_up_or_is_not_there() -> None:
    done = threading.Event()

    def act(handler: Any) -> None:
        if handler.body == b"slow":
            done.wait(20)
            handler.close_connection = True
        elif handler.body == b"slow parts":
            reply(handler, 200, b"", content_length="3")
            handler.wfile.write(b"a")
            done.wait(20)
            handler.close_connection = True
        elif handler.body == b"short":
            handler.close_connection = True
            reply(handler, 200, b"ab", content_length="9")
        else:
            handler.close_connection = True

    with answering(act) as (url, clients):
        stage = HttpStage(url, 0.2)
        for body in (b"slow", b"slow parts"):
            with pytest.raises(StageTooSlow, match="within 0.2 s"):
                stage.respond(Request(body))
        done.set()
        for body in (b"short", b"nothing"):
            with pytest.raises(StageUnreachable):
                stage.respond(Request(body))
        assert len(clients) == 4  # nothing is sent twice
    with pytest.raises(StageUnreachable, match="see that its process runs"):
        stage.respond(Request(b""))
    assert "does not answer" in stage.unready()[0]


def test_a_stage_that_streams() -> None:
    def parts(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")

    with answering(parts) as (url, clients):
        stage = HttpStage(url)
        first, second = stage.respond(Request(b"")), stage.respond(Request(b""))
        assert first.stream is not None
        assert second.stream is not None
        assert b"".join(first.stream) == b"".join(second.stream) == b"abc"
        third = stage.respond(Request(b""))
        assert third.stream is not None
        assert next(third.stream) == b"ab"
        third.stream.close()  # type: ignore[attr-defined]
        assert len(set(clients)) == 2
        stage.close()
