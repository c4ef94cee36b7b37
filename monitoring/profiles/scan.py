"""Rows in, profile out: a table at once, or one batch after another in bounded memory.

What counts as missing: null, and NaN in a column of numbers. Infinity is present, and stays out of the
moments and quantiles. The empty text, and texts like `NaN` or `null`, are present and of type String.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from monitoring.profiles import tally
from monitoring.profiles.categories import Categories
from monitoring.profiles.columns import ColumnProfile, Kind, Numeric
from monitoring.profiles.moments import Moments
from monitoring.profiles.profile import Profile, merge
from monitoring.profiles.quantiles import Quantiles
from monitoring.profiles.typecounts import TypeCounts

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

THREADS = 2
BATCH_ROWS = 1 << 20
"""Rows that small batches are gathered to."""
BATCH_BYTES = 1 << 27
"""Bytes at which gathering stops."""
TOGETHER = 32
"""Profiles of batches that are held until they are merged."""


def profile(
    frame: pl.DataFrame, kinds: Mapping[str, Kind] | None = None, *, threads: int = THREADS
) -> Profile:
    """The profile of a table.

    Args:
        frame: any columns: nested ones are counted as JSON text, dates as ISO text.
        kinds: of columns that shall not be inferred. Numbers declared categorical are counted as texts; of
            text declared numeric only what has the form of a number enters the moments. Inferred: columns of
            numbers are numeric, text columns carry both views, everything else is categorical.
        threads: columns that are worked on at a time.
    """
    declared = kinds or {}

    def one(series: pl.Series) -> ColumnProfile:
        return column(series, declared.get(series.name))

    with ThreadPoolExecutor(threads) as pool:
        made = list(pool.map(one, frame.get_columns()))
    return Profile(frame.height, {each.name: each for each in made})


def profile_batches(
    batches: Iterable[pl.DataFrame],
    kinds: Mapping[str, Kind] | None = None,
    *,
    threads: int = THREADS,
    progress: Callable[[int], None] | None = None,
) -> Profile:
    """The profile of a table that comes in batches, of which only a few are held at a time.

    Args:
        batches: in the order of the table; their columns and types may differ.
        kinds: as of `profile`.
        threads: as of `profile`.
        progress: told the rows so far, now and then.
    """
    parts: list[Profile] = []
    rows = 0
    for frame in _gathered(batches):
        parts.append(profile(frame, kinds, threads=threads))
        rows += frame.height
        if len(parts) == TOGETHER:
            parts = [merge(*parts)]
        if progress is not None:
            progress(rows)
    return merge(*parts)


def column(series: pl.Series, kind: Kind | None = None) -> ColumnProfile:
    """The profile of one column; see `profile`. A column that cannot be read at all has counts alone."""
    import polars as pl

    dtype = series.dtype
    try:
        if dtype == pl.Null or series.null_count() == series.len():
            return ColumnProfile(series.name, 0, series.len())
        if dtype.is_numeric():
            return _numbers(series, kind)
        if kind == "numeric" and (dtype == pl.Boolean or dtype.is_temporal()):
            return _ordered(series)
        if kind == "numeric" and dtype == pl.String:
            return _numeric_texts(series)
        return _texts(series, kind)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        present = series.len() - series.null_count()
        return ColumnProfile(series.name, present, series.len() - present, TypeCounts(string=present))


def _gathered(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Small batches of one schema together, large ones cut."""
    import polars as pl

    held: list[pl.DataFrame] = []
    rows, size = 0, 0.0
    for frame in batches:
        if held and frame.schema != held[0].schema:
            yield pl.concat(held)
            held, rows, size = [], 0, 0.0
        held.append(frame)
        rows, size = rows + frame.height, size + frame.estimated_size()
        if rows >= BATCH_ROWS or size >= BATCH_BYTES:
            yield from pl.concat(held).iter_slices(2 * BATCH_ROWS)
            held, rows, size = [], 0, 0.0
    if held:
        yield pl.concat(held)


def _numbers(series: pl.Series, kind: Kind | None) -> ColumnProfile:
    import polars as pl

    known = series.drop_nulls()
    if known.dtype.is_float():
        known = known.drop_nans()
    present = known.len()
    if not present:
        return ColumnProfile(series.name, 0, series.len())
    whole = _whole(known)
    types = TypeCounts(integral=whole, fractional=present - whole)
    if kind == "categorical":
        values, counts = tally.occurrences(known)
        counted = tally.categories(tally.as_text(values), counts)
        return ColumnProfile(series.name, present, series.len() - present, types, None, counted)
    numeric, few = _numeric(known.cast(pl.Float64).to_numpy())
    return ColumnProfile(series.name, present, series.len() - present, types, numeric, few)


def _whole(known: pl.Series) -> int:
    """Numbers without a fraction, whatever they are stored as: a number is no other one for being 3.0."""
    import numpy as np
    import polars as pl

    if known.dtype.is_integer() or getattr(known.dtype, "scale", None) == 0:  # of a decimal
        return known.len()
    values = known.cast(pl.Float64).to_numpy()
    return int(np.count_nonzero(np.floor(values) == values) - np.count_nonzero(np.isinf(values)))


def _numeric(values: NDArray[Any]) -> tuple[Numeric | None, Categories | None]:
    """Numbers, and categories when there are few different ones; values may be infinite, not NaN."""
    import numpy as np

    if not values.size:
        return None, None
    finite = np.isfinite(values)
    infinite: dict[float, int] = {}
    if not finite.all():
        counted = {end: np.count_nonzero(values == end) for end in (float("inf"), float("-inf"))}
        infinite = {end: int(count) for end, count in counted.items() if count}
        values = values[finite]
    few = tally.few(values, infinite)
    moments, sketch = Moments.of_finite(values), Quantiles.of_finite(values + 0.0)
    return Numeric(moments, sketch, sum(infinite.values())), few


def _texts(series: pl.Series, kind: Kind | None) -> ColumnProfile:
    """A column that is counted by its texts; text that looks like numbers carries them too."""
    import numpy as np
    import polars as pl

    known = series.drop_nulls()
    if known.dtype.is_nested() or known.dtype == pl.Object:
        known = tally.as_text(known)
    values, counts = tally.occurrences(known)
    texts = tally.as_text(values)
    integral, fractional, boolean = tally.forms(texts)
    if series.dtype.is_nested() or series.dtype.is_temporal():
        types = TypeCounts(string=known.len())
    else:
        types = tally.typed(integral, fractional, boolean, counts)
    numeric = None
    looks = integral | fractional
    if series.dtype == pl.String and kind is None and looks.any():
        told = np.repeat(tally.numbers(texts.filter(pl.Series(looks))), counts[looks])
        numeric, _ = _numeric(np.sort(told))  # texts come in no order, and sums depend on it
    counted = tally.categories(texts, counts)
    missing = series.len() - known.len()
    return ColumnProfile(series.name, known.len(), missing, types, numeric, counted)


def _numeric_texts(series: pl.Series) -> ColumnProfile:
    """Text that was declared numeric: what has another form counts as String and enters nothing else."""
    import numpy as np
    import polars as pl

    known = series.drop_nulls()
    integral, fractional, boolean = tally.forms(known)
    types = tally.typed(integral, fractional, boolean, np.ones(known.len(), dtype=np.int64))
    looks = integral | fractional
    numeric, few = _numeric(tally.numbers(known if looks.all() else known.filter(pl.Series(looks))))
    kept = few if looks.all() else None
    missing = series.len() - known.len()
    return ColumnProfile(series.name, known.len(), missing, types, numeric, kept)


def _ordered(series: pl.Series) -> ColumnProfile:
    """Truth values as 0 and 1, instants as their count of units, because the column was declared numeric."""
    import polars as pl

    known = series.drop_nulls()
    present, truths = known.len(), series.dtype == pl.Boolean
    numeric, _ = _numeric(known.to_physical().cast(pl.Float64).to_numpy())
    types = TypeCounts(boolean=present) if truths else TypeCounts(string=present)
    return ColumnProfile(series.name, present, series.len() - present, types, numeric)
