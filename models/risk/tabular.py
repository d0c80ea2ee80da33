"""Attributes, past inspections and prices of peers → how likely such a declaration was irregular.

Boosted trees, and on their leaves the attentive network of DATE. Both hear the same features, none
of which is a vocabulary.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from models.encoding.backends import OnnxBackend
from models.risk.attributes import HISTORIES, Attributes
from models.risk.signals import Peers, Rate
from models.vectors import Array

RATED: Final = tuple(name for name in HISTORIES if name != "all")
FEATURES: Final = (
    "price",
    "price_in_spreads",
    "mass",
    "duty_rate",
    *(f"{name}_{what}" for name in RATED for what in ("lift", "count")),
)
SMOOTHING: Final = 4.0
"""A past rate is drawn to that of all by as many inspections."""
ENOUGH: Final = 64
"""More past inspections are not told apart: counts that grow for ever would tell the date."""


def features(attributes: Attributes, rates: Mapping[str, Rate], peers: Peers | None) -> Array:
    """Return FEATURES (F,); NaN for what is unknown.

    A past rate is told relative to that of all inspections, so that a model learned where 22 of
    100 are irregular serves where 5 are.

    Args:
        attributes: of the goods item.
        rates: past inspections by HISTORIES, none later than the declaration.
        peers: unit prices of comparable goods, in the currency of the amount.
    """
    found = dict.fromkeys(FEATURES[:4], math.nan)
    amount, mass, duty = attributes.amount, attributes.net_mass, attributes.duty_rate
    if mass and mass > 0:
        found["mass"] = math.log(mass)
        if peers is not None and amount and amount > 0:
            found["price"] = math.log(amount / mass) - peers.median
            found["price_in_spreads"] = found["price"] / peers.spread
    if duty is not None:
        found["duty_rate"] = duty
    every = rates.get("all", Rate(0, 0))
    usual = (every.irregular + 0.5) / (every.inspected + 1)
    for name in RATED:
        past = rates.get(name, Rate(0, 0))
        smooth = (past.irregular + SMOOTHING * usual) / (past.inspected + SMOOTHING)
        found[f"{name}_lift"] = math.log(smooth / usual)
        found[f"{name}_count"] = math.log1p(min(past.inspected, ENOUGH))
    return np.array([found[name] for name in FEATURES], np.float32)


@dataclass(frozen=True, slots=True)
class Scale:
    """Log-odds of trees and network → calibrated log-odds (Platt, 1999)."""

    trees: float
    network: float
    base: float
    usual: float
    """Log-odds of irregularity among the declarations of the training."""

    def log_odds(self, trees: float, network: float) -> float:
        """Return the calibrated log-odds, where irregularities are as frequent as in training."""
        return self.base + self.trees * trees + self.network * network


@dataclass(frozen=True, slots=True)
class Tabular:
    """What the attributes say of a goods item."""

    log_ratio: float
    """How much likelier they are of irregular goods than of regular ones. Unit: nats."""
    probability: float
    """Of irregularity, where that is as frequent as in the training."""


class TabularModel:
    """The exported model. Thread safe."""

    def __init__(self, trees: OnnxBackend, network: OnnxBackend, scale: Scale) -> None:
        self._trees = trees
        self._network = network
        self._scale = scale

    @classmethod
    def load(cls, directory: Path, *, threads: int = 1) -> Self:
        """Load it from a verified bundle."""
        scale = json.loads((directory / "tabular.json").read_text())["scale"]
        return cls(
            OnnxBackend(directory / "trees.onnx", threads=threads),
            OnnxBackend(directory / "leaves.onnx", threads=threads),
            Scale(**scale),
        )

    def judge(self, row: Array) -> Tabular:
        """Judge features (F,)."""
        batch = row[np.newaxis]
        (out,) = self._trees.run({"features": batch})  # (T + 1,)
        leaves = out[np.newaxis, :-1].astype(np.int64)
        ((fraud, _),) = self._network.run({"leaves": leaves, "features": batch})
        log_odds = self._scale.log_odds(float(out[-1]), float(fraud))
        return Tabular(log_odds - self._scale.usual, 1 / (1 + math.exp(-log_odds)))
