"""Values as they came to typed columns, and columns of several sources to one.

A column is whole numbers, numbers, booleans or texts. What mixes them is texts, each value as JSON writes it,
so that a column with one odd value still counts every value's type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import isnan
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import polars as pl

RECORD = "@record"
"""Which record of the block a row belongs to."""


def own_name(name: object) -> str:
    """The name of an input's column; `@` at its beginning belongs to us."""
    text = str(name)
    return f"_{text}" if text.startswith("@") else text


def from_rows(rows: Sequence[Mapping[str, Any]], *, lists: bool = False) -> pl.DataFrame:
    """A frame of rows that are flat objects; what a row lacks is null.

    Args:
        rows: values are None, bool, int, float, str, list or dict.
        lists: keep lists of numbers as lists.
    """
    import polars as pl

    names = dict.fromkeys(chain.from_iterable(rows))
    made = [column(name, [row.get(name) for row in rows], lists=lists) for name in names]
    return pl.DataFrame(made, height=len(rows)) if made else pl.DataFrame(height=len(rows))


def column(name: str, values: list[Any], *, lists: bool = False) -> pl.Series:
    """A column in the narrowest type that holds every value."""
    import polars as pl

    types = {type(value) for value in values} - {type(None)}
    if not types:
        return pl.Series(name, values, pl.Null)
    if types == {bool}:
        return pl.Series(name, values, pl.Boolean)
    if types == {int} and all(-(2**63) <= value < 2**63 for value in values if value is not None):
        return pl.Series(name, values, pl.Int64)
    if types <= {int, float}:
        return pl.Series(name, [None if v is None or isnan(v) else _float(v) for v in values], pl.Float64)
    if types == {str}:
        return pl.Series(name, [None if v is None else _unicode(v) for v in values], pl.String)
    if lists and types == {list} and all(map(_numbers, values)):
        return pl.Series(name, values, pl.List(pl.Float64), strict=False)
    return pl.Series(name, [None if value is None else text(value) for value in values], pl.String)


def text(value: Any) -> str:
    """A value as JSON writes it; a text without quotes."""
    if isinstance(value, str):
        return _unicode(value)
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return str(value)


def _unicode(value: str) -> str:
    """Halves of surrogate pairs, which JSON can write but no text can hold, become question marks."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _numbers(value: Any) -> bool:
    return value is None or all(
        one is None or (isinstance(one, int | float) and not isinstance(one, bool)) for one in value
    )


# ---- texts to numbers -------------------------------------------------------------------------------------


def typed(values: pl.Series, kind: str | None) -> pl.Series:
    """Texts of a format that has no types, as numbers where all of them are numbers.

    Args:
        values: texts; empty ones are missing.
        kind: `string` stays text, `double` becomes numbers when it can; None also keeps leading zeros.
    """
    import polars as pl

    if kind == "string":
        return values.set(values == "", None)
    if kind == "double" and (numbers := _numbers_of(values)) is not None:
        return numbers
    stripped = values.str.strip_chars()
    filled = values.set(stripped == "", None)
    if filled.null_count() == len(filled):
        return filled.cast(pl.Null) if kind is None else filled
    stripped = stripped.set(stripped == "", None)
    if kind is None and stripped.str.contains(r"^[+-]?0\d").any():
        return filled
    found = _numbers_of(stripped.str.strip_prefix("+"))
    return filled if found is None else found


def _numbers_of(values: pl.Series) -> pl.Series | None:
    """Texts as whole numbers, else as numbers; None when some are none, or there are none."""
    import polars as pl

    missing = values.null_count()
    if missing == len(values):
        return None
    for kind in (pl.Int64(), pl.Float64()):
        if (first := values.head(_FIRST)).cast(kind, strict=False).null_count() > first.null_count():
            continue
        found = values.cast(kind, strict=False)
        if found.null_count() == missing:
            return found if kind.is_integer() else found.fill_nan(None)
    return None


_FIRST = 64
"""Texts that are tried before all are."""


def whole_numbers(values: pl.Series) -> pl.Series:
    """Numbers of an array that has one type for all columns: whole ones when all of them are."""
    import polars as pl

    if not values.dtype.is_float():
        return values.cast(pl.Int64) if values.dtype.is_integer() and values.dtype != pl.UInt64 else values
    values = values.cast(pl.Float64).fill_nan(None)
    fits = bool(values.is_finite().all()) and bool((values.abs() < 2**53).all())
    return values.cast(pl.Int64) if fits and bool((values == values.floor()).all()) else values


def whole_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with every column of numbers that are all whole as integers, as captured rows hold them."""
    return frame.with_columns(
        whole_numbers(column) for column in frame.iter_columns() if column.dtype.is_float()
    )


# ---- several sources --------------------------------------------------------------------------------------


def common(types: Iterable[pl.DataType]) -> pl.DataType:
    """The type that holds all of these."""
    import polars as pl

    found = {kind for kind in types if kind != pl.Null}
    if not found:
        return pl.Null()
    if len(found) == 1:
        return found.pop()
    if all(kind.is_numeric() for kind in found):
        return pl.Int64() if all(kind.is_integer() for kind in found) else pl.Float64()
    if all(kind.is_numeric() or kind == pl.List(pl.Float64) for kind in found):
        return pl.List(pl.Float64())
    return pl.String()


def cast(name: str, kind: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    """A column of one type in another that `common` has found."""
    import polars as pl

    if kind == wanted:
        return pl.col(name)
    if isinstance(wanted, pl.List) and kind.is_numeric():
        return pl.concat_list(pl.col(name).cast(pl.Float64))
    if isinstance(kind, pl.List):
        joined = pl.col(name).cast(pl.List(pl.String)).list.join(",")
        return pl.when(pl.col(name).is_not_null()).then(pl.format("[{}]", joined)).alias(name)
    return pl.col(name).cast(wanted, strict=False)


def stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Frames below one another, columns by name; types as `common` has them."""
    import polars as pl

    alike = [pl.concat(same) for same in by_schema(frames)]
    if len(alike) == 1:
        return alike[0]
    return pl.concat(aligned([frame.lazy() for frame in alike])).collect()


def by_schema(frames: Iterable[pl.DataFrame]) -> list[list[pl.DataFrame]]:
    """Frames with the same names and types in the same order together."""
    groups: dict[tuple[tuple[str, pl.DataType], ...], list[pl.DataFrame]] = {}
    for frame in frames:
        groups.setdefault(tuple(frame.schema.items()), []).append(frame)
    return list(groups.values())


def aligned(frames: Sequence[pl.LazyFrame]) -> list[pl.LazyFrame]:
    """The same rows, each frame with all columns in one order and one type."""
    import polars as pl

    schemas = [frame.collect_schema() for frame in frames]
    types: dict[str, list[pl.DataType]] = {}
    for schema in schemas:
        for name, kind in schema.items():
            types.setdefault(name, []).append(kind)
    wanted = {name: common(kinds) for name, kinds in types.items()}
    return [
        frame.select(
            cast(name, schema[name], kind) if name in schema else pl.lit(None, kind).alias(name)
            for name, kind in wanted.items()
        )
        for frame, schema in zip(frames, schemas, strict=True)
    ]
