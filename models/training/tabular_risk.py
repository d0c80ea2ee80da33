"""Labelled declarations → the tabular risk model."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression

from models.datasets.declarations import Labelled
from models.datasets.history import History, replay
from models.networks.onnx_export import export
from models.networks.tabular import LeafNetwork
from models.progress import Say
from models.risk.tabular import FEATURES, Scale
from models.training import leaf_network
from models.training.trees import Trees
from models.vectors import Array

PARAMETERS: Final = {
    "objective": "binary",
    "num_leaves": 15,
    "learning_rate": 0.05,
    "bagging_freq": 1,
    "bagging_fraction": 0.8,
    "feature_fraction": 0.6,
    "deterministic": True,
    "verbose": -1,
}
ROUNDS: Final = 200
HELD: Final = 0.25
"""Latest share of the training period, on which the scale is fitted."""
TREES: Final = "trees.safetensors"
LEAVES: Final = "leaves.safetensors"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model, before it is exported."""

    booster: Any
    network: LeafNetwork
    scale: Scale

    def outputs(self, rows: Array) -> Array:
        """Return the log-odds of trees and network, and the network's revenue: (N, 3)."""
        leaves = _leaves(self.booster, rows)
        with torch.no_grad():
            outputs = self.network(torch.from_numpy(leaves), torch.from_numpy(rows)).numpy()
        trees = self.booster.predict(rows, raw_score=True)
        return np.column_stack([trees, outputs]).astype(np.float32)

    def probabilities(self, rows: Array) -> Array:
        """Return the calibrated probability of irregularity of features (N, F)."""
        trees, network, _ = self.outputs(rows).T
        odds = self.scale.base + self.scale.trees * trees + self.scale.network * network
        probabilities: Array = 1 / (1 + np.exp(-odds))
        return probabilities

    def save(self, directory: Path) -> None:
        """Write what `export_tabular` reads."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file(Trees.of(self.booster.dump_model()).arrays(), directory / TREES)
        state = {name: value.numpy() for name, value in self.network.state_dict().items()}
        save_file(
            {n: v.astype(np.float16) if n == "embedding.weight" else v for n, v in state.items()},
            directory / LEAVES,
        )
        (directory / "tabular.json").write_text(
            json.dumps({"features": FEATURES, "scale": asdict(self.scale)}, indent=2) + "\n"
        )


def export_tabular(artifacts: Path, directory: Path) -> None:
    """Write the ONNX of a saved model: trees.onnx and leaves.onnx."""
    trees = Trees(**load_file(artifacts / TREES))
    trees.export(directory / "trees.onnx", len(FEATURES))
    count = int(trees.tree[-1]) + 1
    state = {n: torch.from_numpy(v) for n, v in load_file(artifacts / LEAVES).items()}
    leaves = state["embedding.weight"].shape[0] // count
    network = LeafNetwork(count, leaves, len(FEATURES))
    whole = {name: value for name, value in state.items() if not value.is_floating_point()}
    network.load_state_dict({n: v.float() for n, v in state.items() if n not in whole} | whole)
    example = (torch.zeros(2, count, dtype=torch.int64), torch.zeros(2, len(FEATURES)))
    export(network, example, directory / "leaves.onnx", ["leaves", "features"], ("heads",))


def fit(
    rows: Sequence[Labelled], *, seed: int = 7, say: Say = lambda *_: None
) -> tuple[Fitted, History]:
    """Train on declarations in the order of time.

    The scale is fitted on the latest quarter by a model of the earlier ones; trees and network are
    then trained on all.

    Returns:
        The model, and the history that it ends with.
    """
    say("Replaying the training period")
    history = History()
    features = replay(rows, history)
    irregular = np.array([row.irregular for row in rows], np.float32)
    revenue = np.array([row.revenue for row in rows], np.float32)
    return fit_features(features, irregular, revenue, seed=seed, say=say), history


def fit_features(
    features: Array, irregular: Array, revenue: Array, *, seed: int, say: Say = lambda *_: None
) -> Fitted:
    """Train on features (N, F) in the order of time, irregular (N,) and revenue (N,)."""
    costs = _scaled(revenue) * irregular
    early = int(len(features) * (1 - HELD))
    say("Training on the earlier part, to fit the scale on the later")
    unscaled = Scale(0.5, 0.5, 0.0, 0.0)
    booster, network = _train(features[:early], irregular[:early], costs[:early], seed)
    held = Fitted(booster, network, unscaled).outputs(features[early:])
    scale = fit_scale(held[:, 0], held[:, 1], irregular[early:], usual=float(irregular.mean()))
    say("Training on all")
    booster, network = _train(features, irregular, costs, seed)
    return Fitted(booster, network, scale)


def fit_scale(trees: Array, network: Array, irregular: Array, *, usual: float) -> Scale:
    """Fit the calibrated log-odds; neither part may count against the other."""
    mean = LogisticRegression(C=1e6).fit(((trees + network) / 2)[:, None], irregular)
    slope, base = float(mean.coef_[0, 0]), float(mean.intercept_[0])
    return Scale(
        trees=round(slope / 2, 6),
        network=round(slope / 2, 6),
        base=round(base, 6),
        usual=round(math.log(usual / (1 - usual)), 6),
    )


def _train(features: Array, irregular: Array, revenue: Array, seed: int) -> tuple[Any, LeafNetwork]:
    data = lightgbm.Dataset(np.ascontiguousarray(features), np.ascontiguousarray(irregular))
    booster = lightgbm.train(PARAMETERS | {"seed": seed}, data, num_boost_round=ROUNDS)
    network = leaf_network.train(
        _leaves(booster, features), features, irregular, revenue, seed=seed
    )
    return booster, network


def _leaves(booster: Any, features: Array) -> Any:
    return booster.predict(features, pred_leaf=True).astype(np.int64)


def _scaled(revenue: Array) -> Array:
    """Return the logarithms, scaled to a mean of 1 over those that are not 0."""
    logs = np.log1p(revenue)
    return np.asarray(logs / max(float(logs[logs > 0].mean()) if (logs > 0).any() else 1.0, 1e-6))
