"""Partial dependence: the mean score when one feature is set to a value in every row.

Numbers are tried at the centres of equal buckets between their smallest and largest value, texts at all their
values, as SageMaker Clarify does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from monitoring.explain.globally import Numbers

Columns = Mapping[str, npt.NDArray[Any]]
"""Arrays of the shape (rows, 1) by name: numbers with NaN for missing, texts as objects with ""."""
Score = Callable[[Columns], Numbers]
"""Scores by row and output; called with many rows at once."""

RESOLUTION = 15
"""Buckets of a number."""
MOST_VALUES = 100
"""Values of a text that are tried, the most frequent ones."""
AT_ONCE = 65_536
"""Model rows per call, about."""


@dataclass(frozen=True, slots=True)
class Dependence:
    """One feature's partial dependence."""

    feature: str
    kind: Literal["numerical", "categorical"]
    values: tuple[float | str, ...] = ()
    """What the feature was set to."""
    predictions: tuple[tuple[float, ...], ...] = ()
    """Mean scores by output and value."""
    distribution: tuple[float, ...] = ()
    """Part of the rows in each bucket, or with each value; rows without a value do not count."""
    error: str = ""
    """Why there is nothing."""

    def document(self) -> dict[str, Any]:
        """One entry of `pdp` in `analysis.json`."""
        head: dict[str, Any] = {"feature_name": self.feature, "data_type": self.kind}
        if self.error:
            return {**head, "error": self.error}
        return {
            **head,
            "feature_values": list(self.values),
            "model_predictions": [list(one) for one in self.predictions],
            "data_distribution": list(self.distribution),
        }


def partial_dependence(
    score: Score, columns: Columns, feature: str, *, resolution: int = RESOLUTION
) -> Dependence:
    """Partial dependence of a model on one feature, over the rows given.

    A feature that cannot be varied gives a value with `error`.
    """
    given = columns[feature][:, 0]
    numeric = given.dtype.kind == "f"
    kind: Literal["numerical", "categorical"] = "numerical" if numeric else "categorical"
    values: Sequence[float | str]
    values, counts = buckets(given, resolution) if numeric else categories(given)
    if not values:
        return Dependence(feature, kind, error="no row has a value; nothing was computed")
    table = np.array(list(_means(score, columns, feature, values)))
    shares = tuple((np.asarray(counts) / sum(counts)).tolist())
    return Dependence(feature, kind, tuple(values), tuple(map(tuple, table.T.tolist())), shares)


def buckets(given: npt.NDArray[np.floating], resolution: int) -> tuple[list[float], list[int]]:
    """Centres of equal buckets, and how many values are in each; one bucket for a constant."""
    finite = given[np.isfinite(given)].astype(np.float64)
    if not len(finite):
        return [], []
    low, high = finite.min(), finite.max()
    if low == high:
        return [float(low)], [len(finite)]
    edges = np.linspace(low, high, resolution + 1)
    counts, _ = np.histogram(finite, edges)
    return ((edges[1:] + edges[:-1]) / 2).tolist(), counts.tolist()


def categories(given: npt.NDArray[Any]) -> tuple[list[str], list[int]]:
    """The most frequent values in the order of their names, and how many of each there are."""
    counts: dict[str, int] = {}
    for value in given.tolist():
        counts[str(value)] = counts.get(str(value), 0) + 1
    counts.pop("", None)
    kept = sorted(sorted(counts, key=lambda value: (-counts[value], value))[:MOST_VALUES])
    return list(kept), [counts[value] for value in kept]


def _means(score: Score, columns: Columns, feature: str, values: Sequence[float | str]) -> Iterator[Numbers]:
    """Mean scores by output, value by value; the rows of several values go to the model in one call."""
    rows = len(columns[feature])
    step = max(1, AT_ONCE // rows)
    for start in range(0, len(values), step):
        some = values[start : start + step]
        tiled = {name: np.tile(column, (len(some), 1)) for name, column in columns.items() if name != feature}
        tried = np.repeat(np.array(some, dtype=columns[feature].dtype), rows).reshape(-1, 1)
        asked = {name: tried if name == feature else tiled[name] for name in columns}
        scores = np.asarray(score(asked), dtype=np.float64)
        yield from scores.reshape(len(some), rows, -1).mean(axis=1)
