"""Boosted trees of LightGBM as plain arrays, and those arrays as ONNX that also outputs the leaves.

The usual converters output only the sum of the trees; the network over the leaves needs each leaf.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

LEAF: Final = -1
"""Stands for the feature of a node that is a leaf."""
IR_VERSION: Final = 8


@dataclass(frozen=True, slots=True)
class Trees:
    """Nodes of all trees (N,), tree by tree; the first child follows its parent."""

    tree: NDArray[np.int16]
    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]  # of a leaf: its value
    second: NDArray[np.int16]  # place of the second child in its tree; of a leaf: its number
    missing_first: NDArray[np.bool_]  # whether an unknown value goes to the first child

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Self:
        """Take what LightGBM's `Booster.dump_model` gives; trees of numeric features only."""
        columns: tuple[list[Any], ...] = ([], [], [], [], [])
        for number, tree in enumerate(model["tree_info"]):
            start = len(columns[0])
            _walk(tree["tree_structure"], number, start, columns)
        kinds = (np.int16, np.int16, np.float32, np.int16, np.bool_)
        return cls(*(np.array(c, kind) for c, kind in zip(columns, kinds, strict=True)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name, to be stored."""
        return {name: getattr(self, name) for name in self.__slots__}

    def export(self, path: Path, features: int) -> None:
        """Write ONNX: features (B, F) → (B, T + 1), the leaf of each tree, then the sum."""
        count = int(self.tree[-1]) + 1
        leaf = self.feature == LEAF
        first_of = np.searchsorted(self.tree, self.tree)
        nodes = np.arange(len(self.tree)) - first_of
        targets = np.stack([self.tree[leaf].astype(np.int64), np.full(leaf.sum(), count)], 1)
        weights = np.stack([self.second[leaf].astype(np.float32), self.threshold[leaf]], 1)
        node = helper.make_node(
            "TreeEnsembleRegressor",
            ["features"],
            ["leaves_and_sum"],
            domain="ai.onnx.ml",
            n_targets=count + 1,
            nodes_treeids=self.tree.tolist(),
            nodes_nodeids=nodes.tolist(),
            nodes_featureids=np.where(leaf, 0, self.feature).tolist(),
            nodes_modes=["LEAF" if is_leaf else "BRANCH_LEQ" for is_leaf in leaf],
            nodes_values=np.where(leaf, 0, self.threshold).astype(np.float32).tolist(),
            nodes_truenodeids=np.where(leaf, 0, nodes + 1).tolist(),
            nodes_falsenodeids=np.where(leaf, 0, self.second).tolist(),
            nodes_missing_value_tracks_true=self.missing_first.astype(int).tolist(),
            target_treeids=np.repeat(self.tree[leaf], 2).tolist(),
            target_nodeids=np.repeat(nodes[leaf], 2).tolist(),
            target_ids=targets.ravel().tolist(),
            target_weights=weights.ravel().tolist(),
        )
        graph = helper.make_graph(
            [node],
            "trees",
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", features])],
            [helper.make_tensor_value_info("leaves_and_sum", TensorProto.FLOAT, ["batch", None])],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        onnx.save(model, path)


def _walk(node: Mapping[str, Any], tree: int, start: int, columns: tuple[list[Any], ...]) -> None:
    trees, features, thresholds, seconds, missing = columns
    here = len(trees)
    trees.append(tree)
    if "split_feature" not in node:
        features.append(LEAF)
        thresholds.append(node["leaf_value"])
        seconds.append(node.get("leaf_index", 0))
        missing.append(False)
        return
    features.append(node["split_feature"])
    thresholds.append(_not_above(node["threshold"]))
    # A feature that was never unknown in training: LightGBM then takes unknown for 0.
    first = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
    missing.append(first)
    seconds.append(0)
    _walk(node["left_child"], tree, start, columns)
    seconds[here] = len(trees) - start
    _walk(node["right_child"], tree, start, columns)


def _not_above(threshold: float) -> np.float32:
    """Round down, so that just the float32 up to the threshold are up to the result."""
    rounded = np.float32(threshold)
    return rounded if rounded <= threshold else np.nextafter(rounded, np.float32(-np.inf))
