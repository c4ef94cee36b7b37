"""A fitted model to a model package: compiled when that is faithful, and rebuilt byte for byte."""

from __future__ import annotations

import pickle
import tempfile
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson
import pandas as pd

from serving import codecs, package
from serving.errors import ServingError
from serving.manifest import Input, Kind, Manifest, Runtime, Task
from serving.predictions import Predictions
from serving.predictor import OnnxPredictor, Predictor, SkopsPredictor, load_skops
from steps import boosting, speed
from steps.canonical import canonical
from steps.compile import Compiled, Compiling, compile_model, fallen_back
from steps.errors import Permanent
from steps.parity import Parity
from steps.reference import as_trained, columns_of, kinds, labels_of, reference_scores, signature

ARCHIVE = "model.tar.gz"
OWNERS = ("sklearn.", "numpy.", "scipy.")
"""Packages whose types may be loaded without being listed."""
KNOWN = ("functools.partial", *boosting.TYPES)
"""Further ones: what only holds others, each of which skops checks by itself, and fitted boosters."""
_DEPENDENCIES: dict[Runtime, tuple[str, ...]] = {
    "onnx": ("granian", "numpy", "onnxruntime", "orjson"),
    "skops": ("granian", "numpy", "orjson", "pandas", "scikit-learn", "scipy", "skops"),
    "pickle": ("granian", "numpy", "orjson", "pandas", "scikit-learn", "scipy"),
}
Beside = Callable[[Manifest, Predictions, Mapping[str, bytes]], Mapping[str, bytes]]
"""Makes further files of a package from its manifest, predictions of the hold-out, and files so far."""
BASELINE_ROWS = 20
"""Training rows in a package to explain predictions against."""
_TOLERATED = 1e-9
"""Largest difference between a trained model and itself loaded again."""


class PackRefused(Permanent):
    """No package can be made that answers as the model does; the message says what to change."""


@dataclass(frozen=True, slots=True)
class PackResult:
    """A written package."""

    archive: Path
    digest: str
    manifest: Manifest
    parity: Parity
    speed: tuple[speed.Speed, ...]
    """Seconds per call of both runtimes, by batch size; not in the package, since they differ every time."""
    listed_types: tuple[str, ...] = ()
    """Types of other packages that the caller listed, for whoever approves."""
    unlisted_types: tuple[str, ...] = ()
    """Types of other packages that nobody listed: the trained model is not in the package."""

    @property
    def report(self) -> dict[str, Any]:
        """What the step leaves for people and for the evidence, as plain data."""
        served = self.manifest
        return {
            "digest": self.digest,
            "bytes": self.archive.stat().st_size,
            "runtime": served.runtime,
            "trained_from": served.trained_from,
            "parity": asdict(self.parity),
            "quantisation": asdict(served.quantisation) if served.quantisation else None,
            "speed": [{**asdict(one), "ratio": one.ratio, "close": one.close} for one in self.speed],
            "inputs": [asdict(one) for one in served.inputs],
            "unlisted_types": list(self.unlisted_types),
        }


@dataclass(frozen=True, slots=True)
class _Stored:
    """The trained model as a file."""

    name: str
    content: bytes
    trusted: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    """Of `boosting.LIBRARIES`."""


def pack(  # noqa: PLR0913 - the whole description of a package, by name
    model: Any,
    frame: pd.DataFrame,
    *,
    name: str,
    task: Task,
    features: Collection[str],
    trained_on: pd.DataFrame,
    folder: Path,
    tolerance: float = 1e-4,
    sample_rows: int = 20,
    allow_pickle: bool = False,
    trusted_types: Collection[str] = (),
    provenance: Mapping[str, str] | None = None,
    compiling: Compiling = Compiling(),  # noqa: B008 - a frozen value
    beside: Beside | None = None,
) -> PackResult:
    """Write `model.tar.gz` into `folder`.

    Args:
        model: the fitted pipeline or estimator.
        frame: real rows it did not see, with at least the columns of `features`.
        name: name of the registered model.
        task: what is predicted.
        features: input columns in the order the model learned them.
        trained_on: the training rows; a column without a missing value there is required in requests.
        folder: where the archive goes.
        tolerance: largest difference of scores between the compiled and the trained model.
        sample_rows: rows kept as sample request with recorded predictions.
        allow_pickle: permit pickle when neither ONNX nor skops can hold the model.
        trusted_types: types outside scikit-learn, NumPy and SciPy that loading may construct.
        provenance: `data_digest`, `project`, `code_digest`.
        compiling: which runtime, and how small its weights.
        beside: makes further files, such as the folder `baseline/`, from the manifest, the packed model's
            predictions of `frame`, and the files so far.

    Raises:
        PackRefused: the model cannot be packed faithfully; the message says what to change.
    """
    columns = list(features)
    rows, seen = frame[columns], trained_on[columns]
    required = [column for column in columns if not _missing(seen[column]).any()]
    _check_model(model, rows, task)
    compiled = compile_model(
        model,
        rows,
        task,
        tolerance=tolerance,
        optional=set(columns) - set(required),
        compiling=compiling,
        seen=seen,
    )
    stored, unlisted = _store(
        model, set(trusted_types), allow_pickle=allow_pickle, needed=compiled.onnx is None
    )
    measured = measure(compiled.onnx, model, rows, task)
    trained_from = _trained_from(compiling, compiled, stored, measured)
    if trained_from == 1:
        reason = "the trained model answers batches of every size"
        compiled = fallen_back(replace(compiled.parity, reason=reason), compiling)
    runtime = _runtime(compiled, stored)
    manifest = Manifest(
        model=name,
        task=task,
        runtime=runtime,
        classes=labels_of(model, task),
        inputs=tuple(Input(column, kind, column in required) for column, kind in kinds(rows)),
        parity=compiled.parity.record,
        trusted_types=stored.trusted if stored else (),
        dependencies=_requirements(runtime, stored),
        provenance=tuple(sorted((provenance or {}).items())),
        allow_pickle=allow_pickle,
        trained_from=None if trained_from == 1 else trained_from,
        quantisation=compiled.quantisation,
    )
    files = {item.name: item.content for item in (stored,) if item}
    if compiled.onnx is not None:
        files[package.ONNX] = compiled.onnx
    predictor = _predictor(manifest, files)
    _check_served(predictor, model, rows, task, tolerance)
    if manifest.trained_from is not None:
        trained = _predictor(replace(manifest, runtime="skops", trained_from=None), files)
        _check_served(trained, model, rows, task, tolerance)
    files |= {
        package.SAMPLE: _sample(predictor, rows, sample_rows),
        package.BASELINE: baseline(seen, manifest),
        package.REQUIREMENTS: ("\n".join(_needed(manifest, stored)) + "\n").encode(),
        package.MANIFEST: manifest.to_json(),
    }
    if beside is not None:
        files |= beside(manifest, predictor.predict(columns_of(rows, manifest)), files)
    digest = _write(files, folder)
    listed = stored.listed if stored else ()
    return PackResult(folder / ARCHIVE, digest, manifest, compiled.parity, measured, listed, unlisted)


def measure(onnx: bytes | None, model: Any, rows: pd.DataFrame, task: Task) -> tuple[speed.Speed, ...]:
    """Seconds per call of both runtimes on real rows, repeated where there are too few, with one thread."""
    from threadpoolctl import threadpool_limits

    described = labels_of(model, task), kinds(rows)
    trained = SkopsPredictor(signature("skops", task, *described), model)
    compiled = None if onnx is None else OnnxPredictor(signature("onnx", task, *described), onnx)
    found = []
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for size in speed.SIZES:
            batch = rows.iloc[np.resize(np.arange(len(rows)), size)]
            calls = [
                partial(one.predict, columns_of(batch, one.manifest)) if one else None
                for one in (trained, compiled)
            ]
            found.append(speed.measure(size, cast("speed.Call", calls[0]), calls[1]))
    return tuple(found)


def _trained_from(
    compiling: Compiling, compiled: Compiled, stored: _Stored | None, measured: tuple[speed.Speed, ...]
) -> int | None:
    """The batch size from which on the trained model answers; None for never."""
    if compiled.onnx is None or compiling.runtime == "onnx":
        return None
    if stored is None:
        if compiling.trained_from is None:
            return None
        raise PackRefused("package.trained_from: the trained model cannot go into the package; remove it")
    return compiling.trained_from or speed.crossover(measured)


def _missing(column: pd.Series[Any]) -> pd.Series[bool]:
    return column.isna() | (column == "")


def _check_model(model: Any, rows: pd.DataFrame, task: Task) -> None:
    """The package says which class has the highest probability; `predict` must mean the same."""
    if rows.empty:
        raise PackRefused("there are no rows to check the model on; give a hold-out")
    if task == "regression":
        return
    if not hasattr(model, "predict_proba"):
        raise PackRefused("the classifier has no predict_proba; choose one that has, or calibrate it")
    classes = labels_of(model, task) or ()
    if (task == "binary") != (len(classes) == 2):
        raise PackRefused(f"the task is {task}, but the model knows {len(classes)} classes; set train.task")
    given = as_trained(model, rows)
    table = np.asarray(model.predict_proba(given))
    top = np.sort(table, axis=1)
    clear = top[:, -1] - top[:, -2] > _TOLERATED
    chosen = np.asarray(classes)[table.argmax(axis=1)]
    if (np.asarray(model.predict(given))[clear] != chosen[clear]).any():
        raise PackRefused("predict() of the model is not its most probable class; remove its own threshold")


def _store(
    model: Any, listed: set[str], *, allow_pickle: bool, needed: bool
) -> tuple[_Stored | None, tuple[str, ...]]:
    """The trained model as skops, or as pickle when permitted and needed; and the types nobody listed."""
    import skops.io

    try:
        content = canonical(skops.io.dumps(model))
        types = skops.io.get_untrusted_types(data=content)
        foreign = tuple(kind for kind in types if not kind.startswith(OWNERS) and kind not in KNOWN)
        unlisted = tuple(kind for kind in foreign if kind not in listed)
        problem = f"it holds {', '.join(unlisted)}; list them in trusted_types if you trust their code"
        if not unlisted:
            libraries = boosting.used(model)
            return _Stored(package.SKOPS, content, tuple(sorted(types)), foreign, libraries), ()
    except Exception as error:  # noqa: BLE001 - skops raises whatever the model's own classes raise
        unlisted, problem = (), f"skops cannot hold it: {type(error).__name__}: {error}"
    if not needed:
        return None, unlisted
    if allow_pickle:
        content = pickle.dumps(model, protocol=5)
        return _Stored(package.PICKLE, content, libraries=boosting.used(model)), unlisted
    raise PackRefused(f"the model has no faithful ONNX translation, and {problem}")


def _runtime(compiled: Compiled, stored: _Stored | None) -> Runtime:
    if compiled.onnx is not None or stored is None:
        return "onnx"
    return "skops" if stored.name == package.SKOPS else "pickle"


def _requirements(runtime: Runtime, stored: _Stored | None) -> tuple[str, ...]:
    """Exact versions of what serving needs, and of what loading the stored model needs."""
    names = set(_DEPENDENCIES[runtime])
    if stored is not None:
        names |= set(_DEPENDENCIES["skops" if stored.name == package.SKOPS else "pickle"])
        names |= set(boosting.requirements(stored.libraries))
    return tuple(f"{name}=={metadata.version(name)}" for name in sorted(names))


def _needed(manifest: Manifest, stored: _Stored | None) -> tuple[str, ...]:
    """Exact versions of what serving loads."""
    both = manifest.runtime != "onnx" or manifest.trained_from is not None
    return _requirements(manifest.runtime, stored if both else None)


def _predictor(manifest: Manifest, files: Mapping[str, bytes]) -> Predictor:
    """The model as the server will run it, from the bytes that go into the package."""
    if manifest.runtime == "onnx":
        return OnnxPredictor(manifest, files[package.ONNX])
    if manifest.runtime == "pickle":
        return SkopsPredictor(manifest, pickle.loads(files[package.PICKLE]))  # noqa: S301 - written above
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / package.SKOPS
        path.write_bytes(files[package.SKOPS])
        return SkopsPredictor(manifest, load_skops(path, manifest.trusted_types))


def _check_served(predictor: Predictor, model: Any, rows: pd.DataFrame, task: Task, tolerance: float) -> None:
    """The compiled model has passed its parity; a trained one must answer as before it was saved."""
    if predictor.manifest.runtime == "onnx":
        return
    expected = reference_scores(model, rows, task)
    try:
        found = predictor.predict(columns_of(rows, predictor.manifest)).scores
    except ServingError as error:
        raise PackRefused(f"the saved model cannot answer: {error}") from error
    difference = float(np.abs(found - expected).max())
    if difference > min(tolerance, _TOLERATED) * max(1.0, float(np.abs(expected).max())):
        raise PackRefused(
            f"the saved model answers differently, by {difference:.3g}; fit it on the input columns"
        )


def _sample(predictor: Predictor, rows: pd.DataFrame, wanted: int) -> bytes:
    """Rows spread evenly over the hold-out, as the request a caller would send, and its recorded answer."""
    manifest = predictor.manifest
    mandatory = [item.name for item in manifest.inputs if item.required]
    usable = rows[~rows[mandatory].apply(_missing).any(axis=1)] if mandatory else rows
    if usable.empty:
        raise PackRefused(
            "every hold-out row lacks a column that is never missing in training; check the data"
        )
    places = np.unique(np.linspace(0, len(usable) - 1, min(wanted, len(usable))).round().astype(int))
    request = {"instances": [_record(row, manifest) for _, row in usable.iloc[places].iterrows()]}
    try:
        columns = codecs.decode(orjson.dumps(request), codecs.JSON, manifest)
        answer = codecs.encode(predictor.predict(columns), codecs.JSON, manifest)
    except ServingError as error:
        raise PackRefused(f"the model cannot answer its sample: {error}") from error
    return orjson.dumps({"request": request, **orjson.loads(answer)}, option=orjson.OPT_INDENT_2) + b"\n"


def baseline(seen: pd.DataFrame, manifest: Manifest) -> bytes:
    """What predictions are explained against: one typical row, and a few rows of the training data.

    The typical row has each number's lower median and each text's most frequent value, the first in order
    when several are; missing values count only where nothing else is there.
    """
    places = np.unique(np.linspace(0, len(seen) - 1, min(BASELINE_ROWS, len(seen))).round().astype(int))
    rows = [_record(row, manifest) for _, row in seen.iloc[places].iterrows()]
    typical = pd.Series(
        {item.name: _typical(seen[item.name], item.type) for item in manifest.inputs}, dtype=object
    )
    content = {"typical": _record(typical, manifest), "rows": rows}
    return orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"


def _typical(column: pd.Series[Any], kind: Kind) -> float | str | None:
    there = column[~_missing(column)]
    if there.empty:
        return None
    if kind == "string":
        counts = there.astype(str).value_counts()
        return str(min(counts[counts == counts.max()].index))
    ordered = np.sort(there.to_numpy(np.float64))
    return float(ordered[(len(ordered) - 1) // 2])


def _record(row: pd.Series[Any], manifest: Manifest) -> dict[str, float | str | None]:
    found: dict[str, float | str | None] = {}
    for item in manifest.inputs:
        value = row[item.name]
        if item.type == "string":
            found[item.name] = "" if pd.isna(value) else str(value)
        else:
            found[item.name] = None if pd.isna(value) else float(value)
    return found


def _write(files: Mapping[str, bytes], folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        for name, content in files.items():
            file = Path(temporary) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return package.write(Path(temporary), folder / ARCHIVE)
