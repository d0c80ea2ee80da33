"""Attributes, past inspections and prices of peers → how likely such a declaration was irregular.

Boosted trees, and on their leaves the attentive network of DATE. Both take the same features, none
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
from models.risk.likelihoods import CAP, LikelihoodRatio
from models.risk.model import FIRES
from models.risk.prices import log_unit_price
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
"""A past rate is drawn towards that of all inspections by so many imagined ones."""
ENOUGH: Final = 64
"""Largest count of past inspections: counts that grow for ever would reveal the date."""


def features(attributes: Attributes, rates: Mapping[str, Rate], peers: Peers | None) -> Array:
    """Return FEATURES (F,); NaN for what is unknown.

    A past rate is relative to that of all inspections, so that a model trained where 22 of 100 are
    irregular serves where 5 are.

    Args:
        attributes: of the goods item.
        rates: past inspections by HISTORIES, none later than the declaration.
        peers: unit prices of comparable goods, in the currency of the amount.
    """
    values = dict.fromkeys(FEATURES[:4], math.nan)
    mass, duty = attributes.net_mass, attributes.duty_rate
    price = log_unit_price(attributes.amount, mass)
    if mass and mass > 0:
        values["mass"] = math.log(mass)
    if peers is not None and price is not None:
        values["price"] = price - peers.median
        values["price_in_spreads"] = values["price"] / peers.spread
    if duty is not None:
        values["duty_rate"] = duty
    every = rates.get("all", Rate(0, 0))
    usual = (every.irregular + 0.5) / (every.inspected + 1)
    for name in RATED:
        past = rates.get(name, Rate(0, 0))
        smooth = (past.irregular + SMOOTHING * usual) / (past.inspected + SMOOTHING)
        values[f"{name}_lift"] = math.log(smooth / usual)
        values[f"{name}_count"] = math.log1p(min(past.inspected, ENOUGH))
    return np.array([values[name] for name in FEATURES], np.float32)


@dataclass(frozen=True, slots=True)
class Scale:
    """Log-odds of trees and network → calibrated log-odds (Platt, 1999)."""

    trees: float
    network: float
    base: float
    usual: float
    """Log-odds of irregularity among the training declarations."""

    def log_odds(self, trees: float, network: float) -> float:
        """Return the calibrated log-odds, where irregularities are as frequent as in training."""
        return self.base + self.trees * trees + self.network * network


@dataclass(frozen=True, slots=True)
class Tabular:
    """The model's answer on one goods item."""

    log_ratio: float
    """How much likelier they are of irregular goods than of regular ones. Unit: nats."""
    probability: float
    """Of irregularity, where that is as frequent as in training."""


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
        """Judge one goods item by its features (F,)."""
        batch = row[np.newaxis]
        (leaves_and_sum,) = self._trees.run({"features": batch})  # (T + 1,)
        leaves = leaves_and_sum[np.newaxis, :-1].astype(np.int64)
        ((fraud, _),) = self._network.run({"leaves": leaves, "features": batch})
        log_odds = self._scale.log_odds(float(leaves_and_sum[-1]), float(fraud))
        return Tabular(log_odds - self._scale.usual, 1 / (1 + math.exp(-log_odds)))

    def likelihood_ratio(
        self, attributes: Attributes, rates: Mapping[str, Rate], peers: Peers | None
    ) -> LikelihoodRatio | None:
        """Return what past inspections say of a goods item; None before the first one.

        Args:
            attributes: of the goods item.
            rates: past inspections by HISTORIES.
            peers: unit prices of comparable goods.
        """
        if "all" not in rates:
            return None

        def log_ratio(some_rates: Mapping[str, Rate]) -> float:
            return self.judge(features(attributes, some_rates, peers)).log_ratio

        ratio, words = log_ratio(rates), ""
        if ratio >= FIRES:
            # The reported rate is the one whose removal lowers the log-ratio most.
            without = {
                name: log_ratio({other: rate for other, rate in rates.items() if other != name})
                for name in rates
                if name != "all"
            }
            reported = min(without, key=lambda name: without[name], default="")
            if reported and without[reported] < ratio:
                rate = rates[reported]
                words = f"{rate.irregular} of {rate.inspected} inspected items irregular: "
                words += f"same {reported.replace('_', ' and ')}"
        return LikelihoodRatio(max(-CAP, min(ratio, CAP)), words)
