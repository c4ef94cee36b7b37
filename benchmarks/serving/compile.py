"""Compiled models beside the trained ones: answers, seconds per call by batch size, and time to load.

    python -m benchmarks.serving.compile [--json]

Four models learn the flights of examples/flights, with its text columns and missing values: the project's own
histogram gradient boosting, XGBoost, LightGBM, and a neural network that is also quantised. Each is compiled
and compared on the hold-out as the package step does it; one thread each, calls in turns. `load` tells what
serialising the graph that ONNX Runtime has optimised would gain at start-up. Exit status 1 when a model does
not compile faithfully, or a quantised one keeps no place within its limits without saying why.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine, stage
from configs.build import Train

BOOSTED = {"n_estimators": 80, "max_depth": 5}
SOURCES: dict[str, dict[str, Any]] = {
    "flights": {},
    "xgboost": {"estimator": "xgboost.XGBClassifier", "hyperparameters": BOOSTED},
    "lightgbm": {"estimator": "lightgbm.LGBMClassifier", "hyperparameters": {**BOOSTED, "verbosity": -1}},
}
ROUNDS = 15


def main() -> int:
    asked = machine.options(str(__doc__)).parse_args()
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as name:
        models, rows = _models(Path(name))
    found = [_compiled(name, model, rows, "none") for name, model in models.items()]
    found += [_compiled("network", models["network"], rows, mode) for mode in ("float16", "int8")]
    parity = [one["parity"] for one in found]
    speeds = [line for one in found for line in one["speed"]]
    loads = [one["load"] for one in found]
    result = {"machine": facts, "parity": parity, "speed": speeds, "load": loads}
    machine.show(result, [parity, speeds, loads], as_json=asked.json)
    return int(any(one["runtime"] != "onnx" for one in parity))


def _models(folder: Path) -> tuple[dict[str, Any], Any]:
    """Fitted models by name, and the rows of the hold-out."""
    from flows.making import Making
    from steps import table, train
    from steps.code import project_code

    making = Making.of(stage.PROJECT, folder / "runs")
    processed = making.process()
    seen, held = table.split(table.read(processed.folder), making.project)
    models = {}
    with project_code(making.loaded.folder):
        for name, recipe in SOURCES.items():
            project = making.project
            if recipe:
                project = project.model_copy(update={"train": Train(task=project.train.task, **recipe)})
            models[name] = train.fit(train.build(project), seen, project, 1)
        few = seen.head(20_000)
        models["network"] = train.fit(_network(making.project), few, making.project, 1)
    return models, held.select(table.columns(making.project.data.features)).to_pandas()


def _network(project: Any) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    count = len(project.data.features.numeric)
    numeric = list(range(count))
    text = list(range(count, count + len(project.data.features.categorical)))
    numbers = make_pipeline(SimpleImputer(strategy="constant", fill_value=0.0), StandardScaler())
    parts = [("n", numbers, numeric), ("c", OneHotEncoder(handle_unknown="ignore"), text)]
    network = MLPClassifier((256, 128), alpha=1.0, tol=1e-2, random_state=project.train.seed)
    return make_pipeline(ColumnTransformer(parts), network)


def _compiled(name: str, model: Any, rows: Any, mode: Any) -> dict[str, Any]:
    from steps.compile import Compiling, compile_model
    from steps.pack import measure
    from steps.parity import Limits

    limits = Limits(5e-2 if mode == "int8" else 5e-3, 0.99)
    optional = [column for column in rows if bool((rows[column].isna() | (rows[column] == "")).any())]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = compile_model(
            model, rows, "binary", optional=optional, compiling=Compiling(quantise=mode, quantised=limits)
        )
    label = name if mode == "none" else f"{name}, {mode}"
    reason = made.parity.reason or (made.quantisation.reason if made.quantisation else None)
    return {
        "parity": {
            "model": label,
            "runtime": "onnx" if made.onnx else "sklearn",
            "rows": made.parity.rows,
            "max difference": f"{made.parity.max_abs_difference or 0:.1e}",
            "rank agreement": f"{made.parity.rank_agreement or 0:.4f}",
            "KiB": len(made.onnx or b"") / 1024,
            "reason": reason or "",
        },
        "speed": [
            {
                "model": label,
                "rows": one.rows,
                "sklearn ms": 1000 * one.sklearn,
                "onnx ms": 1000 * (one.onnx or 0),
                "sklearn / onnx": one.ratio or 0.0,
            }
            for one in measure(made.onnx, model, rows, "binary")
        ],
        "load": {"model": label, **_loads(made.onnx or b"")},
    }


def _loads(onnx: bytes) -> dict[str, float]:
    """Median milliseconds to a session: as packages are loaded, and from the graph optimised beforehand."""
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel

    def session(model: bytes, level: Any, saved: str = "") -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = level
        options.log_severity_level = 3
        options.optimized_model_filepath = saved
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "optimised.onnx"
        session(onnx, levels.ORT_ENABLE_EXTENDED, str(saved))
        optimised = saved.read_bytes()
    calls: dict[str, Callable[[], object]] = {
        "as packaged, ms": lambda: session(onnx, levels.ORT_ENABLE_ALL),
        "optimised beforehand, ms": lambda: session(optimised, levels.ORT_DISABLE_ALL),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - began)
    return {name: 1000 * statistics.median(found) for name, found in taken.items()}


if __name__ == "__main__":
    sys.exit(main())
