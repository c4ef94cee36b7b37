"""Raw data to one checked table: fetch the channels, run the process function, look at what came out.

Inputs and outputs are folders of Parquet files, as in a container's `/opt/ml/processing`.
"""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.build import Channel, Data
from configs.project import Project
from steps.code import call, project_code
from steps.errors import DataRefused, DataUnreachable
from steps.job import digest_of

if TYPE_CHECKING:
    import polars as pl

TABLE = "table.parquet"
_MANY = 50
"""A target with more values than this is a number, not a class."""


def fetch(data: Data, project_folder: Path, out: Path) -> dict[str, Any]:
    """Write every channel to `out/<channel>/*.parquet` and return rows and digest of each.

    Never reuse this step's result: only a look at the source tells whether it changed. The steps after it are
    keyed by the digests.

    Raises:
        steps.errors.CodeFailed: a channel function does not work.
        DataRefused: a source is missing or is neither CSV nor Parquet.
        DataUnreachable: remote storage does not answer.
    """
    facts = {}
    for name, channel in data.channels.items():
        folder = out / name
        folder.mkdir(parents=True)
        if channel.function:
            _fetch_function(name, channel, project_folder, folder)
        else:
            _fetch_files(name, str(channel.source), project_folder, folder)
        facts[name] = {"rows": _rows(folder), "digest": digest_of(folder)}
    return {"channels": facts}


def run(project: Project, project_folder: Path, channels: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Run the process function over channel folders, check its table and write `table.parquet`.

    Returns:
        `rows`, `digest`, `columns` (type, missing, distinct), `classes` (count of each; None for regression)
        and `time` (first and last, or None).

    Raises:
        steps.errors.CodeFailed: the function does not work.
        DataRefused: its table is not what the project file says.
    """
    with project_code(project_folder):
        made = call(
            project.process.function, "process.function", dict(channels), **project.process.parameters
        )
        table = checked(frame_of(made, "process.function"), project)
    table.write_parquet(out / TABLE, compression="zstd", statistics=True)
    return {"rows": table.height, "digest": digest_of(out / TABLE), **summary(table, project)}


def frame_of(value: Any, key: str) -> pl.DataFrame:
    """A Polars frame from a Polars, pandas or Arrow one.

    Raises:
        DataRefused: it is none of these.
    """
    import polars as pl

    if isinstance(value, pl.LazyFrame):
        return value.collect()
    if isinstance(value, pl.DataFrame):
        return value
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
    if kind in {"pandas.DataFrame", "pyarrow.Table"}:
        made = pl.from_pandas(value) if kind.startswith("pandas") else pl.from_arrow(value)
        return made if isinstance(made, pl.DataFrame) else made.to_frame()
    raise DataRefused(f"{key}: returned {kind}; return a Polars or pandas data frame")


def checked(table: pl.DataFrame, project: Project) -> pl.DataFrame:
    """The table with its columns in the types models see, ordered by time; other columns stay as they are.

    Numeric features are Float64 with null for missing, categorical ones text with "" for missing.

    Raises:
        DataRefused: with the first thing that is wrong and what to do.
    """
    data, features = project.data, project.data.features
    if table.is_empty():
        raise DataRefused("process.function: returned no rows; check its filters and the channels")
    _check_present(table, project)
    if data.target in features.numeric + features.categorical:
        raise DataRefused(f"data.features: {data.target} is the target; take it out of the features")
    table = table.with_columns(
        *(_numeric(table, name) for name in features.numeric),
        *(_categorical(table, name) for name in features.categorical),
        _target(table, data.target, project.train.task),
    )
    return table.sort(data.time, maintain_order=True) if _sortable(table, data.time) else table


def summary(table: pl.DataFrame, project: Project) -> dict[str, Any]:
    """What people want to know of a table at a glance, as plain data."""
    counts = table.null_count().row(0, named=True)
    columns = {
        name: {"type": str(dtype), "missing": counts[name], "distinct": table[name].n_unique()}
        for name, dtype in table.schema.items()
    }
    classes = None
    if project.train.task != "regression":
        seen = table[project.data.target].value_counts(name="rows").sort(project.data.target)
        classes = {str(value): rows for value, rows in seen.iter_rows()}
    time = project.data.time
    span = [str(table[time][0]), str(table[time][-1])] if time else None
    return {"columns": columns, "classes": classes, "time": span}


def _fetch_function(name: str, channel: Channel, project_folder: Path, folder: Path) -> None:
    key = f"data.channels.{name}.function"
    with project_code(project_folder):
        frame = frame_of(call(str(channel.function), key, **channel.parameters), key)
    frame.write_parquet(folder / "part-0.parquet", compression="lz4")


def _fetch_files(name: str, source: str, project_folder: Path, folder: Path) -> None:
    """Copy CSV and Parquet files to Parquet, one part each."""
    import polars as pl

    key = f"data.channels.{name}.source"
    with tempfile.TemporaryDirectory(prefix="seaway-") as temporary:
        root = _download(key, source, Path(temporary)) if "://" in source else project_folder / source
        for number, file in enumerate(_usable(key, source, root)):
            part = folder / f"part-{number}.parquet"
            try:
                if file.suffix == ".parquet":
                    pl.scan_parquet(file).sink_parquet(part)
                else:
                    pl.scan_csv(file, infer_schema_length=100_000, try_parse_dates=True).sink_parquet(part)
            except pl.exceptions.PolarsError as error:
                reason = str(error).splitlines()[0]
                raise DataRefused(f"{key}: {file.name} cannot be read ({reason}); repair the file") from error


def _usable(key: str, source: str, root: Path) -> list[Path]:
    if not root.exists():
        raise DataRefused(f"{key}: there is no {source}; the path is relative to the project file")
    files = [root] if root.is_file() else sorted(file for file in root.rglob("*") if file.is_file())
    usable = [file for file in files if file.suffix in {".csv", ".parquet"}]
    if not usable:
        raise DataRefused(f"{key}: {source} holds no .csv or .parquet file; give one")
    return usable


def _download(key: str, source: str, folder: Path) -> Path:
    """Remote files in a local folder."""
    from cloudpathlib import AnyPath
    from cloudpathlib.exceptions import InvalidPrefixError, MissingDependenciesError

    try:
        remote = AnyPath(source)
        found = bool(remote.exists())
        if found:
            remote.download_to(folder / remote.name if remote.is_file() else folder)
    except InvalidPrefixError:
        raise DataRefused(f"{key}: {source} has an unknown scheme; use a path or s3://") from None
    except MissingDependenciesError:
        raise DataRefused(f"{key}: {source} needs the S3 client; install seaway[s3]") from None
    except Exception as error:
        raise DataUnreachable(
            f"{key}: {source} cannot be read now ({error}); check the address and the access rights"
        ) from error
    if not found:
        raise DataRefused(f"{key}: there is no {source}; check bucket and name")
    return folder


def _rows(folder: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in folder.glob("*.parquet"))


def _check_present(table: pl.DataFrame, project: Project) -> None:
    data = project.data
    wanted = {
        "data.target": (data.target,),
        "data.time": (data.time,) if data.time else (),
        "data.features.numeric": data.features.numeric,
        "data.features.categorical": data.features.categorical,
        "evaluate.slices": project.evaluate.slices,
    }
    lacking = []
    for key, names in wanted.items():
        for name in names:
            if name not in table.columns:
                near = difflib.get_close_matches(name, table.columns, n=1)
                lacking.append(f"{name} ({key}" + (f"; did you mean {near[0]}?)" if near else ")"))
    if lacking:
        raise DataRefused(f"process.function: the table lacks the columns {', '.join(lacking)}")


def _numeric(table: pl.DataFrame, name: str) -> pl.Series:
    import polars as pl

    column = table[name]
    if column.dtype.is_temporal() or column.dtype.is_nested():
        raise DataRefused(f"data.features.numeric: {name} is {column.dtype}, not a number; convert it first")
    numbers = column.cast(pl.Float64, strict=False)
    if (bad := column.filter(numbers.is_null() & column.is_not_null())).len():
        raise DataRefused(
            f"data.features.numeric: {name} holds {bad.len()} values that are no numbers, such as "
            f"{bad[0]!r}; clean them or make the column categorical"
        )
    numbers = numbers.fill_nan(None)
    if infinite := int(numbers.is_infinite().sum()):
        raise DataRefused(
            f"data.features.numeric: {name} is infinite in {infinite} rows; replace these values"
        )
    return numbers


def _categorical(table: pl.DataFrame, name: str) -> pl.Series:
    import polars as pl

    column = table[name]
    if column.dtype.is_nested():
        raise DataRefused(f"data.features.categorical: {name} is {column.dtype}, not text; convert it first")
    return column.cast(pl.String).fill_null("")


def _target(table: pl.DataFrame, name: str, task: str) -> pl.Series:
    import polars as pl

    target = table[name]
    missing = target.null_count() + (int(target.is_nan().sum()) if target.dtype.is_float() else 0)
    if missing:
        raise DataRefused(
            f"data.target: {name} is missing in {missing} of {table.height} rows; "
            "drop them in process.function"
        )
    if task == "regression":
        if not target.dtype.is_numeric():
            raise DataRefused(f"data.target: {name} is {target.dtype}; regression needs a number")
        return target.cast(pl.Float64)
    if not target.dtype.is_numeric():
        target = target.cast(pl.Int64 if target.dtype == pl.Boolean else pl.String)
    elif target.dtype.is_float():
        if (target != target.round()).any():
            raise DataRefused(
                f"data.target: {name} has fractions; set train.task to regression, or make classes"
            )
        target = target.cast(pl.Int64)
    else:
        target = target.cast(pl.Int64)
    _check_classes(target, name, task)
    return target


def _check_classes(target: pl.Series, name: str, task: str) -> None:
    count = target.n_unique()
    if count < 2:
        raise DataRefused(
            f"data.target: {name} is {target[0]!r} in every row; a classifier needs two classes"
        )
    if task == "binary" and count > 2:
        raise DataRefused(f"data.target: {name} has {count} classes; set train.task to multiclass")
    if task == "multiclass" and count > _MANY:
        raise DataRefused(f"data.target: {name} has {count} values; that looks like regression, not classes")


def _sortable(table: pl.DataFrame, time: str | None) -> bool:
    """False without a time column.

    Raises:
        DataRefused: it cannot order the rows.
    """
    if time is None:
        return False
    dtype = table[time].dtype
    if dtype.is_nested() or str(dtype) in {"Boolean", "Object", "Null"}:
        raise DataRefused(
            f"data.time: {time} is {dtype}, which orders nothing; give dates, numbers or ISO text"
        )
    if missing := table[time].null_count():
        raise DataRefused(
            f"data.time: {time} is missing in {missing} of {table.height} rows; drop or fill them"
        )
    return True


def settings(project: Project) -> dict[str, Any]:
    """The part of the project file that decides this step's output, for its key."""
    return {
        "data": project.data.model_dump(mode="json", exclude={"channels"}),
        "process": project.process.model_dump(mode="json"),
        "task": project.train.task,
        "slices": list(project.evaluate.slices),
    }
