"""The same model, the same bytes: a skops file without what differs from run to run.

skops names every object by its address in memory, numbers array files the same way, and stamps times into the
zip. Here objects are numbered in the order in which the file mentions them, and times are fixed.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np

_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold."""


def canonical(model: bytes) -> bytes:
    """Rewrite a file of `skops.io.dumps`; it loads to an equal model."""
    with zipfile.ZipFile(io.BytesIO(model)) as source:
        schema = json.loads(source.read(_SCHEMA))
        names = _Numbering()
        renamed = _rewrite(schema, names)
        members = {new: source.read(old) for old, new in names.files.items()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for name, content in members.items():
            _add(target, name, _settled(name, content))
        _add(target, _SCHEMA, json.dumps(renamed, separators=(",", ":")).encode())
    return out.getvalue()


class _Numbering:
    """New names of objects and files, in order of first mention."""

    def __init__(self) -> None:
        self.objects: dict[object, int] = {}
        self.files: dict[str, str] = {}
        self._next = 0

    def fresh(self) -> int:
        """A number of its own."""
        self._next += 1
        return self._next

    def object(self, address: object) -> int:
        """The number of a shared object."""
        if address not in self.objects:
            self.objects[address] = self.fresh()
        return self.objects[address]

    def file(self, name: str) -> str:
        """The new name of a member."""
        suffix = name.rpartition(".")[2]
        return self.files.setdefault(name, f"{len(self.files)}.{suffix}")


def _rewrite(node: Any, names: _Numbering) -> Any:
    if isinstance(node, list):
        return [_rewrite(item, names) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("__loader__") == "SetNode" and isinstance(node.get("content"), list):
        node = {**node, "content": sorted(node["content"], key=_sort_key)}
    return {key: _entry(node, key, value, names) for key, value in node.items()}


def _entry(node: dict[str, Any], key: str, value: Any, names: _Numbering) -> Any:
    if key == "__id__" and "__loader__" in node:
        # Constants are shared or not by chance of the interpreter, and never need to be.
        return names.fresh() if node.get("is_json") else names.object(value)
    if key == "file" and "__loader__" in node and isinstance(value, str):
        return names.file(value)
    return _rewrite(value, names)


def _sort_key(item: Any) -> str:
    return json.dumps({key: value for key, value in item.items() if key != "__id__"}, sort_keys=True)


def _settled(name: str, content: bytes) -> bytes:
    if name.endswith(".npy"):
        return _without_padding(content)
    if not name.endswith(".npz"):
        return content
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w") as target:
        for inner in source.namelist():
            _add(target, inner, source.read(inner))
    return out.getvalue()


def _without_padding(content: bytes) -> bytes:
    """An array file whose bytes between the fields of records, which nobody sets, are zero."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, dtype=array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    out = io.BytesIO()
    np.save(out, clean, allow_pickle=False)
    return out.getvalue()


def _add(target: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.external_attr = 0o644 << 16
    target.writestr(member, content)
