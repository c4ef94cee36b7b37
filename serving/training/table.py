"""Training data of a channel: CSV and Parquet files to columns of numbers and text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.manifest import Input
from serving.training.job import JobInvalid


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows with a label."""

    inputs: tuple[Input, ...]
    """The columns that are no label, in the order of the files."""
    columns: dict[str, npt.NDArray[Any]]
    """By input: float64 with NaN, or objects with "" for missing; shape (rows, 1)."""
    label: npt.NDArray[Any]

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.label)

    @property
    def matrix(self) -> npt.NDArray[Any]:
        """All inputs side by side: floating point, or objects as soon as one is text."""
        return np.hstack(list(self.columns.values()))


def read(folder: Path, label: str, *, header: bool) -> Table:
    """All files below a channel's folder; `.parquet` is Parquet, anything else CSV.

    `label` names the column to predict; empty means the first one. Without a header the columns of a CSV
    file are called f0, f1 and so on.

    Raises:
        JobInvalid: there is no file, or a file or column cannot be used.
    """
    import pyarrow as pa

    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    if not files:
        raise JobInvalid(f"channel {folder.name} holds no file; give it CSV or Parquet files")
    try:
        parts = [_file(file, header=header) for file in files]
        whole = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    except pa.ArrowException as error:
        raise JobInvalid(
            f"the files of channel {folder.name} cannot be read as one table: {error}"
        ) from error
    names = whole.column_names
    if label and label not in names:
        raise JobInvalid(f"there is no column {label!r} to predict; the columns are {', '.join(names)}")
    target = label or names[0]
    rest = [name for name in names if name != target]
    if not rest or len(set(names)) != len(names) or not whole.num_rows:
        raise JobInvalid("the data need a label, at least one further column, distinct names and a row")
    columns = {name: _values(whole.column(name), name) for name in rest}
    if whole.column(target).null_count:
        raise JobInvalid(f"the label {target!r} is missing in some rows; remove those rows")
    inputs = tuple(_input(name, values) for name, values in columns.items())
    return Table(inputs, columns, np.array(whole.column(target).to_pylist()))


def _file(file: Path, *, header: bool) -> Any:
    if file.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(file)
    from pyarrow import csv

    return csv.read_csv(file, csv.ReadOptions(autogenerate_column_names=not header))


def _values(column: Any, name: str) -> npt.NDArray[Any]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_null(kind):
        raise JobInvalid(f"column {name!r} is empty; remove it")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = [value or "" for value in column.to_pylist()]
        return np.array(texts, dtype=object).reshape(-1, 1)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise JobInvalid(f"column {name!r} holds {kind}; turn it into numbers or text, or train by a script")
    numbers = np.array([np.nan if value is None else value for value in column.to_pylist()], dtype=np.float64)
    return numbers.reshape(-1, 1)


def _input(name: str, values: npt.NDArray[Any]) -> Input:
    if values.dtype == object:
        return Input(name, "string", bool((values != "").all()))
    return Input(name, "double", not bool(np.isnan(values).any()))
