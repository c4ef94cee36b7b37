"""Exact order statistics of many numbers at some thousand ranks, without sorting all of them.

Each number falls into one of 65,536 ascending bins. Counting says which bins hold the ranks asked for, and
only the numbers in those are sorted. Bins of equal width serve most columns, bins by the leading bits of the
number those with a long tail; whole numbers of a small range need no sorting at all. The result is the one
that a full sort gives.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BINS = 1 << 16
_SMALL = 1 << 15
"""Numbers that are rather sorted."""
_SHARE = 3
"""Sorting pays when no more than one in so many numbers is left to be sorted."""


def at_ranks(values: NDArray[Any], ranks: NDArray[Any]) -> NDArray[Any]:
    """The numbers at some ranks, counted from 0.

    Args:
        values: finite float64 numbers in any order, without a negative zero.
        ranks: ascending.
    """
    import numpy as np

    if values.size < _SMALL:
        return np.asarray(np.sort(values)[ranks])
    if (counted := whole_counts(values)) is not None:
        different, sizes = counted
        return np.asarray(different[np.searchsorted(np.cumsum(sizes), ranks, side="right")])
    low, high = float(values.min()), float(values.max())
    for keys in (_by_width, _by_bits):
        found = _selected(values, keys(values, low, high), ranks)
        if found is not None:
            return found
    return np.asarray(np.sort(values)[ranks])


def whole_counts(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Different numbers, ascending, and how often each occurs; None unless whole and near each other."""
    import numpy as np

    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, math.inf)
    if high - low >= _BINS or not bool((values == np.floor(values)).all()):
        return None
    sizes = np.bincount((values - low).astype(np.uint16))
    taken = np.flatnonzero(sizes)
    return low + taken, sizes[taken]


def _by_width(values: NDArray[Any], low: float, high: float) -> NDArray[Any] | None:
    """Bins of equal width; None when the range is too wide or too narrow for floats."""
    import numpy as np

    width = high - low
    scale = (_BINS - 1) / width if math.isfinite(width) and width > np.finfo(float).tiny * _BINS else 0.0
    return ((values - low) * scale).astype(np.uint16) if scale else None


def _by_bits(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Bins by the leading bits, which order floats when those of negative ones are turned round."""
    import numpy as np

    bits = np.concatenate([values, [low, high]]).view(np.int64)
    ascending = (bits ^ ((bits >> 63) & np.int64(0x7FFFFFFFFFFFFFFF))).view(np.uint64)
    apart = ascending - ascending[-2]
    shift = max(0, int(apart[-1]).bit_length() - 16)
    return np.asarray((apart[:-2] >> np.uint64(shift)).astype(np.uint16))


def _selected(values: NDArray[Any], keys: NDArray[Any] | None, ranks: NDArray[Any]) -> NDArray[Any] | None:
    """The numbers at the ranks, when few enough share a bin with them; else None."""
    import numpy as np

    if keys is None:
        return None
    counts = np.bincount(keys, minlength=_BINS)
    bins = np.searchsorted(np.cumsum(counts), ranks, side="right")
    wanted = np.zeros(_BINS, dtype=bool)
    wanted[bins] = True
    if counts[wanted].sum() * _SHARE > values.size:
        return None
    left_out = np.cumsum(np.where(wanted, 0, counts))
    return np.asarray(np.sort(values[wanted[keys]])[ranks - left_out[bins]])
