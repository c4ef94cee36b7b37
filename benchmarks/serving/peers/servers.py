"""Who is measured, how each is started, and its own request and answer format for the same rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

APPS = "benchmarks.serving.peers.apps"
INFER = "/v2/models/flights/infer"
ONNX, SKLEARN, NONE = "ONNX", "scikit-learn", "none"
REQUIREMENTS = Path(__file__).with_name("requirements")
"""A file of pins for each environment."""

Rows = Sequence[Mapping[str, Any]]
Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """What a server is started with."""

    bin: Path
    """Executables of its environment."""
    folder: Path
    """Its own, for configuration and log."""
    model: Path
    """Folder with the model's files."""
    port: int
    spare: tuple[int, int]
    """Two more free ports."""


@dataclass(frozen=True, slots=True)
class Server:
    """One line of the table."""

    name: str
    model: str
    venv: str
    """Name of its requirements; empty for the project's own environment."""
    start: Callable[[Place], Command]
    path: str
    body: Callable[[Rows], Any]
    scores: Callable[[Any], list[float]]
    """Probabilities of the second class in an answer."""
    environ: Mapping[str, str] = field(default_factory=dict)


def seaway(package: Path) -> tuple[Server, Server]:
    """The model server asked in two formats: SageMaker's records, and tensors as MLServer is asked."""

    def start(place: Place) -> Command:
        return (sys.executable, "-m", "serving", "--package", str(package), "--port", str(place.port))

    return (
        Server("Seaway", ONNX, "", start, "/invocations", _instances, _ours),
        Server("Seaway", ONNX, "", start, INFER, _inputs, _last),
    )


def peers() -> tuple[Server, ...]:
    found = [Server("MLflow", SKLEARN, "mlflow", _mlflow, "/invocations", _split, _nested("predictions"))]
    for model in (SKLEARN, ONNX):
        found.append(Server("MLServer", model, "mlserver", _mlserver(model), INFER, _tensors, _tensor))
        found.append(
            Server("BentoML", model, "bentoml", _bentoml, "/predict", _records, _nested(), dict(_BENTOML))
        )
        found.append(Server("Ray Serve", model, "ray", _ray, "/predict", _records, _nested(), dict(_RAY)))
    found.append(Server("uvicorn echo", NONE, "uvicorn", _uvicorn, "/", _instances, _echo))
    found.append(Server("Granian echo", NONE, "granian", _granian, "/", _instances, _echo))
    return tuple(found)


# --- how they start ----------------------------------------------------------------------------------------

_BENTOML = {"BENTOML_DO_NOT_TRACK": "True"}
_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # for high rates, says its documentation
    "RAY_worker_niceness": "0",  # else its workers yield to whatever else the machine does
}


def _mlflow(place: Place) -> Command:
    asked = ("models", "serve", "-m", str(place.model / "mlflow"), "--env-manager", "local", "--workers", "1")
    return (str(place.bin / "mlflow"), *asked, "--host", "127.0.0.1", "--port", str(place.port))


def _mlserver(model: str) -> Callable[[Place], Command]:
    def start(place: Place) -> Command:
        rest, metrics = place.spare
        settings = {"host": "127.0.0.1", "http_port": place.port, "grpc_port": rest, "metrics_port": metrics}
        quick = {"debug": False, "parallel_workers": 0}
        (place.folder / "settings.json").write_text(json.dumps({**settings, **quick}))
        if model == ONNX:
            chosen: dict[str, Any] = {"implementation": f"{APPS}.mlserver_onnx.Compiled"}
        else:
            uri = str(place.model / "model.pkl")
            chosen = {"implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": uri}}
        (place.folder / "model-settings.json").write_text(json.dumps({"name": "flights", **chosen}))
        return (str(place.bin / "mlserver"), "start", str(place.folder))

    return start


def _bentoml(place: Place) -> Command:
    service = ("serve", f"{APPS}.bentoml_service:service", "--host", "127.0.0.1", "--port", str(place.port))
    return ("env", f"BENTOML_HOME={place.folder}", str(place.bin / "bentoml"), *service)


def _ray(place: Place) -> Command:
    scratch = place.folder.parent / "ray"  # short: Ray's sockets lie deep below it
    return (
        "env",
        f"RAY_TMPDIR={scratch}",
        str(place.bin / "python"),
        "-m",
        f"{APPS}.ray_serve",
        str(place.port),
    )


def _uvicorn(place: Place) -> Command:
    return (
        str(place.bin / "uvicorn"),
        "--port",
        str(place.port),
        "--log-level",
        "error",
        f"{APPS}.echo:asgi",
    )


def _granian(place: Place) -> Command:
    asked = ("--host", "127.0.0.1", "--port", str(place.port), "--no-ws", "--http", "1", "--no-log")
    return (str(place.bin / "granian"), *asked, "--interface", "rsgi", f"{APPS}.echo:rsgi")


# --- what they are asked, and answer -----------------------------------------------------------------------


def _instances(rows: Rows) -> Any:
    return {"instances": list(rows)}


def _records(rows: Rows) -> Any:
    return {"rows": list(rows)}


def _split(rows: Rows) -> Any:
    names = list(rows[0])
    return {"dataframe_split": {"columns": names, "data": [[row[name] for name in names] for row in rows]}}


def _tensors(rows: Rows) -> Any:
    """For MLServer, whose `pd` codec makes a data frame of the tensors."""
    wanted = [{"name": "predict_proba"}]
    return {"parameters": {"content_type": "pd"}, **_inputs(rows), "outputs": wanted}


def _inputs(rows: Rows) -> dict[str, Any]:
    """The Open Inference Protocol: one tensor per column."""
    inputs = []
    for name, first in rows[0].items():
        text = isinstance(first, str)
        values = [row[name] if text else float(row[name]) for row in rows]
        kind: dict[str, Any] = {"datatype": "BYTES" if text else "FP64"}
        if text:
            kind["parameters"] = {"content_type": "str"}
        inputs.append({"name": name, "shape": [len(rows), 1], **kind, "data": values})
    return {"inputs": inputs}


def _ours(answer: Any) -> list[float]:
    return [one["score"] for one in answer["predictions"]]


def _last(answer: Any) -> list[float]:
    return list(answer["outputs"][-1]["data"])


def _tensor(answer: Any) -> list[float]:
    return [float(value) for value in answer["outputs"][0]["data"][1::2]]


def _nested(name: str = "") -> Callable[[Any], list[float]]:
    return lambda answer: [pair[1] for pair in (answer[name] if name else answer)]


def _echo(answer: Any) -> list[float]:
    """An echo knows no score."""
    return [] if "instances" in answer else [float("nan")]
