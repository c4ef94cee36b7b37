"""Boosted trees that expect an error, kept as plain numbers.

scikit-learn grows them; what stays is which input each node asks, its threshold, where a missing value goes,
and the values of the leaves. A file of numbers can be read without running anybody's code.

Rows are scored as QuickScorer does (Lucchese et al., SIGIR 2015): leaves are numbered from left to right, and
a node that sends a row to the right rules out the leaves on its left. The row ends in the first leaf that is
left over. Nodes may be asked in any order, so each is one comparison of a whole column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality.resample import Floats

ROUNDS = 50
LEAVES = 15
_BLOCK = 16_384
"""Rows that are scored at a time, so that they stay near the processor."""


@dataclass(frozen=True, slots=True)
class Node:
    """One question."""

    column: int
    threshold: float
    """A value up to here goes left."""
    missing_left: bool
    rules_out: int
    """Bits of the leaves that a row cannot end in when it goes right."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Questions, and what the leaves add, from left to right."""

    nodes: tuple[Node, ...]
    leaves: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Trees:
    """A sum of regression trees."""

    start: float
    """What every row begins with."""
    trees: tuple[Tree, ...]

    def __call__(self, matrix: Floats) -> Floats:
        """One number for each row; NaN in the matrix is a missing value."""
        made = np.empty(len(matrix))
        for begin in range(0, len(matrix), _BLOCK):
            columns = np.ascontiguousarray(matrix[begin : begin + _BLOCK].T)
            made[begin : begin + _BLOCK] = self._block(columns)
        return made

    def _block(self, columns: Floats) -> Floats:
        first = _first_left_over()
        total = np.full(columns.shape[1], self.start)
        part = np.empty(columns.shape[1], dtype=np.uint16)
        for tree in self.trees:
            gone = np.zeros(columns.shape[1], dtype=np.uint16)
            for node in tree.nodes:
                seen = columns[node.column]
                right = seen > node.threshold if node.missing_left else ~(seen <= node.threshold)
                np.multiply(right, np.uint16(node.rules_out), out=part)
                gone |= part
            total += np.array(tree.leaves)[first[gone]]
        return total

    def record(self) -> dict[str, Any]:
        """Values that JSON can hold; an infinite threshold, which only a missing value passes, is null."""
        return {
            "start": self.start,
            "nodes": [
                [
                    [
                        one.column,
                        one.threshold if np.isfinite(one.threshold) else None,
                        int(one.missing_left),
                        one.rules_out,
                    ]
                    for one in tree.nodes
                ]
                for tree in self.trees
            ],
            "leaves": [list(tree.leaves) for tree in self.trees],
        }


def read(record: Mapping[str, Any], columns: int) -> Trees:
    """The trees of a record that ask this many columns.

    Raises:
        ValueError: its nodes do not form such trees.
    """
    made = []
    for nodes, leaves in zip(record["nodes"], record["leaves"], strict=True):
        asked = tuple(
            Node(int(column), np.inf if at is None else float(at), bool(missing), int(out))
            for column, at, missing, out in nodes
        )
        sound = 0 < len(leaves) <= LEAVES and all(
            0 <= one.column < columns and 0 <= one.rules_out < 2 ** (len(leaves) - 1) for one in asked
        )
        if not sound:
            raise ValueError("the estimator's trees point outside themselves; build the package again")
        made.append(Tree(asked, tuple(map(float, leaves))))
    return Trees(float(record["start"]), tuple(made))


def grow(matrix: Floats, target: Floats, *, seed: int) -> Trees:
    """Learn to expect a number from rows; the same rows and seed give the same trees."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    learner = HistGradientBoostingRegressor(
        max_iter=ROUNDS,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=max(5, min(50, len(matrix) // 50)),
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(limits=1):
        learner.fit(matrix, target)
    start = float(np.ravel(learner._baseline_prediction)[0])  # noqa: SLF001 - there is no public way to the nodes
    return Trees(start, tuple(_tree(one[0].nodes) for one in learner._predictors))  # noqa: SLF001


def _tree(grown: NDArray[Any]) -> Tree:
    """A tree of scikit-learn's, its leaves numbered from left to right."""
    nodes: list[Node] = []
    leaves: list[float] = []

    def walk(at: int) -> None:
        node = grown[at]
        if node["is_leaf"]:
            leaves.append(float(node["value"]))
            return
        begin = len(leaves)
        walk(int(node["left"]))
        out = 2 ** len(leaves) - 2**begin
        missing_left = bool(node["missing_go_to_left"])
        nodes.append(Node(int(node["feature_idx"]), float(node["num_threshold"]), missing_left, out))
        walk(int(node["right"]))

    walk(0)
    return Tree(tuple(nodes), tuple(leaves))


@lru_cache(maxsize=1)
def _first_left_over() -> NDArray[np.uint8]:
    """For every set of leaves that are ruled out the first one that is not."""
    sets = np.arange(2**LEAVES)
    full = [(sets & (2**k - 1)) == 2**k - 1 for k in range(1, LEAVES)]
    return np.asarray(np.sum(full, axis=0), dtype=np.uint8)
