"""How fast two runtimes of one model answer, by batch size, and which of them should answer what.

Times differ from run to run, so they go into the step's report and never into the package; the package keeps
the decision alone, and only a clear difference makes one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SIZES = (1, 10, 100, 1000)
"""Rows per call that are measured."""
MARGIN = 1.5
"""The trained model must be this many times faster before it is worth its memory."""
_LEAST, _MOST, _SECONDS = 5, 51, 0.2
"""Calls per size, and the time after which no more are made."""

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Speed:
    """Median seconds of one call."""

    rows: int
    """Rows in the call."""
    sklearn: float
    """By the trained model."""
    onnx: float | None
    """By the compiled model; None when there is none."""

    @property
    def ratio(self) -> float | None:
        """How many times faster the compiled model is."""
        return None if self.onnx is None else self.sklearn / self.onnx

    @property
    def close(self) -> bool:
        """Another measurement might decide the other way."""
        return self.ratio is not None and 1 / (1.4 * MARGIN) < self.ratio < 1.4 / MARGIN


def measure(rows: int, sklearn: Call, onnx: Call | None) -> Speed:
    """Time both calls in turns, so that a busy moment meets both; the first of each is not counted."""
    calls = [sklearn] if onnx is None else [sklearn, onnx]
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    began = time.perf_counter()
    while len(times[0]) < _LEAST or (
        len(times[0]) < _MOST and time.perf_counter() - began < _SECONDS * len(calls)
    ):
        for call, taken in zip(calls, times, strict=True):
            taken.append(_once(call))
    medians = [statistics.median(taken) for taken in times]
    return Speed(rows, medians[0], None if onnx is None else medians[1])


def crossover(speeds: Sequence[Speed], margin: float = MARGIN) -> int | None:
    """The measured batch size from which on the trained model is always `margin` times faster, if any."""
    found = None
    for one in sorted(speeds, key=lambda speed: speed.rows, reverse=True):
        if one.ratio is None or one.ratio > 1 / margin:
            break
        found = one.rows
    return found


def _once(call: Call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
