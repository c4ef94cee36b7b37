"""NumPy's `.npz`: one array as in `.npy`, or one for each input, by name.

What the members unpack to is read from the archive's directory before any of them is; nothing is unpickled.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

from serving.codecs import npy
from serving.codecs.columns import Array, Columns, check_size, from_arrays, order_of
from serving.codecs.layout import Layout
from serving.errors import BadBody, PayloadTooLarge
from serving.manifest import Input, Manifest
from serving.predictions import Predictions

MOST_MEMBERS = 10_000
"""Arrays that one archive may hold."""
_SPARSE = frozenset({"format", "shape", "data"})
"""Members of every file that `scipy.sparse.save_npz` writes."""
_WAYS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


def decode(body: bytes, layout: Layout, most: int) -> Columns:
    """See `serving.codecs.decode`."""
    arrays = members(body, most * 8)
    names = {item.name for item in layout.inputs}
    if len(arrays) == 1:
        ((name, array),) = arrays.items()
        if name not in names or array.dtype.names is not None or (array.ndim == 2 and array.shape[1] != 1):
            return npy.columns(array, layout, most)
    order_of(list(arrays), layout.inputs)
    given = {item.name: _column(arrays[item.name], item) for item in layout.inputs if item.name in arrays}
    first = next(iter(given), None)
    rows = 0 if first is None else len(given[first])
    for name, array in given.items():
        if len(array) != rows:
            raise BadBody(f"array {name!r} has {len(array)} rows, but {first!r} has {rows}", field=name)
    check_size(rows, len(layout.inputs), most)
    return from_arrays(given, rows, layout)


def encode(predictions: Predictions, manifest: Manifest) -> bytes:
    """Not done: `serving.codecs.negotiate` never chooses it."""
    raise NotImplementedError


def members(body: bytes, most: int) -> dict[str, Array]:
    """The arrays of an archive by their names, which may unpack to `most` bytes together.

    Raises:
        BadBody: it is no such archive, or holds a sparse matrix or Python objects.
        PayloadTooLarge: it would unpack to more.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(body))
    except Exception as error:  # noqa: BLE001 - a broken directory fails in many ways
        raise _broken(error) from None
    directory = archive.infolist()
    names = [entry.filename.removesuffix(".npy") for entry in directory]
    if _SPARSE.issubset(names):
        raise BadBody("the .npz holds a sparse matrix; send it dense: np.savez(file, matrix.toarray())")
    if not 1 <= len(names) <= MOST_MEMBERS or len(set(names)) != len(names):
        raise BadBody(f"the .npz must hold from 1 to {MOST_MEMBERS} arrays, each with a name of its own")
    if sum(entry.file_size for entry in directory) > most:
        raise PayloadTooLarge("the .npz unpacks to too much; send fewer rows at a time")
    return {name: npy.array(_unpacked(archive, entry)) for name, entry in zip(names, directory, strict=True)}


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type not in _WAYS:
        raise BadBody("the .npz is compressed in an unknown way; write it with np.savez")
    try:
        return archive.read(entry)
    except Exception as error:  # noqa: BLE001 - as above
        raise _broken(error) from None


def _broken(error: Exception) -> BadBody:
    problem = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return BadBody(f"the body is not an archive in .npz format: {problem}")


def _column(array: Array, item: Input) -> Array:
    if array.dtype.names is not None or not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        shape: Any = list(array.shape)
        raise BadBody(f"array {item.name!r} has the shape {shape}; send [n] or [n, 1]", field=item.name)
    return array.reshape(-1)
