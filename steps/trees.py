"""Tree ensembles whose ONNX translation needs a correction.

skl2onnx translates the category sets of histogram gradient boosting as if they were thresholds, and drops
where scikit-learn's plain trees send missing values. Both are rewritten here from the fitted estimators.
A category set becomes a chain of equality tests that share one branch, as LightGBM's converter writes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

ENSEMBLES = {"TreeEnsembleClassifier": "class", "TreeEnsembleRegressor": "target"}
"""Operators, and the prefix of their leaf attributes."""


def correct(graph: Any, estimator: Any) -> None:
    """Rewrite the one tree ensemble of an ONNX graph from the fitted estimator behind it.

    Does nothing for estimators that are translated faithfully, or that are no tree ensembles.
    """
    found = [node for node in graph.node if node.op_type in ENSEMBLES]
    if len(found) != 1:
        return
    if getattr(estimator, "is_categorical_", None) is not None:
        _write(found[0], _histogram_nodes(estimator), _leaf_outputs(found[0]))
    elif trees := _plain_trees(estimator):
        _send_missing(found[0], trees)


@dataclass(frozen=True, slots=True)
class _Branches:
    yes: int
    no: int
    missing: int = 0
    """1 when missing values take the branch `yes`."""


@dataclass(slots=True)
class _Nodes:
    """The node table of an ensemble, column by column, in ONNX's words."""

    treeids: list[int] = field(default_factory=list)
    nodeids: list[int] = field(default_factory=list)
    featureids: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    truenodeids: list[int] = field(default_factory=list)
    falsenodeids: list[int] = field(default_factory=list)
    missing_value_tracks_true: list[int] = field(default_factory=list)
    leaves: list[tuple[int, int, float]] = field(default_factory=list)
    """Tree, node and value of each leaf."""

    def test(self, at: tuple[int, int], mode: str, feature: int, value: float, branches: _Branches) -> None:
        """Write the node `at` (tree, node)."""
        self.treeids.append(at[0])
        self.nodeids.append(at[1])
        self.modes.append(mode)
        self.featureids.append(feature)
        self.values.append(value)
        self.truenodeids.append(branches.yes)
        self.falsenodeids.append(branches.no)
        self.missing_value_tracks_true.append(branches.missing)

    def leaf(self, at: tuple[int, int], value: float) -> None:
        """Write a leaf."""
        self.test(at, "LEAF", 0, 0.0, _Branches(0, 0))
        self.leaves.append((*at, value))


@dataclass(frozen=True, slots=True)
class _Inputs:
    """How the ensemble's inner columns map to the columns it is given.

    Histogram gradient boosting moves categorical columns to the front and numbers their categories anew.
    """

    positions: tuple[int, ...]
    categories: tuple[tuple[float, ...], ...]
    """Values of each inner categorical column by inner code, without the missing value."""


def _inputs(estimator: Any) -> _Inputs:
    categorical = np.asarray(estimator.is_categorical_)
    positions = (*np.flatnonzero(categorical).tolist(), *np.flatnonzero(~categorical).tolist())
    encoder = estimator._preprocessor.named_transformers_["encoder"]  # noqa: SLF001 - no public way
    categories = tuple(tuple(float(v) for v in known if v == v) for known in encoder.categories_)  # noqa: PLR0124
    return _Inputs(positions, categories)


def _histogram_nodes(estimator: Any) -> _Nodes:
    inputs, table = _inputs(estimator), _Nodes()
    trees = [tree for iteration in estimator._predictors for tree in iteration]  # noqa: SLF001 - no public way
    for number, tree in enumerate(trees):
        spare = len(tree.nodes)
        for position, node in enumerate(tree.nodes):
            if node["is_leaf"]:
                table.leaf((number, position), float(node["value"]))
            elif node["is_categorical"]:
                codes = _codes(tree.raw_left_cat_bitsets[node["bitset_idx"]])
                spare = _member(table, (number, position), node, codes, inputs, spare)
            else:
                feature, threshold = inputs.positions[node["feature_idx"]], float(node["num_threshold"])
                branches = _Branches(int(node["left"]), int(node["right"]), int(node["missing_go_to_left"]))
                table.test((number, position), "BRANCH_LEQ", feature, threshold, branches)
    return table


def _member(
    table: _Nodes, at: tuple[int, int], node: Any, left: set[int], inputs: _Inputs, spare: int
) -> int:
    """Write one category set; returns the next free node id.

    A value outside all known categories fails every test, so the branch for missing values comes last.
    """
    feature = int(node["feature_idx"])
    missing_left = bool(node["missing_go_to_left"])
    yes, no = int(node["left"]), int(node["right"])
    if missing_left:
        yes, no = no, yes
    values = inputs.categories[feature]
    members = [value for code, value in enumerate(values) if (code in left) != missing_left]
    tree, position = at
    for value in members[:-1]:
        table.test((tree, position), "BRANCH_EQ", inputs.positions[feature], value, _Branches(yes, spare))
        position, spare = spare, spare + 1
    table.test((tree, position), "BRANCH_EQ", inputs.positions[feature], members[-1], _Branches(yes, no))
    return spare


def _codes(words: Any) -> set[int]:
    return {32 * n + bit for n, word in enumerate(words.tolist()) for bit in range(32) if word >> bit & 1}


def _leaf_outputs(node: Any) -> list[int]:
    """Output index of each tree, as the translation numbered them."""
    prefix = ENSEMBLES[node.op_type]
    attributes = {item.name: item for item in node.attribute}
    trees, outputs = attributes[f"{prefix}_treeids"].ints, attributes[f"{prefix}_ids"].ints
    by_tree = dict(zip(trees, outputs, strict=True))
    return [by_tree[tree] for tree in sorted(by_tree)]


def _write(node: Any, table: _Nodes, outputs: list[int]) -> None:
    prefix = ENSEMBLES[node.op_type]
    new: dict[str, list[Any]] = {
        f"nodes_{name}": getattr(table, name) for name in _Nodes.__slots__ if name != "leaves"
    }
    new["nodes_hitrates"] = [1.0] * len(table.nodeids)
    new[f"{prefix}_treeids"] = [tree for tree, _, _ in table.leaves]
    new[f"{prefix}_nodeids"] = [leaf for _, leaf, _ in table.leaves]
    new[f"{prefix}_ids"] = [outputs[tree] for tree, _, _ in table.leaves]
    new[f"{prefix}_weights"] = [value for _, _, value in table.leaves]
    _replace(node, new)


def _plain_trees(estimator: Any) -> list[Any]:
    """The fitted trees of a decision tree or forest, in the translation's order."""
    members = getattr(estimator, "estimators_", None)
    found = [estimator] if members is None else list(np.ravel(np.asarray(members, dtype=object)))
    return [member.tree_ for member in found if hasattr(member, "tree_")]


def _send_missing(node: Any, trees: list[Any]) -> None:
    attributes = {item.name: item for item in node.attribute}
    ids = zip(attributes["nodes_treeids"].ints, attributes["nodes_nodeids"].ints, strict=True)
    modes = attributes["nodes_modes"].strings
    tracks = [
        int(mode != b"LEAF" and bool(trees[tree].missing_go_to_left[position]))
        for (tree, position), mode in zip(ids, modes, strict=True)
    ]
    _replace(node, {"nodes_missing_value_tracks_true": tracks})


def _replace(node: Any, new: dict[str, list[Any]]) -> None:
    from onnx import helper

    kept = [item for item in node.attribute if item.name not in new]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(helper.make_attribute(name, values) for name, values in sorted(new.items()))
