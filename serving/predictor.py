"""From an unpacked package to a model that answers.

A compiled model needs ONNX Runtime alone. The trained model needs scikit-learn, and pandas when it
learned on named columns. Nothing is loaded that the manifest does not permit.

A manifest with `trained_from` wants both: the compiled model for small batches, the trained one for large
ones. The trained one is loaded when the first large batch comes, so that a server that never sees one stays
small.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from serving import codecs, package
from serving.codecs import Columns
from serving.codecs.layout import names as names_of
from serving.errors import BadBody, ModelFailed, ModelRefused, PackageDamaged
from serving.feeding import Feeding
from serving.manifest import Manifest
from serving.predictions import Predictions, from_probabilities

ALLOW_PICKLE = "SEAWAY_ALLOW_PICKLE"
"""Set to 1 where models may be loaded by pickle; the manifest must permit it too."""

log = logging.getLogger("serving")


class Predictor(Protocol):
    """A loaded model."""

    @property
    def manifest(self) -> Manifest:
        """What it takes and answers."""
        ...

    def predict(self, columns: Columns) -> Predictions:
        """Answer rows given as columns of shape (rows, 1).

        Raises:
            ModelFailed: the model raised, or a score is not finite.
        """
        ...


def load(folder: Path, environ: Mapping[str, str] | None = None) -> Predictor:
    """Load the model of an unpacked package by its manifest's runtime, and answer its sample once.

    Raises:
        PackageDamaged: a file is missing or cannot be read.
        ManifestInvalid: the manifest cannot be used.
        ModelRefused: the model needs types or a format that are not trusted.
        ModelFailed: it cannot answer its own sample.
    """
    manifest = package.load_manifest(folder)
    predictor: Predictor
    if manifest.runtime == "onnx":
        predictor = OnnxPredictor(manifest, _file(folder, package.ONNX).read_bytes())
    elif manifest.runtime == "skops":
        predictor = _trained(folder, manifest)
    else:
        predictor = SkopsPredictor(
            manifest, _unpickle(folder, manifest, os.environ if environ is None else environ)
        )
    sample = _file(folder, package.SAMPLE).read_bytes()
    warm_up(predictor, sample)
    if manifest.trained_from is None:
        return predictor

    def large() -> Predictor:
        trained = _trained(folder, manifest)
        warm_up(trained, sample)
        return trained

    return BySize(predictor, manifest.trained_from, large)


def warm_up(predictor: Predictor, sample: bytes) -> None:
    """Answer the recorded sample once, so that the first caller does not pay for first-time work.

    Raises:
        PackageDamaged: the sample does not fit the manifest.
        ModelFailed: the model cannot answer it.
    """
    import orjson

    try:
        body = orjson.dumps(orjson.loads(sample)["request"])
        columns = codecs.decode(body, codecs.JSON, predictor.manifest)
    except (BadBody, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise PackageDamaged(f"{package.SAMPLE} does not fit {package.MANIFEST}: {error}") from error
    codecs.encode(predictor.predict(columns), codecs.JSON, predictor.manifest)


class OnnxPredictor:
    """A compiled model in ONNX Runtime, one thread."""

    def __init__(self, manifest: Manifest, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the bindings raise a class per status, without a common base
            raise PackageDamaged(f"{package.ONNX} cannot be loaded: {error}") from error
        self.manifest = manifest
        names = [item.name for item in self._session.get_inputs()]
        layout = codecs.Layout(manifest)
        try:
            self._feeds = Feeding(names, names_of(layout.inputs), names_of(layout.numbers))
        except ValueError:
            problem = f"{package.ONNX} takes {len(names)} inputs, {package.MANIFEST} names others"
            raise PackageDamaged(problem) from None
        self._outputs = [self._session.get_outputs()[-1].name]
        self._double = manifest.number_type == "float64"

    def predict(self, columns: Columns) -> Predictions:
        """See `Predictor.predict`."""
        if self._double:
            columns = _in_single(columns)
        try:
            scores = self._session.run(self._outputs, self._feeds(columns))[0]
        except Exception as error:  # as above
            raise ModelFailed(f"the model cannot answer: {error}") from error
        return _predictions(self.manifest, scores)


class SkopsPredictor:
    """A trained scikit-learn model, called as it was in training."""

    def __init__(self, manifest: Manifest, model: Any) -> None:
        self.manifest = manifest
        self._call = model.predict if manifest.task == "regression" else model.predict_proba
        self._model = model

    def predict(self, columns: Columns) -> Predictions:
        """See `Predictor.predict`."""
        try:
            scores = np.asarray(self._call(arranged(self._model, columns)), dtype=np.float64)
        except Exception as error:  # an estimator may raise anything
            raise ModelFailed(f"the model cannot answer: {type(error).__name__}: {error}") from error
        return _predictions(self.manifest, scores)


class BySize:
    """Two runtimes of one model: large batches go to the trained model, all others to the compiled one.

    The first large batch begins to load the trained model in a thread; until it is there, and for ever when
    it cannot be loaded, the compiled model answers everything.
    """

    def __init__(self, compiled: Predictor, trained_from: int, load: Callable[[], Predictor]) -> None:
        self.manifest = compiled.manifest
        self.settled = threading.Event()
        """Set when the trained model is loaded, or was given up."""
        self.compiled = compiled
        """What answers small batches."""
        self._trained: Predictor | None = None
        self._trained_from = trained_from
        self._load = load
        self._begun = threading.Lock()

    def predict(self, columns: Columns) -> Predictions:
        """See `Predictor.predict`."""
        if len(next(iter(columns.values()))) < self._trained_from:
            return self.compiled.predict(columns)
        if self._trained is None and self._begun.acquire(blocking=False):  # never released: one attempt
            threading.Thread(target=self._fetch, name="trained model", daemon=True).start()
        return (self._trained or self.compiled).predict(columns)

    def _fetch(self) -> None:
        try:
            self._trained = self._load()
        except Exception:
            log.exception("the trained model cannot be loaded; the compiled one answers large batches too")
        finally:
            self.settled.set()


def learned_names(model: Any) -> bool:
    """The model wants a data frame with the names it learned. LightGBM invents names for plain arrays."""
    names = getattr(model, "feature_names_in_", None)
    return names is not None and list(names) != [f"Column_{n}" for n in range(len(names))]


def arranged(model: Any, columns: Columns) -> Any:
    """Columns as the model learned on them: a data frame when it learned names, else an array by position.

    The array holds floating point, or objects as soon as one column is text.
    """
    if not learned_names(model):
        return np.hstack(list(columns.values()))
    import pandas as pd

    return pd.DataFrame({name: values[:, 0] for name, values in columns.items()})


def load_skops(path: Path, trusted_types: tuple[str, ...]) -> Any:
    """A model saved by skops; constructs only types of skops' own list and of `trusted_types`.

    Raises:
        ModelRefused: the file holds another type; the message names it.
        PackageDamaged: the file cannot be read.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=list(trusted_types))
    except UntrustedTypesFoundException as error:
        raise ModelRefused(
            f"{package.SKOPS} holds types that {package.MANIFEST} does not trust: {error}"
        ) from error
    except Exception as error:  # skops lets errors of zip, JSON and every constructor through
        raise PackageDamaged(f"{package.SKOPS} cannot be loaded: {type(error).__name__}: {error}") from error


def _trained(folder: Path, manifest: Manifest) -> Predictor:
    return SkopsPredictor(manifest, load_skops(_file(folder, package.SKOPS), manifest.trusted_types))


def _unpickle(folder: Path, manifest: Manifest, environ: Mapping[str, str]) -> Any:
    if not manifest.allow_pickle:
        raise ModelRefused("the model is a pickle, and its project does not set package.allow_pickle")
    if environ.get(ALLOW_PICKLE) != "1":
        raise ModelRefused(f"the model is a pickle; set {ALLOW_PICKLE}=1 where you trust whoever built it")
    with _file(folder, package.PICKLE).open("rb") as stream:
        return pickle.load(stream)  # noqa: S301 - permitted twice, by the project and by the machine


def _file(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise PackageDamaged(f"the package lacks {name}")
    return folder / name


def _in_single(columns: Columns) -> Columns:
    """The columns in the precision of a compiled model, which the codec has not seen to."""
    if isinstance(columns, codecs.Block):
        with np.errstate(over="ignore"):
            numbers = columns.numbers.astype(np.float32)
        if not np.isinf(numbers).any():
            return replace(columns, numbers=numbers)
    return {name: _single(name, values) for name, values in columns.items()}


def _single(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype != np.float64:
        return values
    with np.errstate(over="ignore"):
        column = values.astype(np.float32)
    if np.isinf(column).any():
        row = int(np.argmax(np.isinf(column)))
        raise BadBody(f"{name!r} in row {row} is too large a number; send a smaller one", field=name, row=row)
    return column


def _predictions(manifest: Manifest, scores: npt.NDArray[np.floating]) -> Predictions:
    # A sum of squares tells in one step that all are finite, unless it overflows.
    if not (np.vdot(scores, scores) < np.inf or np.isfinite(scores).all()):
        row = int(np.argwhere(~np.isfinite(scores))[0][0])
        raise ModelFailed(f"the model's score for row {row} is not a finite number")
    if manifest.task == "regression":
        return Predictions(scores.reshape(-1), None)
    if scores.shape != (len(scores), len(manifest.classes or ())):
        raise ModelFailed("the model does not answer one probability per class of its manifest")
    return from_probabilities(manifest, scores)
