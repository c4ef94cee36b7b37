"""How columns are handed to a compiled model.

Its graph has one input for all numbers, side by side, and one for each column of text after it: every input
costs as much time as a small model. A graph of before has one input per column.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.codecs.layout import Array, Block, Columns


class Feeding:
    """The inputs of one graph.

    Args:
        graph: names of its inputs, in their order.
        columns: names of the model's columns, in their order.
        numbers: those that are numbers.

    Raises:
        ValueError: the graph does not take these columns.
    """

    def __init__(self, graph: Sequence[str], columns: Sequence[str], numbers: Sequence[str]) -> None:
        self._numbers = tuple(numbers)
        texts = [name for name in columns if name not in set(numbers)]
        self._together = graph[0] if len(graph) == 1 + len(texts) < len(columns) else ""
        wanted = texts if self._together else columns
        if len(graph) - bool(self._together) != len(wanted):
            raise ValueError(f"the graph takes {len(graph)} inputs, not these {len(columns)} columns")
        self._single = tuple(zip(graph[-len(wanted) :] if wanted else (), wanted, strict=True))

    def __call__(self, columns: Columns) -> dict[str, Array]:
        """The graph's inputs by name."""
        feeds = {name: columns[column] for name, column in self._single}
        if self._together:
            feeds[self._together] = side_by_side(columns, self._numbers)
        return feeds


def side_by_side(columns: Columns, numbers: Sequence[str]) -> Array:
    """The columns of these names as one array, the one they were read into where it is there."""
    if isinstance(columns, Block):
        return columns.numbers
    return np.hstack([columns[name] for name in numbers])
