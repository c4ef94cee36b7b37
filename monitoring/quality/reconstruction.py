"""How far rows have left the shape of the reference: inputs that no longer move together.

The reference is standardised and its principal components are kept; a row that they describe badly has a
large reconstruction error. Each input may look as before while the error grows, so it warns where estimates
of quality rest on inputs the reference never saw together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from monitoring.quality.resample import Floats

KEPT = 0.65
"""Share of the variance that the components keep, as NannyML has it."""


@dataclass(frozen=True, slots=True)
class Error:
    """Mean Euclidean distance of standardised rows from what the components say."""

    value: float
    standard_error: float
    rows: int


@dataclass(frozen=True, slots=True)
class Components:
    """The shape of the reference."""

    mean: tuple[float, ...]
    """Of each column; what a missing value is taken for."""
    scale: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...]
    """Principal components, the strongest first."""

    def error(self, matrix: Floats) -> Error | None:
        """The reconstruction error of rows; None without any.

        Args:
            matrix: the columns of the reference; NaN is a missing value.
        """
        if not len(matrix):
            return None
        filled = np.where(np.isfinite(matrix), matrix, np.array(self.mean))
        seen = (filled - np.array(self.mean)) / np.array(self.scale)
        axes = np.array(self.axes)
        apart = np.linalg.norm(seen - (seen @ axes.T) @ axes, axis=1)
        spread = float(apart.std(ddof=1)) if len(apart) > 1 else 0.0
        return Error(float(apart.mean()), spread / math.sqrt(len(apart)), len(apart))

    def record(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        return {"mean": list(self.mean), "scale": list(self.scale), "axes": [list(one) for one in self.axes]}


def read(record: Mapping[str, Any]) -> Components:
    """The components of a record."""
    axes = tuple(tuple(map(float, one)) for one in record["axes"])
    return Components(tuple(map(float, record["mean"])), tuple(map(float, record["scale"])), axes)


def components(matrix: Floats, count: int | None = None) -> Components | None:
    """The shape of reference rows; None when fewer than two columns vary.

    Args:
        matrix: rows and columns of numbers; NaN is a missing value.
        count: components to keep; None keeps 65 % of the variance, and leaves at least one direction out.
    """
    if len(matrix) < 2:
        return None
    known = np.isfinite(matrix)
    rows = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, matrix, 0.0).sum(axis=0) / rows
    apart = np.where(known, matrix - mean, 0.0)
    spread = np.sqrt((apart**2).mean(axis=0))
    varying = spread > 0
    if varying.sum() < 2:
        return None
    scale = np.where(varying, spread, 1.0)
    seen = apart / scale
    strength, axes = np.linalg.eigh(seen.T @ seen / len(seen))
    strength, axes = strength[::-1].clip(min=0), axes[:, ::-1].T
    if count is None:
        reached = np.cumsum(strength) / strength.sum() >= KEPT - 1e-12
        count = min(int(np.argmax(reached)) + 1, int(varying.sum()) - 1)
    kept = tuple(tuple(map(float, axis)) for axis in axes[:count])
    return Components(tuple(map(float, mean)), tuple(map(float, scale)), kept)
