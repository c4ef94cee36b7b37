"""Texts of a column, counted: how often each occurs, which type it looks like, which number it tells."""

from __future__ import annotations

import base64
from itertools import chain
from typing import TYPE_CHECKING, Any

from monitoring.profiles.categories import CAP, FEW, LONG, Categories, distinct_sketch, short
from monitoring.profiles.selection import whole_counts
from monitoring.profiles.typecounts import BOOLEAN, FRACTIONAL, INTEGRAL, TypeCounts

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

_EXACT_INTEGER = 2.0**53
_SLICE = 100_000
"""Texts that are handed to Python at once."""


def as_text(series: pl.Series) -> pl.Series:
    """Values as text: truth values as `true` and `false`, dates in ISO form, nested values as JSON."""
    import polars as pl

    dtype = series.dtype
    if dtype == pl.String:
        return series
    if dtype.is_nested():
        return _json(series)
    if dtype == pl.Binary:
        texts = [None if value is None else base64.b64encode(value).decode() for value in series]
        return pl.Series(series.name, texts, dtype=pl.String)
    if dtype == pl.Object:
        texts = [None if value is None else str(value) for value in series]
        return pl.Series(series.name, texts, dtype=pl.String)
    if dtype.is_float():
        texts = [None if value is None else number_text(value) for value in series]
        return pl.Series(series.name, texts, dtype=pl.String)
    return series.dt.to_string("iso") if dtype.is_temporal() else series.cast(pl.String)


def _json(series: pl.Series) -> pl.Series:
    import polars as pl

    frame = pl.DataFrame({"v": series})
    wrapped = frame.select(pl.struct("v").struct.json_encode().str.strip_prefix('{"v":').str.head(-1))
    return frame.select(pl.when(pl.col("v").is_not_null()).then(wrapped.to_series())).to_series()


def number_text(value: float) -> str:
    """A number as a category: whole ones without a fraction, so that 1, 1.0 and "1" are one category."""
    whole = abs(value) <= _EXACT_INTEGER and value == int(value)
    return str(int(value)) if whole else repr(float(value))


def occurrences(series: pl.Series) -> tuple[pl.Series, NDArray[Any]]:
    """Different values of a series without nulls, and how often each occurs, in no particular order."""
    counted = series.alias("value").value_counts(name="occurrences")
    return counted["value"], counted["occurrences"].to_numpy()


def categories(texts: pl.Series, counts: NDArray[Any], cap: int = CAP) -> Categories:
    """Categories from different texts and how often each occurs."""
    import numpy as np
    import polars as pl

    if bool((texts.str.len_chars() > LONG).any()):
        texts = pl.Series([short(text) for text in texts], dtype=pl.String)
    if len(texts) <= cap:
        return Categories.of(dict(zip(texts.to_list(), counts.tolist(), strict=True)), cap)
    least = int(np.partition(counts, -cap - 1)[-cap - 1])
    often = counts > least
    kept = zip(texts.filter(pl.Series(often)).to_list(), counts[often].tolist(), strict=True)
    ordered = dict(sorted(kept, key=lambda one: (-one[1], one[0])))
    slices = (part.to_series().to_list() for part in texts.to_frame().iter_slices(_SLICE))
    sketch = distinct_sketch(chain.from_iterable(slices))
    return Categories(ordered, int(counts.sum()), least, sketch, cap)


def few(values: NDArray[Any], infinite: dict[float, int]) -> Categories | None:
    """Categories of finite numbers and of infinite ones; None with more than 50 different ones."""
    import numpy as np

    if np.unique(values[:: max(1, values.size // (8 * FEW))]).size > FEW:
        return None
    counted = whole_counts(values)
    if counted is None:
        different, sizes = np.unique(values, return_counts=True)
    else:
        different, sizes = counted
    if different.size + len(infinite) > FEW:
        return None
    counts = {
        number_text(value): size for value, size in zip(different.tolist(), sizes.tolist(), strict=True)
    }
    counts |= {repr(value): count for value, count in infinite.items()}
    return Categories.of(counts, FEW)


def forms(texts: pl.Series) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Which texts are whole numbers, numbers with a fraction or an exponent, and truth values."""
    return (
        texts.str.contains(INTEGRAL).to_numpy(),
        texts.str.contains(FRACTIONAL).to_numpy(),
        texts.str.contains(BOOLEAN).to_numpy(),
    )


def typed(
    integral: NDArray[Any], fractional: NDArray[Any], boolean: NDArray[Any], counts: NDArray[Any]
) -> TypeCounts:
    """Counts by type from what `forms` says and how often each text occurs."""
    whole, parts, truths = (int(counts[mask].sum()) for mask in (integral, fractional, boolean))
    return TypeCounts(whole, parts, truths, int(counts.sum()) - whole - parts - truths)


def numbers(texts: pl.Series) -> NDArray[Any]:
    """The numbers that texts tell which have the form of one; those too large for a float are infinite."""
    import polars as pl

    plain = texts.str.replace_all(" ", "", literal=True).str.strip_prefix("+")
    return plain.cast(pl.Float64).to_numpy()
