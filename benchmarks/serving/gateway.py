"""One-row predictions: Seaway through its gateway, Seaway called directly, and `mlflow models serve`.

    python -m benchmarks.serving.gateway [--seconds 5] [--json]

All three serve the same scikit-learn model of examples/flights, each with one process and one thread per
numeric library: Seaway its compiled package behind Envoy (one worker thread), MLflow its default FastAPI
scoring server on uvicorn with one worker, no model signature (which would add checks to each request) and
`dataframe_split`, its quickest JSON. The script stops unless all answer the same probability to 1e-5. Exit
status 1 when a request failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import load, machine, stage

CLIENTS = (1, 8, 32)
GOAL = 10.0
WARM_UP_SECONDS = 2


def main() -> int:
    parser = machine.options(str(__doc__))
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    asked = parser.parse_args()
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as name:
        places = _measure(Path(name), asked.seconds)
    ratios = [_ratios(places, clients) for clients in CLIENTS]
    rows = [
        {"server": server, "clients": clients, **asdict(found)}
        for clients in CLIENTS
        for server, by_clients in places.items()
        for found in (by_clients[clients],)
    ]
    shown = [{_HEADS.get(key, key): value for key, value in row.items()} for row in rows]
    machine.show({"machine": facts, "ratios": ratios, "figures": rows}, [ratios, shown], as_json=asked.json)
    return int(any(row["failures"] for row in rows))


_HEADS = {"per_second": "requests/s", "p50": "p50 ms", "p99": "p99 ms"}


def _measure(folder: Path, seconds: int) -> dict[str, dict[int, load.Figures]]:
    built = stage.build(folder)
    ours = json.dumps({"instances": [built.row]}).encode()
    theirs = json.dumps({"dataframe_split": {"columns": list(built.row), "data": [list(built.row.values())]}})
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(stage.model_server(built.package, folder / "serving.log"))
        gateway = stack.enter_context(stage.gateway(folder))
        gateway.serve({stage.fleet("v1"): [port]})
        mlflow = stack.enter_context(_mlflow(folder, built))
        places = {
            "seaway, gateway": (gateway.invocations, ours),
            "seaway, direct": (f"http://127.0.0.1:{port}/invocations", ours),
            "mlflow": (f"{mlflow}/invocations", theirs.encode()),
        }
        _same_answer(places)
        for url, body in places.values():
            load.measure(url, body, 8, WARM_UP_SECONDS)
        found: dict[str, dict[int, load.Figures]] = {name: {} for name in places}
        for clients in CLIENTS:  # one server after the other, so that a busy minute hits all of them
            for name, (url, body) in places.items():
                found[name][clients] = load.measure(url, body, clients, seconds)
        return found


@contextlib.contextmanager
def _mlflow(folder: Path, built: stage.Built) -> Iterator[str]:
    import mlflow.sklearn

    from steps import train

    model = train.load(built.trained, stage.PROJECT.parent)
    saved = folder / "mlflow-model"
    mlflow.sklearn.save_model(
        model,
        saved,
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        pip_requirements=["scikit-learn"],
    )
    port = stage.free_port()
    arguments = (
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(saved),
        "--env-manager",
        "local",
        "--workers",
        "1",
    )
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environ = {**single, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": _path()}
    with stage.running(
        (sys.executable, *arguments, "--host", "127.0.0.1", "--port", str(port)),
        folder / "mlflow.log",
        environ,
    ):
        url = f"http://127.0.0.1:{port}"
        stage.await_true(lambda: stage.pings(url), "MLflow's scoring server")
        yield url


def _path() -> str:
    """MLflow starts uvicorn by name."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def _same_answer(places: dict[str, tuple[str, bytes]]) -> None:
    scores = {name: _score(stage.post(url, body)) for name, (url, body) in places.items()}
    if max(scores.values()) - min(scores.values()) > 1e-5:
        raise SystemExit(f"the servers answer differently ({scores}); there is nothing to compare")


def _score(answer: dict[str, Any]) -> float:
    first = answer["predictions"][0]
    return float(first["score"] if isinstance(first, dict) else first[1])


def _ratios(places: dict[str, dict[int, load.Figures]], clients: int) -> dict[str, Any]:
    ours, direct, theirs = (found[clients] for found in places.values())
    ratio = ours.per_second / theirs.per_second
    return {
        "clients": clients,
        "throughput, gateway / mlflow": ratio,
        "goal 10x": "met" if ratio >= GOAL else "missed",
        "throughput, direct / mlflow": direct.per_second / theirs.per_second,
        "p50, mlflow / gateway": theirs.p50 / ours.p50,
        "gateway adds to p50, ms": ours.p50 - direct.p50,
    }


if __name__ == "__main__":
    sys.exit(main())
