"""NumPy's `.npy`: rows by columns in model order, or a structured array whose fields are columns.

A one-dimensional plain array is one row. Pickled objects are never loaded. The header is checked against the
length of the body before anything is made of it, so a header cannot claim memory.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.codecs.columns import Array, Columns, check_size, from_arrays, order_of
from serving.codecs.layout import Layout
from serving.errors import BadBody
from serving.manifest import Input, Label, Manifest
from serving.predictions import Predictions

LABEL = "predicted_label"
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,
}


def decode(body: bytes, layout: Layout, most: int) -> Columns:
    """See `serving.codecs.decode`."""
    return columns(array(body), layout, most)


def columns(array: Array, layout: Layout, most: int) -> Columns:
    """Columns of an array of rows by columns, or of one whose fields are columns."""
    inputs = layout.inputs
    if array.dtype.names is not None:
        check_size(array.size, len(inputs), most)
        return from_arrays(_fields(array.reshape(-1), inputs), array.size, layout)
    if array.ndim == 1:
        array = array.reshape(1, -1)
    if array.ndim != 2:
        raise BadBody(f"the array has {array.ndim} dimensions; send rows by columns")
    check_size(len(array), len(inputs), most)
    if array.shape[1] != len(inputs):
        raise BadBody(f"the array has {array.shape[1]} columns, but {len(inputs)} are needed")
    names = [item.name for item in inputs]
    return from_arrays(dict(zip(names, array.T, strict=True)), len(array), layout)


def encode(predictions: Predictions, manifest: Manifest) -> bytes:
    """Scores of a regression as one dimension; else records of `predicted_label` and `score` or `scores`."""
    out = io.BytesIO()
    np.save(out, answer_array(predictions, manifest), allow_pickle=False)
    return out.getvalue()


def answer_array(predictions: Predictions, manifest: Manifest) -> Array:
    """The answer as an array, one element per row; see `encode`."""
    scores = score_array(predictions, manifest)
    if predictions.labels is None:
        return scores
    labels = label_array(predictions.labels, manifest)
    name = "score" if manifest.task == "binary" else "scores"
    kind = np.dtype([(LABEL, labels.dtype), (name, scores.dtype, scores.shape[1:])])
    answer = np.empty(len(scores), kind)
    answer[LABEL], answer[name] = labels, scores
    return answer


def score_array(predictions: Predictions, manifest: Manifest) -> Array:
    """Scores in the manifest's type of numbers, so that every answer of a model has the same type."""
    return predictions.scores.astype(manifest.number_type, copy=False)


def label_array(labels: tuple[Label, ...], manifest: Manifest) -> Array:
    """Labels in one type that holds every class: whole numbers, numbers, booleans, else texts."""
    kind = label_type(manifest)
    return np.array([str(label) for label in labels] if kind.kind == "U" else labels, kind)


def label_type(manifest: Manifest) -> np.dtype[Any]:
    """The NumPy type of the manifest's labels; the same for every answer of a model."""
    classes = manifest.classes or ()
    kinds = {type(label) for label in classes}
    if kinds == {bool}:
        return np.dtype(bool)
    if kinds == {int} and all(-(2**63) <= label < 2**63 for label in classes if isinstance(label, int)):
        return np.dtype(np.int64)
    if kinds == {float}:
        return np.dtype(np.float64)
    return np.dtype(f"<U{max((len(str(label)) for label in classes), default=1) or 1}")


def array(body: bytes) -> npt.NDArray[Any]:
    """What a file in `.npy` format holds, without unpickling.

    Raises:
        BadBody: it is none, or holds Python objects.
    """
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, kind = _READERS[version](stream)
        if version == (3, 0) and kind.names:  # its names are UTF-8, and read above as Latin-1
            kind.names = tuple(name.encode("latin-1").decode() for name in kind.names)
    except Exception as error:  # noqa: BLE001 - the header is a Python literal: parsing it may fail in any way
        problem = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise BadBody(f"the body is not an array in .npy format: {problem}") from None
    if kind.hasobject:
        raise BadBody("the array holds Python objects, which are never loaded; send numbers or text")
    count, left = math.prod(shape), len(body) - stream.tell()
    if kind.itemsize == 0 or min(shape, default=1) < 0 or count * kind.itemsize != left:
        raise BadBody(f"the array's header asks for {count} elements of {kind.itemsize} bytes, {left} follow")
    flat = np.frombuffer(body, kind, count, stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def _fields(array: Array, inputs: tuple[Input, ...]) -> Mapping[str, Array]:
    names = array.dtype.names or ()
    order_of(list(names), inputs)
    given = {item.name: array[item.name] for item in inputs if item.name in names}
    for name, values in given.items():
        if values.ndim != 1 or values.dtype.names is not None:
            raise BadBody(f"field {name!r} must hold one value per row", field=name)
    return given
