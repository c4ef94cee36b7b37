"""The programs `train` and `serve` as `docker run IMAGE train|serve` starts them, on trees below a folder."""

from __future__ import annotations

import ensurepip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from serving.contract import Tree
from serving.train import FAILED, INTERRUPTED
from tests.ports import free_port
from tests.processes import until

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
SBIN = "/usr/sbin"
needs_nginx = pytest.mark.skipif(
    not shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{SBIN}") and not os.environ.get("CI"),
    reason="nginx is not installed (apt-get install nginx-light)",
)
SERVERS = [
    pytest.param({"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}, id="granian"),
    pytest.param({"SAGEMAKER_MODEL_SERVER_WORKERS": "2"}, id="granian-2"),
    pytest.param(
        {"SAGEMAKER_USE_NGINX": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}, id="nginx", marks=needs_nginx
    ),
]
ROW = "5.1,3.5,1.4,0.2"

INFERENCE = """
import os
import time
import joblib
import numpy as np

def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))

def input_fn(request_body, request_content_type):
    if request_content_type == "text/csv":
        return np.array([[float(cell) for cell in line.split(",")] for line in request_body.splitlines()])
    raise ValueError("This model only supports text/csv input")

def predict_fn(input_data, model):
    gate = os.environ.get("GATE")
    if gate:
        open(gate + ".begun", "w").close()
        while not os.path.exists(gate):
            time.sleep(0.01)
    return model.predict(input_data)

def output_fn(prediction, accept):
    return ",".join(map(str, prediction)), "text/csv"
"""
PREDICTOR = """
import io
import os
import joblib
import flask
import numpy as np

prefix = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml/")
model_path = os.path.join(prefix, "model")

class ScoringService(object):
    model = None

    @classmethod
    def get_model(cls):
        if cls.model is None:
            cls.model = joblib.load(os.path.join(model_path, "model.joblib"))
        return cls.model

app = flask.Flask(__name__)

@app.route("/ping", methods=["GET"])
def ping():
    health = ScoringService.get_model() is not None
    return flask.Response(response="\\n", status=200 if health else 404, mimetype="application/json")

@app.route("/invocations", methods=["POST"])
def transformation():
    if flask.request.content_type != "text/csv":
        return flask.Response(response="This predictor only supports CSV data", status=415, mimetype="text/plain")
    data = np.loadtxt(io.StringIO(flask.request.data.decode("utf-8")), delimiter=",", ndmin=2)
    predictions = ScoringService.get_model().predict(data)
    result = "".join("%s\\n" % value for value in predictions)
    return flask.Response(response=result, status=200, mimetype="text/csv")
"""


def environment(tree: Tree, **variables: str) -> dict[str, str]:
    """As in a container: our Python first on the path, nothing of the test's own package."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:{SBIN}"
    return {**os.environ, "PATH": path, "SAGEMAKER_BASE_DIR": str(tree.base), **variables}


def train(tree: Tree, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "serving" / "train"],
        env=environment(tree, **variables),
        cwd=tree.base,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


@contextmanager
def served(
    tree: Tree, cwd: Path | None = None, **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """`serve` in a session of its own, once it answers."""
    port = free_port()
    process = subprocess.Popen(
        [ROOT / "serving" / "serve", "--host", "127.0.0.1"],
        env=environment(tree, SAGEMAKER_BIND_TO_PORT=str(port), **variables),
        cwd=cwd or tree.base,
        start_new_session=True,
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        try:
            until(lambda: process.poll() is not None or _pings(client))
            assert process.poll() is None, "serve ended before it answered"
            yield process, client
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _pings(client: httpx.Client) -> bool:
    try:
        return client.get("/ping").status_code == 200
    except httpx.TransportError:
        return False


def gone(process: subprocess.Popen[bytes]) -> bool:
    """Whether nothing of the process's session is left."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "ml")
    tree.input_config.mkdir(parents=True)
    tree.model.mkdir()
    return tree


def hyperparameters(tree: Tree, **given: str) -> None:
    (tree.input_config / "hyperparameters.json").write_text(json.dumps(given))


@pytest.fixture(scope="module")
def iris() -> tuple[np.ndarray, np.ndarray]:
    return load_iris(return_X_y=True)


@pytest.fixture
def iris_csv(tree: Tree, iris: tuple[np.ndarray, np.ndarray]) -> Tree:
    """Label first, no header, two files, as the well-known example has it."""
    tree.channel("training").mkdir(parents=True)
    names = ("setosa", "versicolor", "virginica")
    lines = [f"{names[label]},{','.join(map(str, row))}\n" for row, label in zip(*iris, strict=True)]
    for number in range(2):
        (tree.channel("training") / f"iris-{number}.csv").write_text("".join(lines[number::2]))
    return tree


@pytest.fixture
def iris_model(tree: Tree, iris: tuple[np.ndarray, np.ndarray]) -> Tree:
    joblib.dump(DecisionTreeClassifier(random_state=0).fit(*iris), tree.model / "model.joblib")
    return tree


# --- train ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variables", SERVERS)
def test_built_in_trainer_makes_what_serve_serves(iris_csv: Tree, variables: dict[str, str]) -> None:
    hyperparameters(
        iris_csv, estimator="sklearn.tree.DecisionTreeClassifier", max_leaf_nodes="5", random_state="0"
    )
    done = train(iris_csv)
    assert (done.returncode, iris_csv.success.is_file()) == (0, True), done.stderr
    assert float(done.stdout.split("train:score=")[1].split()[0]) > 0.9
    with served(iris_csv, **variables) as (process, client):
        answer = client.post("/invocations", content=ROW, headers={"content-type": "text/csv"})
        assert (answer.status_code, answer.text.split(",")[0]) == (200, "setosa")
        assert client.get("/execution-parameters").json()["BatchStrategy"] == "MULTI_RECORD"
        assert (client.get("/ping").content, client.get("/models/x").status_code) == (b"", 404)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        until(lambda: gone(process))


def test_built_in_trainer_on_parquet_with_text_and_gaps(tree: Tree) -> None:
    draw = np.random.default_rng(0)
    size = draw.normal(size=300)
    kind = draw.choice(["x", "y"], 300)
    price = 2 * size + (kind == "x")
    sizes = pa.array([None if n == 3 else value for n, value in enumerate(size)])
    tree.channel("training").mkdir(parents=True)
    pyarrow.parquet.write_table(
        pa.table({"size": sizes, "kind": kind, "price": price}), tree.channel("training") / "part.parquet"
    )
    hyperparameters(
        tree, estimator="sklearn.ensemble.HistGradientBoostingRegressor", label="price", model_name="m"
    )
    done = train(tree)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tree.model / "seaway.json").read_text())
    assert manifest["inputs"] == [
        {"name": "size", "type": "double", "required": False},
        {"name": "kind", "type": "string", "required": True},
    ]
    with served(tree, SAGEMAKER_MODEL_SERVER_WORKERS="1") as (_, client):
        found = client.post("/invocations", json=[{"size": 0.5, "kind": "x"}, {"size": None, "kind": "new"}])
        assert found.json()["predictions"][0]["score"] == pytest.approx(2, abs=0.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"estimator": "sklearn.tree.DecisionTreeClassifier", "depth": "3"}, "depth"),
        ({"estimator": "os.system"}, "name one of scikit-learn"),
        (
            {"estimator": "sklearn.tree.DecisionTreeClassifier", "max_depth": "-3"},
            "Exception during training",
        ),
        ({"estimator": "sklearn.tree.DecisionTreeClassifier", "label": "species"}, "no column 'species'"),
        ({"sagemaker_program": "absent.py"}, "absent.py"),
    ],
)
def test_failures_are_explained(iris_csv: Tree, given: dict[str, str], said: str) -> None:
    hyperparameters(iris_csv, **given)
    done = train(iris_csv)
    assert done.returncode == FAILED
    assert said in iris_csv.failure.read_text()[:1024]
    assert not iris_csv.success.exists()


def test_script_mode(tree: Tree) -> None:
    tree.code.mkdir()
    (tree.code / "helper.py").write_text("VALUE = 3")
    (tree.code / "fit.py").write_text(
        """
import argparse, json, os, helper
parser = argparse.ArgumentParser()
parser.add_argument("--depth", type=int)
parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
asked = parser.parse_args()
text = open(os.path.join(asked.train, "data.csv")).read()
json.dump([asked.depth, helper.VALUE, text], open(os.path.join(asked.model_dir, "model.json"), "w"))
"""
    )
    tree.channel("train").mkdir(parents=True)
    (tree.channel("train") / "data.csv").write_text("1,2")
    (tree.input_config / "inputdataconfig.json").write_text('{"train": {"TrainingInputMode": "File"}}')
    hyperparameters(tree, depth="4", sagemaker_program='"fit.py"')
    done = train(tree)
    assert done.returncode == 0, done.stderr
    assert json.loads((tree.model / "model.json").read_text()) == [4, 3, "1,2"]
    assert tree.success.is_file()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ValueError('bad depth')", 'ExitCode 1\nErrorMessage "ValueError: bad depth"'),
        ("import sys; sys.exit(7)", "ExitCode 7"),
        (
            "import os; open(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('my own'); os._exit(1)",
            "my own",
        ),
    ],
)
def test_a_failing_script_says_why(tree: Tree, code: str, said: str) -> None:
    tree.code.mkdir()
    (tree.code / "fit.py").write_text(code)
    assert train(tree, SAGEMAKER_PROGRAM="fit.py").returncode == FAILED
    assert said in tree.failure.read_text()


@pytest.mark.parametrize("ending", ["sys.exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_an_interrupted_script_may_save_its_work(tree: Tree, ending: str) -> None:
    tree.code.mkdir()
    (tree.code / "fit.py").write_text(
        f"""
import os, signal, sys
def stop(number, frame):
    open("{tree.checkpoints}", "w").write("epoch 3")
    {ending}
signal.signal(signal.SIGTERM, stop)
open("{tree.base}/begun", "w").close()
while True:
    signal.pause()
"""
    )
    process = subprocess.Popen(
        [ROOT / "serving" / "train"], env=environment(tree, SAGEMAKER_PROGRAM="fit.py")
    )
    try:
        until((tree.base / "begun").exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == INTERRUPTED
    finally:
        process.kill()
        process.wait()
    assert tree.checkpoints.read_text() == "epoch 3"
    assert not tree.failure.exists()
    assert not tree.success.exists()


# --- serve ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variables", SERVERS)
def test_user_handlers_and_a_drained_end(iris_model: Tree, tmp_path: Path, variables: dict[str, str]) -> None:
    iris_model.model_code.mkdir()
    (iris_model.model_code / "inference.py").write_text(INFERENCE)
    gate = tmp_path / "gate"
    gate.touch()
    with served(iris_model, GATE=str(gate), **variables) as (process, client):
        csv = {"content-type": "text/csv"}
        answer = client.post("/invocations", content=f"{ROW}\n{ROW}", headers=csv)
        assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "0,0", "text/csv")
        refused = client.post("/invocations", json=[1])
        assert (refused.status_code, "only supports text/csv" in refused.json()["error"]) == (500, True)
        begun = Path(f"{gate}.begun")
        begun.unlink()
        gate.unlink()
        answers: list[httpx.Response] = []
        late = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{client.base_url}/invocations", content=ROW, headers=csv, timeout=30)
            )
        )
        late.start()
        until(begun.exists)
        process.send_signal(signal.SIGTERM)
        until(lambda: not _connects(client))
        gate.touch()
        late.join(20)
        assert [one.text for one in answers] == ["0"]
        assert process.wait(30) == 0
        until(lambda: gone(process))


def _connects(client: httpx.Client) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", client.base_url.port or 0)) == 0


@pytest.mark.parametrize("variables", SERVERS)
@pytest.mark.parametrize("layout", ["archive", "program-folder"])
def test_bring_your_own_application(
    iris_model: Tree, tmp_path: Path, variables: dict[str, str], layout: str
) -> None:
    """`predictor.py` and `wsgi.py` with Flask: in the archive, or in the working directory as in images."""
    folder = iris_model.model_code if layout == "archive" else tmp_path / "program"
    folder.mkdir()
    (folder / "predictor.py").write_text(PREDICTOR)
    (folder / "wsgi.py").write_text("import predictor as myapp\n\napp = myapp.app\n")
    with served(iris_model, cwd=folder, **variables) as (_, client):
        answer = client.post("/invocations", content=f"{ROW}\n{ROW}\n", headers={"content-type": "text/csv"})
        assert (answer.status_code, answer.text) == (200, "0\n0\n")
        assert client.post("/invocations", json=[1]).status_code == 415


@pytest.mark.parametrize("variables", SERVERS[1:])
def test_ends_when_a_child_ends(iris_model: Tree, variables: dict[str, str]) -> None:
    iris_model.model_code.mkdir()
    (iris_model.model_code / "inference.py").write_text(INFERENCE)
    with served(iris_model, **variables) as (process, _):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        assert process.wait(30) == 1
        until(lambda: gone(process))


@pytest.mark.parametrize(
    ("code", "variables", "said"),
    [
        (
            "def model_fn(d): raise FileNotFoundError('weights')",
            {},
            "model_fn raised FileNotFoundError: weights",
        ),
        (
            "def model_fn(d): ...\ndef transform_fn(*a): ...\ndef input_fn(*a): ...",
            {},
            "keep transform_fn alone",
        ),
        ("", {"SAGEMAKER_BIND_TO_PORT": "no"}, "SAGEMAKER_BIND_TO_PORT is 'no'"),
    ],
)
def test_a_start_that_cannot_succeed_says_why(
    tree: Tree, code: str, variables: dict[str, str], said: str
) -> None:
    tree.model_code.mkdir()
    (tree.model_code / "inference.py").write_text(code)
    done = subprocess.run(
        [ROOT / "serving" / "serve", "--host", "127.0.0.1"],
        env=environment(tree, **{"SAGEMAKER_MODEL_SERVER_WORKERS": "1", **variables}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr


def test_requirements_are_installed_first(tmp_path: Path) -> None:
    """By a real pip, from a wheel made here: nothing is downloaded."""
    wheel = tmp_path / "tide-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tide.py", "HEIGHT = 7\n")
        archive.writestr("tide-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tide\nVersion: 1.0\n")
        archive.writestr(
            "tide-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tide-1.0.dist-info/RECORD", "")
    bundled = Path(ensurepip.__file__).parent / "_bundled"
    pip = next(
        file for place in (bundled, Path("/usr/share/python-wheels")) for file in place.glob("pip-*.whl")
    )
    target = tmp_path / "target"
    code = tmp_path / "code"
    code.mkdir()
    program = "import os, pathlib, sys; from serving.requirements import install; install(pathlib.Path(sys.argv[1]), os.environ)"

    def install() -> subprocess.CompletedProcess[str]:
        settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_TARGET": str(target)}
        return subprocess.run(
            [sys.executable, "-c", program, code],
            env={**os.environ, **settings, "PYTHONPATH": f"{pip}:{ROOT}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert install().returncode == 0  # no file, nothing to do
    (code / "requirements.txt").write_text("tide==1.0\n")
    done = install()
    assert done.returncode == 0, done.stderr
    assert (target / "tide.py").is_file()
    (code / "requirements.txt").write_text("ebb==1.0\n")
    assert (
        "requirements.txt cannot be installed: ERROR: No matching distribution found for ebb==1.0"
        in install().stderr
    )
