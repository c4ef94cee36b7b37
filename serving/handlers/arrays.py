"""Bodies to arrays and back, for user code that brings no `input_fn` or no `output_fn`.

JSON, CSV and NumPy's own file formats. What comes out has two dimensions, a row for each thing to predict;
numbers that came as text are float32. Nothing that could run code is decoded: `.npy` and `.npz` without
pickle.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from serving.codecs import lenient
from serving.errors import BadBody, ModelFailed, NotAcceptable, UnsupportedContentType

JSON, CSV, NPY, NPZ = "application/json", "text/csv", "application/x-npy", "application/x-npz"
SUPPORTED = (JSON, CSV, NPY)
"""Formats that are read and written; `.npz` is only read."""
MOST_BYTES = 200 * 1024 * 1024
"""What one `.npz` may unpack to."""
TEXT = frozenset({JSON, CSV})
"""Formats whose bodies are text."""

Array = npt.NDArray[Any]


def media(content_type: str) -> str:
    """The format's name alone, in lower case; JSON when there is none."""
    return content_type.partition(";")[0].strip().lower() or JSON


def decode(body: bytes, content_type: str, dtype: npt.DTypeLike = np.float32) -> Array:
    """The array that a body holds, with at least two dimensions.

    Args:
        body: the body.
        content_type: its format.
        dtype: what text becomes; NumPy's own formats bring theirs.

    Raises:
        UnsupportedContentType: none of the four formats.
        PayloadTooLarge: it would unpack to too much.
        BadBody: it does not hold a table of numbers.
    """
    match media(content_type):
        case "application/json":
            found = _from_json(body, np.dtype(dtype))
        case "text/csv":
            found = _from_csv(body, np.dtype(dtype))
        case "application/x-npy":
            found = _from_npy(body)
        case "application/x-npz":
            found = _from_npz(body)
        case other:
            raise UnsupportedContentType(
                f"content type {other!r} is not read; send {' or '.join((*SUPPORTED, NPZ))}, "
                "or write an input_fn"
            )
    return found.reshape(1, -1) if found.ndim < 2 else found


def choose(accept: str) -> str:
    """The first format in `accept` that `encode` can write.

    Raises:
        NotAcceptable: there is none.
    """
    for item in accept.split(","):
        match item.partition(";")[0].strip().lower():
            case "*/*" | "application/*" | "":
                return JSON
            case "text/*":
                return CSV
            case name if name in SUPPORTED:
                return name
    raise NotAcceptable(
        f"cannot answer in {accept!r}; accept {' or '.join(SUPPORTED)}, or write an output_fn"
    )


def encode(prediction: Any, name: str) -> bytes:
    """The prediction in the format `name`, one of `SUPPORTED`.

    Raises:
        ModelFailed: the prediction is nothing that fits it.
    """
    if name == JSON:
        return _to_json(prediction)
    table = np.asarray(prediction)
    if table.dtype.hasobject and name == NPY:
        raise ModelFailed("the prediction holds Python objects, which .npy could only hold by pickle")
    return _to_npy(table) if name == NPY else _to_csv(table)


def _from_json(body: bytes, dtype: np.dtype[Any]) -> Array:
    try:
        value = lenient.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadBody(f"the body is not valid JSON: {error}") from None
    if isinstance(value, dict) and set(value) == {"instances"}:
        value = value["instances"]
    try:
        with np.errstate(over="ignore"):
            found = np.array(value, dtype=dtype)
    except (TypeError, ValueError, OverflowError):
        raise BadBody("send a list of rows of numbers, all of one length, or write an input_fn") from None
    if found.dtype.kind == "f" and (infinite := np.isinf(found)).any():
        row = int(np.argwhere(infinite)[0][0]) if found.ndim > 1 else 0
        raise BadBody(f"row {row} holds a number that is too large; send finite ones", row=row)
    return found


def _from_csv(body: bytes, dtype: np.dtype[Any]) -> Array:
    try:
        text = body.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadBody(f"the body is not valid CSV in UTF-8: {error}") from None
    if not lines:
        raise BadBody("the body has no rows; send at least one")
    for row, line in enumerate(lines):
        if len(line) != len(lines[0]):
            problem = f"row {row} has {len(line)} values, but the first one has {len(lines[0])}"
            raise BadBody(problem, row=row)
    if dtype.kind in "UO":
        return np.array(lines, dtype=dtype)
    if dtype.kind in "iu":  # not by way of floats, which hold 53 bits
        try:
            return np.array(lines).astype(dtype)
        except (ValueError, OverflowError) as error:
            raise BadBody(f"a cell holds no whole number of type {dtype}: {error}") from None
    numbers = np.array([[_cell(cell, row) for cell in line] for row, line in enumerate(lines)])
    with np.errstate(over="ignore"):
        return numbers.astype(dtype)


def _cell(cell: str, row: int) -> float:
    if not cell.strip():
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        raise BadBody(f"row {row} holds {cell[:60]!r}, which is no number", row=row) from None


def _from_npy(body: bytes) -> Array:
    """The header is checked before anything is made, so a short body cannot ask for much memory."""
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_2_0 if version[0] > 1 else np.lib.format.read_array_header_1_0
        shape, fortran, kind = read(stream)
        if kind.hasobject:
            raise BadBody("the .npy body holds Python objects; send numbers")
        flat = np.frombuffer(body, kind, int(np.prod(shape, dtype=object)), stream.tell())
        return flat.reshape(shape, order="F" if fortran else "C")
    except (ValueError, OverflowError, TypeError) as error:
        raise BadBody(f"the body is not a complete .npy file: {error}") from None


def _from_npz(body: bytes) -> Array:
    """The array of an archive that holds one."""
    from serving.codecs import npz

    found = npz.members(body, MOST_BYTES)
    if len(found) != 1:
        raise BadBody(
            f"the .npz holds {len(found)} arrays; send one of rows by columns, or write an input_fn"
        )
    return next(iter(found.values()))


def _to_json(prediction: Any) -> bytes:
    try:
        return orjson.dumps(prediction, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        pass
    try:  # text, sparse and strided arrays, keys that are numbers, and what can become plain lists
        return orjson.dumps(prediction, _plain, orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    except TypeError:
        pass
    try:  # integers beyond 64 bits
        return json.dumps(prediction, default=_plain, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ModelFailed(
            f"the prediction cannot be written as JSON ({error}); write an output_fn"
        ) from error


def _plain(value: Any) -> Any:
    """Whatever has a list of its own, else what NumPy makes of it."""
    listed = value.tolist() if hasattr(value, "tolist") else np.asarray(value).tolist()
    if listed is value:
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return listed


def _to_csv(table: Array) -> bytes:
    if table.ndim > 2:
        raise ModelFailed("a prediction with more than two dimensions is no CSV; accept JSON")
    out = io.StringIO(newline="")
    rows = table if table.ndim == 2 else table.reshape(-1, 1)
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def _to_npy(table: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, table, allow_pickle=False)
    return out.getvalue()
