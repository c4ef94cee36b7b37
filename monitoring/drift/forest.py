"""Rows unlike any in the baseline: an isolation forest as plain arrays.

scikit-learn grows the trees once, at the baseline, from every other row; the rows between, which they never
saw, set the limit. What is kept is numbers (no pickle, nothing to trust), and scoring is a pure function of
them that needs numpy alone. Scores equal scikit-learn's `-score_samples`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from monitoring.drift import encoding
from monitoring.drift.distribution import Floats
from monitoring.drift.encoding import Encoding, halves, learnt, matrix

if TYPE_CHECKING:
    import polars as pl

TREES = 50
SAMPLE = 128
"""Rows from which each tree is grown."""
STRANGE = 0.01
"""Share of the baseline's rows that count as outliers."""
CHUNK = 65_536
"""Rows that are scored at once, so that memory does not grow with the table."""
_EULER = 0.5772156649015329
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees side by side; a node's children and split stand at its number."""

    columns: tuple[Encoding, ...]
    roots: Ints
    feature: Ints
    """Column a node splits by; -1 at a leaf."""
    threshold: Floats
    """Rows at most this go left; compared in single precision, as scikit-learn does."""
    left: Ints
    right: Ints
    length: Floats
    """Path length of a leaf: its depth, and what its rows would still need."""
    expected: float
    """Mean path length in a tree of the sample's size; what makes scores comparable."""
    limit: float
    """Score above which a row is an outlier."""
    above: int
    """Rows of the baseline above it, that no tree has seen …"""
    rows: int
    """… of so many."""


def fit(frame: pl.DataFrame, columns: Sequence[str], *, seed: int, trees: int = TREES) -> Forest:
    """Grow a forest from a baseline.

    Args:
        frame: its rows.
        columns: those to look at; numbers and texts.
        seed: equal seeds and rows give an equal forest.
        trees: how many.

    Raises:
        ValueError: there are fewer than two rows, or no columns.
    """
    from sklearn.ensemble import IsolationForest

    if frame.height < 2 or not columns:
        raise ValueError("a forest needs at least two rows and one column; give it the baseline's")
    seen, unseen = halves(frame)
    encodings = learnt(seen, columns)
    encoded = encode(encodings, seen)
    size = min(SAMPLE, len(encoded))
    model = IsolationForest(n_estimators=trees, max_samples=size, random_state=seed).fit(encoded)
    grown = _flatten(encodings, [one.tree_ for one in model.estimators_], size)
    scores = np.sort(score(grown, unseen))[::-1]
    above = int(STRANGE * len(scores))
    return replace(grown, limit=float(scores[above]), above=above, rows=len(scores))


def encode(columns: Sequence[Encoding], frame: pl.DataFrame) -> NDArray[np.float32]:
    """Rows as the trees see them."""
    return matrix(columns, frame).astype(np.float32)


def _flatten(columns: tuple[Encoding, ...], trees: Sequence[Any], size: int) -> Forest:
    counts = [tree.node_count for tree in trees]
    roots = np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int64)
    leaf = np.concatenate([tree.children_left < 0 for tree in trees])
    return Forest(
        columns=columns,
        roots=roots,
        feature=np.where(leaf, -1, np.concatenate([tree.feature for tree in trees])).astype(np.int64),
        threshold=_single(np.where(leaf, 0.0, np.concatenate([tree.threshold for tree in trees]))),
        left=_shifted([tree.children_left for tree in trees], roots),
        right=_shifted([tree.children_right for tree in trees], roots),
        length=np.concatenate([_lengths(tree) for tree in trees]),
        expected=float(_average_path(np.array([size]))[0]),
        limit=math.inf,
        above=0,
        rows=0,
    )


def _single(thresholds: Floats) -> Floats:
    """The largest numbers of single precision at most these: the same rows are at most them."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near).astype(float)


def _shifted(children: Sequence[Ints], roots: Ints) -> Ints:
    """Children's numbers among the nodes of all trees; 0 for those of leaves."""
    moved = [np.where(own < 0, 0, own + root) for own, root in zip(children, roots, strict=True)]
    return np.concatenate(moved).astype(np.int64)


def _lengths(tree: Any) -> Floats:
    """Depth of each node, and the average path in a tree of the rows that ended there."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # children stand behind their parents
        for child in (tree.children_left[node], tree.children_right[node]):
            if child > 0:
                depth[child] = depth[node] + 1
    return depth + _average_path(tree.n_node_samples)


def _average_path(rows: NDArray[Any]) -> Floats:
    """Mean depth of an unsuccessful search in a binary tree of so many rows (Liu, Ting and Zhou, 2008)."""
    n = np.maximum(rows, 3).astype(float)
    many = 2 * (np.log(n - 1) + _EULER) - 2 * (n - 1) / n
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, many))


def score(forest: Forest, frame: pl.DataFrame) -> Floats:
    """How isolated each row is, from 0 to 1; about 0.5 is usual. Rows above `forest.limit` are outliers."""
    return _scores(forest, encode(forest.columns, frame))


def _scores(forest: Forest, matrix: NDArray[np.float32]) -> Floats:
    parts = [_chunk(forest, matrix[at : at + CHUNK]) for at in range(0, len(matrix), CHUNK)]
    return np.concatenate(parts) if parts else np.empty(0)


def _chunk(forest: Forest, matrix: NDArray[np.float32]) -> Floats:
    total = np.zeros(len(matrix))
    for root in forest.roots:
        node = np.full(len(matrix), root)
        moving = np.flatnonzero(forest.feature[node] >= 0)
        while moving.size:
            here = node[moving]
            goes_left = matrix[moving, forest.feature[here]] <= forest.threshold[here]
            node[moving] = np.where(goes_left, forest.left[here], forest.right[here])
            moving = moving[forest.feature[node[moving]] >= 0]
        total += forest.length[node]
    if not forest.expected:
        return np.full(len(matrix), 0.5)
    return np.asarray(2.0 ** (-total / (len(forest.roots) * forest.expected)))


_KEPT = {
    "roots": "<i4",
    "feature": "<i2",
    "threshold": "<f4",
    "left": "<i4",
    "right": "<i4",
    "length": "<f8",
}
"""How each array is kept: the type of its numbers, their bytes as base64."""


def document(forest: Forest) -> dict[str, Any]:
    """The forest as JSON-able data; equal forests give equal documents."""
    arrays = {
        name: base64.b64encode(getattr(forest, name).astype(kind).tobytes()).decode()
        for name, kind in _KEPT.items()
    }
    numbers = {name: getattr(forest, name) for name in ("expected", "limit", "above", "rows")}
    return {"columns": encoding.document(forest.columns), **arrays, **numbers}


def read(document: Mapping[str, Any]) -> Forest:
    """A forest from `document`.

    Raises:
        ValueError: arrays do not fit together, or lead round in circles.
    """
    arrays = {
        name: np.frombuffer(base64.b64decode(document[name]), dtype=kind).astype(
            float if kind.startswith("<f") else np.int64
        )
        for name, kind in _KEPT.items()
    }
    forest = Forest(
        columns=encoding.read(document["columns"]),
        **arrays,
        expected=float(document["expected"]),
        limit=float(document["limit"]),
        above=int(document["above"]),
        rows=int(document["rows"]),
    )
    _check(forest)
    return forest


def _check(forest: Forest) -> None:
    nodes = len(forest.feature)
    inner = np.flatnonzero(forest.feature >= 0)
    sound = (
        all(len(getattr(forest, name)) == nodes for name in _KEPT if name != "roots")
        and (forest.feature < len(forest.columns)).all()
        and ((forest.roots >= 0) & (forest.roots < nodes)).all()
        and all(((side[inner] > inner) & (side[inner] < nodes)).all() for side in (forest.left, forest.right))
    )
    if not sound:
        raise ValueError("these arrays are no isolation forest; make the baseline again")
