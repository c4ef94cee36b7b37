"""Quality of a model that predicts a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality.metric import Measured, Metric, Z
from monitoring.quality.resample import FEWEST, SHARE, SUBSAMPLES, Floats, deviation


@dataclass(frozen=True, slots=True)
class Errors:
    """What is kept of rows so that hours can be merged: sums of the errors, and moments of the truth."""

    n: int = 0
    absolute: float = 0.0
    """Sum of |prediction - truth|."""
    squared: float = 0.0
    fourth: float = 0.0
    mean: float = 0.0
    """Of the truth."""
    m2: float = 0.0
    """Sum of squared differences of the truth from its mean."""


def errors(truth: NDArray[Any], predicted: NDArray[Any]) -> Errors:
    """What is kept of these rows."""
    if not len(truth):
        return Errors()
    with np.errstate(over="ignore", invalid="ignore"):
        off = predicted.astype(np.float64) - truth
        squares = off * off
        mean = float(truth.mean())
        return Errors(
            len(truth),
            float(np.abs(off).sum()),
            float(squares.sum()),
            float(squares @ squares),
            mean,
            float(((truth - mean) ** 2).sum()),
        )


def merge(one: Errors, other: Errors) -> Errors:
    """The rows of both; as from all rows at once, but for rounding."""
    if not one.n or not other.n:
        return one if one.n else other
    n, apart = one.n + other.n, other.mean - one.mean
    return Errors(
        n,
        one.absolute + other.absolute,
        one.squared + other.squared,
        one.fourth + other.fourth,
        one.mean + apart * other.n / n,
        one.m2 + other.m2 + apart * apart * one.n * other.n / n,
    )


def measure(truth: NDArray[Any], predicted: NDArray[Any], rng: np.random.Generator) -> Measured:
    """`mae`, `mse`, `rmse` and `r2` of rows."""
    kept = errors(truth, predicted)
    plain = of_errors(kept)
    spread = _spread(truth, predicted, rng)
    explained = plain.scalars["r2"].value
    bounds = _r2_interval(truth, predicted, kept) if explained is not None else (None, None)
    scalars = {
        name: Metric(metric.value, spread.get(name), *(bounds if name == "r2" else (metric.low, metric.high)))
        for name, metric in plain.scalars.items()
    }
    return Measured("regression", kept.n, scalars)


def of_errors(kept: Errors) -> Measured:
    """The metrics of merged hours: all values; intervals without that of `r2`; no standard deviations."""
    values = _values(kept)
    if not kept.n:
        return Measured("regression", 0, {name: Metric(None) for name in values})
    mae, mse = _interval(kept.absolute, kept.squared, kept.n), _interval(kept.squared, kept.fourth, kept.n)
    found = {"mae": mae, "mse": mse, "rmse": (_root(mse[0]), _root(mse[1])), "r2": (None, None)}
    return Measured(
        "regression", kept.n, {name: Metric(value, None, *found[name]) for name, value in values.items()}
    )


def _values(kept: Errors) -> dict[str, float | None]:
    if not kept.n:
        return dict.fromkeys(("mae", "mse", "rmse", "r2"))
    mse = kept.squared / kept.n
    explained = 1 - kept.squared / kept.m2 if kept.m2 > 0 else None
    found = {"mae": kept.absolute / kept.n, "mse": mse, "rmse": math.sqrt(mse), "r2": explained}
    return {
        name: value if value is not None and math.isfinite(value) else None for name, value in found.items()
    }


def _interval(total: float, squares: float, n: int) -> tuple[float | None, float | None]:
    """Of the mean of values that are not negative, symmetric in its logarithm; from their sums."""
    mean = total / n
    if n < 2 or not math.isfinite(squares):
        return None, None
    if mean <= 0:
        return 0.0, 0.0
    error = math.sqrt(max(0.0, squares / n - mean * mean) / (n - 1))
    widening = math.exp(min(700.0, Z * error / mean))
    return mean / widening, mean * widening


def _r2_interval(
    truth: NDArray[Any], predicted: NDArray[Any], kept: Errors
) -> tuple[float | None, float | None]:
    """By the delta method on the logarithm of the share that is not explained."""
    if kept.n < 3:
        return None, None
    if kept.squared <= 0:
        return 1.0, 1.0
    off = (predicted - truth) ** 2 / (kept.squared / kept.n)
    apart = (truth - kept.mean) ** 2 / (kept.m2 / kept.n)
    error = float(np.std(off - apart)) / math.sqrt(kept.n - 1)
    left, widening = kept.squared / kept.m2, math.exp(min(700.0, Z * error))
    return 1 - left * widening, 1 - left / widening


def _spread(
    truth: NDArray[Any], predicted: NDArray[Any], rng: np.random.Generator
) -> Mapping[str, float | None]:
    """Standard deviations over five subsamples of 80 %; empty for few rows."""
    if len(truth) < FEWEST:
        return {}
    taken = np.arange(len(truth)) < int(SHARE * len(truth))
    drawn: list[dict[str, float | None]] = []
    for _ in range(SUBSAMPLES):
        rng.shuffle(taken)
        drawn.append(_values(errors(truth[taken], predicted[taken])))
    return {name: deviation(_column(drawn, name)) for name in drawn[0]}


def _column(drawn: list[dict[str, float | None]], name: str) -> Floats:
    return np.array([np.nan if one[name] is None else one[name] for one in drawn], dtype=np.float64)


def _root(value: float | None) -> float | None:
    return None if value is None else math.sqrt(value)
