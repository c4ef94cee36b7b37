"""From the attributions of many rows to one number per feature, with its standard error.

`mean_abs` is the mean size, `mean_sq` the mean square, `median` the median with its sign: the three of
SageMaker Clarify.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Aggregation = Literal["mean_abs", "mean_sq", "median"]

_SURE = 2.5758293035489004
"""Normal quantile of 99 %, which McKean and Schrader's error of a median is built on."""


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate:
    """One number per feature and output; errors are NaN where they cannot be told."""

    values: Numbers
    errors: Numbers
    """Standard errors of `values`."""
    shares: Numbers
    """Sizes as parts of their sum by output; all 0 where nothing has an attribution."""
    share_errors: Numbers
    """Standard errors of `shares`."""


def aggregate(local: npt.ArrayLike, how: Aggregation = "mean_abs") -> Aggregate:
    """Aggregate attributions given by row and feature, or by row, feature and output.

    Errors are those of a sample of rows: of a mean its standard deviation over the root of the rows, of a
    median McKean and Schrader's, of a share by the delta method, which sees how features go together.

    Raises:
        ValueError: there are no rows.
    """
    given = np.asarray(local, dtype=np.float64)
    if not len(given):
        raise ValueError("there are no rows to aggregate; give at least one")
    if how == "median":
        values = np.median(given, axis=0)
        shares = shares_of(np.abs(values))
        return Aggregate(values, _median_errors(given), shares, np.full_like(values, np.nan))
    sizes = np.abs(given) if how == "mean_abs" else given**2
    values = sizes.mean(axis=0)
    shares = shares_of(values)
    return Aggregate(values, _mean_errors(sizes), shares, _share_errors(sizes, shares))


def shares_of(sizes: npt.ArrayLike) -> Numbers:
    """Parts of the sum over features; zeros where the sum is zero."""
    table = np.asarray(sizes, dtype=np.float64)
    total = table.sum(axis=0)
    found: Numbers = table / np.where(total > 0, total, 1.0)
    return found


def missed(local: npt.ArrayLike, expected: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The largest part of a score that attributions and expected value do not add up to; 0 without rows.

    Relative to the score where that is larger than 1.

    Args:
        local: attributions by row, feature and output.
        expected: expected value by output.
        scores: what the model says, by row and output.
    """
    told = np.asarray(scores, dtype=np.float64)
    if not told.size:
        return 0.0
    sums = np.asarray(expected, dtype=np.float64) + np.asarray(local, dtype=np.float64).sum(axis=1)
    return float((np.abs(sums - told) / np.maximum(1.0, np.abs(told))).max())


def _mean_errors(sizes: Numbers) -> Numbers:
    n = len(sizes)
    found: Numbers = sizes.std(axis=0, ddof=1) / math.sqrt(n) if n > 1 else np.full(sizes.shape[1:], np.nan)
    return found


def _share_errors(sizes: Numbers, shares: Numbers) -> Numbers:
    """Of a ratio of means: the spread of what each row adds to the difference, over the mean of the sum."""
    total = sizes.sum(axis=1, keepdims=True)
    mean = total.mean(axis=0)
    found: Numbers = _mean_errors(sizes - shares * total) / np.where(mean > 0, mean, 1.0)
    return found


def _median_errors(given: Numbers) -> Numbers:
    n = len(given)
    inner = round((n + 1) / 2 - _SURE * math.sqrt(n / 4))
    if inner < 1:
        return np.full(given.shape[1:], np.nan)
    ordered = np.sort(given, axis=0)
    found: Numbers = (ordered[n - inner] - ordered[inner - 1]) / (2 * _SURE)
    return found
