"""Tensors of the Open Inference Protocol: to the columns a model takes, and from what it answered.

An input is one tensor of shape [n] or [n, 1] per column, by name; or a single tensor of shape [n, columns]
in model order. Beyond the protocol, `null` in a JSON tensor of numbers or text is a missing value.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.codecs.columns import Array, Columns, check_size, from_arrays, order_of, plain
from serving.codecs.layout import Layout
from serving.codecs.npy import LABEL, label_array, label_type, score_array
from serving.errors import BadBody
from serving.manifest import Input, Manifest
from serving.predictions import Predictions

_TYPES = {
    "BOOL": np.dtype("?"),
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_TAKEN = (*_TYPES, "BYTES")
_WHOLE = frozenset({int})
_PYTHON_TYPES: Mapping[object, frozenset[type]] = {
    "BYTES": frozenset({str, type(None)}),
    "BOOL": frozenset({bool, int, type(None)}),
    **{name: frozenset({int, type(None)}) for name in _TYPES if "INT" in name},
    **{name: frozenset({int, float, type(None)}) for name in _TYPES if name.startswith("FP")},
}
"""What the values of a JSON tensor may be; None is missing."""
_RANGES: Mapping[str, tuple[int, int]] = {
    "BOOL": (0, 1),
    **{
        name: (int(np.iinfo(kind).min), int(np.iinfo(kind).max))
        for name, kind in _TYPES.items()
        if "INT" in name
    },
}
"""What whole numbers of a type may be."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input tensor as it was sent."""

    name: str
    kind: str
    shape: tuple[int, ...]
    values: Array
    """Flat: numbers, booleans, or texts as objects; None is a missing text, NaN a missing number."""

    @property
    def rows(self) -> int:
        """Length of the first dimension."""
        return self.shape[0]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which outputs the caller wants, and which of them in binary."""

    names: tuple[str, ...]
    binary: frozenset[str]

    @classmethod
    def of(cls, content: Mapping[str, Any], manifest: Manifest) -> Selection:
        """What a request asks for; all outputs when it does not say.

        Raises:
            BadBody: there is no such output.
        """
        known = tuple(item["name"] for item in output_metadata(manifest))
        everywhere = _flag(_parameters(content), "binary_data_output")
        asked = content.get("outputs")
        if not asked:
            return cls(known, frozenset(known if everywhere else ()))
        names: list[str] = []
        binary: set[str] = set()
        for item in _objects(asked, "outputs"):
            name = str(item.get("name"))
            if name not in known:
                raise BadBody(f"there is no output {name[:100]!r}; the outputs are {', '.join(known)}")
            names.append(name)
            if _flag(_parameters(item), "binary_data", default=everywhere):
                binary.add(name)
        return cls(tuple(dict.fromkeys(names)), frozenset(binary))

    def encode(
        self, predictions: Predictions, manifest: Manifest
    ) -> tuple[list[dict[str, Any]], list[bytes]]:
        """The output tensors, and the bytes that follow the JSON."""
        made = _outputs(predictions, manifest)
        described, binary = [], []
        for name in self.names:
            values = made[name]
            item: dict[str, Any] = {
                "name": name,
                "datatype": _name(values.dtype),
                "shape": list(values.shape),
            }
            if name in self.binary:
                binary.append(_to_bytes(values))
                item["parameters"] = {"binary_data_size": len(binary[-1])}
            else:
                item["data"] = _to_json(values)
            described.append(item)
        return described, binary


def input_metadata(manifest: Manifest) -> list[dict[str, Any]]:
    """Name, type and shape of each input."""
    number = "FP32" if manifest.number_type == "float32" else "FP64"
    return [
        {"name": item.name, "datatype": number if item.type == "double" else "BYTES", "shape": [-1]}
        for item in manifest.inputs
    ]


def output_metadata(manifest: Manifest) -> list[dict[str, Any]]:
    """Name, type and shape of each output."""
    number = "FP32" if manifest.number_type == "float32" else "FP64"
    if manifest.task == "regression":
        return [{"name": "score", "datatype": number, "shape": [-1]}]
    label = {"name": LABEL, "datatype": _name(label_type(manifest)), "shape": [-1]}
    if manifest.task == "binary":
        return [label, {"name": "score", "datatype": number, "shape": [-1]}]
    return [label, {"name": "scores", "datatype": number, "shape": [-1, len(manifest.classes or ())]}]


def columns(content: Mapping[str, Any], binary: bytes, layout: Layout, most: int) -> Columns:
    """Columns of the tensors of a request.

    Raises:
        BadBody: a tensor is malformed or does not fit the inputs; the message names it.
        PayloadTooLarge: more values than `most`.
    """
    if not binary and (plain := _plain(content, layout, most)) is not None:
        return plain
    found = _tensors(content, binary)
    inputs = layout.inputs
    names = {item.name for item in inputs}
    if len(found) == 1 and (found[0].name not in names or _width(found[0]) != 1):
        arrays = _matrix(found[0], inputs)
    else:
        arrays = _by_name(found, inputs)
    check_size(found[0].rows, len(inputs), most)
    return from_arrays(arrays, found[0].rows, layout)


def _plain(content: Mapping[str, Any], layout: Layout, most: int) -> Columns | None:
    """Columns of one JSON tensor per input, all values there; None when it must be looked at more closely."""
    given = content.get("inputs")
    if type(given) is not list or len(given) != len(layout.inputs) or type(given[0]) is not dict:
        return None
    data: dict[str, list[Any]] = {}
    shape, first = given[0].get("shape"), given[0].get("data")
    rows = len(first) if type(first) is list else 0
    if not rows or shape not in ([rows], [rows, 1]):
        return None
    for item in given:
        values = _plain_values(item, shape, rows)
        if values is None:
            return None
        data[item["name"]] = values
    if any(item.name not in data for item in layout.inputs):
        return None
    check_size(rows, len(given), most)
    return plain(
        list(zip(*(data[item.name] for item in layout.inputs), strict=True)), layout.by_place, layout
    )


def _plain_values(item: Any, shape: list[int], rows: int) -> list[Any] | None:
    """The values of a tensor that is as the others, and that has them in JSON."""
    if type(item) is not dict or item.get("shape") != shape or type(item.get("name")) is not str:
        return None
    if not _WHOLE.issuperset(map(type, item["shape"])):
        return None
    values, parameters = item.get("data"), item.get("parameters")
    if type(values) is not list or len(values) != rows:
        return None
    if parameters and (type(parameters) is not dict or "binary_data_size" in parameters):
        return None
    kind = item.get("datatype")
    if type(kind) is not str or kind not in _PYTHON_TYPES or (kind == "BYTES" and None in values):
        return None
    if not _PYTHON_TYPES[kind].issuperset(map(type, values)):
        return None
    return values if kind not in _RANGES or _outside(values, kind) is None else None


def _outside(values: list[Any], kind: str) -> int | None:
    """The place of the first number that its type cannot hold; None when all fit."""
    least, most = _RANGES[kind]
    given = [value for value in values if value is not None]
    if not given or (min(given) >= least and max(given) <= most):
        return None
    return next(n for n, value in enumerate(values) if value is not None and not least <= value <= most)


def _matrix(tensor: Tensor, inputs: Sequence[Input]) -> dict[str, Array]:
    """A tensor of all columns in model order."""
    if len(tensor.shape) != 2 or tensor.shape[1] != len(inputs):
        raise BadBody(
            f"tensor {tensor.name[:100]!r} has the shape {list(tensor.shape)}; send one tensor per input, "
            f"or one of the shape [rows, {len(inputs)}]",
            field=tensor.name[:100],
        )
    table = tensor.values.reshape(tensor.shape)
    return {item.name: table[:, place] for place, item in enumerate(inputs)}


def _by_name(found: list[Tensor], inputs: Sequence[Input]) -> dict[str, Array]:
    order = order_of([tensor.name for tensor in found], inputs)
    for tensor in found:
        if _width(tensor) != 1:
            problem = f"tensor {tensor.name[:100]!r} must have the shape [n] or [n, 1]"
            raise BadBody(problem, field=tensor.name[:100])
        if tensor.rows != found[0].rows:
            problem = f"tensor {tensor.name[:100]!r} has {tensor.rows} rows, the first one {found[0].rows}"
            raise BadBody(problem, field=tensor.name[:100])
    return {
        item.name: found[place].values for item, place in zip(inputs, order, strict=True) if place is not None
    }


def _width(tensor: Tensor) -> int:
    return tensor.shape[1] if len(tensor.shape) == 2 else 1


def _tensors(content: Mapping[str, Any], binary: bytes) -> list[Tensor]:
    found = []
    for item in _objects(content.get("inputs"), "inputs"):
        size = _parameters(item).get("binary_data_size")
        if size is None:
            found.append(_tensor(item, None))
            continue
        if type(size) is not int or not 0 <= size <= len(binary):
            raise BadBody("binary_data_size asks for more bytes than the body holds")
        found.append(_tensor(item, binary[:size]))
        binary = binary[size:]
    if not found:
        raise BadBody("inputs must hold at least one tensor")
    if binary:
        raise BadBody(f"{len(binary)} bytes follow the last tensor")
    return found


def _tensor(item: Mapping[str, Any], raw: bytes | None) -> Tensor:
    name, kind, shape = item.get("name"), item.get("datatype"), item.get("shape")
    if not isinstance(name, str):
        raise BadBody("every tensor needs a name")
    if kind not in _TAKEN:
        raise _wrong(name, f"has the type {str(kind)[:50]!r}; send one of {', '.join(_TAKEN)}")
    if not isinstance(shape, list) or len(shape) not in {1, 2}:
        raise _wrong(name, "must have a shape of one or two dimensions")
    if any(type(size) is not int or not 1 <= size < 2**31 for size in shape):
        raise _wrong(name, "must have a shape of positive whole numbers")
    count = shape[0] * (shape[1] if len(shape) == 2 else 1)
    values = (
        _json_values(item.get("data"), kind, name) if raw is None else _raw_values(raw, kind, name, count)
    )
    if len(values) != count:
        raise _wrong(name, f"has {len(values)} values, but its shape {shape} needs {count}")
    return Tensor(name, kind, tuple(shape), values)


def _json_values(data: object, kind: str, name: str) -> Array:
    if not isinstance(data, list):
        raise _wrong(name, "needs data, a list")
    flat: list[Any] = data
    if data and all(type(row) is list for row in data):
        flat = [value for row in data for value in row]
    taken = _PYTHON_TYPES[kind]
    if not taken.issuperset(map(type, flat)):
        place = next(n for n, value in enumerate(flat) if type(value) not in taken)
        raise _wrong(name, f"holds a value at {place} that is no {kind}")
    if kind == "BYTES":
        return _objects_array(flat)
    if kind in _RANGES and (outside := _outside(flat, kind)) is not None:
        least, most = _RANGES[kind]
        raise _wrong(name, f"holds {flat[outside]} at {outside}, but {kind} goes from {least} to {most}")
    return np.array(flat, np.float64)


def _raw_values(raw: bytes, kind: str, name: str, count: int) -> Array:
    if kind != "BYTES":
        if len(raw) != count * _TYPES[kind].itemsize:
            raise _wrong(name, f"has {len(raw)} bytes, but {count} values of {kind} need another number")
        return np.frombuffer(raw, _TYPES[kind])
    texts, position = [], 0
    while position + 4 <= len(raw):
        (length,) = struct.unpack_from("<I", raw, position)
        position += 4 + length
        try:
            texts.append(raw[position - length : position].decode())
        except UnicodeDecodeError:
            raise _wrong(name, f"holds a value at {len(texts)} that is not UTF-8 text") from None
    if position != len(raw):
        raise _wrong(name, "ends in the middle of a value")
    return _objects_array(texts)


def _objects_array(values: list[Any]) -> Array:
    made: Array = np.empty(len(values), object)
    made[:] = values
    return made


def _outputs(predictions: Predictions, manifest: Manifest) -> dict[str, Array]:
    name = "scores" if manifest.task == "multiclass" else "score"
    made = {name: score_array(predictions, manifest)}
    if predictions.labels is not None:
        made[LABEL] = label_array(predictions.labels, manifest)
    return made


def _to_bytes(values: Array) -> bytes:
    if values.dtype.kind == "U":
        encoded = [text.encode() for text in values.reshape(-1).tolist()]
        return b"".join(struct.pack("<I", len(text)) + text for text in encoded)
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()


def _to_json(values: Array) -> Array | list[Any]:
    """Flat; numbers stay an array, so that each is written as short as its own type allows."""
    return (
        values.reshape(-1).tolist() if values.dtype.kind == "U" else np.ascontiguousarray(values.reshape(-1))
    )


def _name(kind: np.dtype[Any]) -> str:
    return "BYTES" if kind.kind == "U" else _NAMES[kind]


def _objects(value: object, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadBody(f"{name} must be a list of objects")
    return value


def _parameters(item: Mapping[str, Any]) -> Mapping[str, Any]:
    found = item.get("parameters") or {}
    if not isinstance(found, dict):
        raise BadBody("parameters must be an object")
    return found


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    return parameters.get(name, default) is True


def _wrong(name: str, problem: str) -> BadBody:
    return BadBody(f"tensor {name[:100]!r} {problem}", field=name[:100])
