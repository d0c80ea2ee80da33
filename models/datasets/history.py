"""Labelled declarations in the order of time → the evidence before each. To train and to replay.

The stream keeps the same in Redis (streams/evidence/signals.py); here it is kept in memory, to
replay a year in seconds.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from models.datasets.declarations import Labelled
from models.risk.attributes import Attributes, histories
from models.risk.prices import log_unit_price
from models.risk.signals import Peers, Rate
from models.risk.tabular import features
from models.vectors import Array

Key = tuple[str, ...]
PRICES_KEPT = 512
"""Newest unit prices of a code and origin."""


@dataclass(slots=True)
class History:
    """Past inspections and prices."""

    _inspected: defaultdict[Key, int] = field(default_factory=lambda: defaultdict(int))
    _irregular: defaultdict[Key, int] = field(default_factory=lambda: defaultdict(int))
    _prices: defaultdict[Key, deque[float]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=PRICES_KEPT))
    )

    def rates(self, attributes: Attributes) -> dict[str, Rate]:
        """Return the past inspections by each of HISTORIES that saw any."""
        keys = {name: (name, *values) for name, values in histories(attributes).items()}
        return {
            name: Rate(self._inspected[key], self._irregular[key])
            for name, key in keys.items()
            if key in self._inspected
        }

    def peers(self, attributes: Attributes) -> Peers | None:
        """Return the unit prices of the same code and origin; of the code where those are few."""
        keys = (attributes.hs6, attributes.origin), (attributes.hs6,)
        candidates = (Peers.of(self._prices[key]) for key in keys if key in self._prices)
        return next((peers for peers in candidates if peers is not None), None)

    def add_outcome(self, attributes: Attributes, *, irregular: bool) -> None:
        """Take in the outcome of an inspection."""
        for name, values in histories(attributes).items():
            self._inspected[name, *values] += 1
            self._irregular[name, *values] += irregular

    def add_price(self, attributes: Attributes) -> None:
        """Take in the unit price of a declaration, inspected or not."""
        price = log_unit_price(attributes.amount, attributes.net_mass)
        if price is not None:
            self._prices[attributes.hs6, attributes.origin].append(price)
            self._prices[attributes.hs6,].append(price)

    def features(self, attributes: Attributes) -> Array:
        """Return the features (F,) of a declaration, by all that was taken in."""
        return features(attributes, self.rates(attributes), self.peers(attributes))


def replay(
    rows: Sequence[Labelled],
    history: History,
    *,
    outcomes: Callable[[Labelled], bool] = lambda _: True,
) -> Array:
    """Return the features (N, F) of declarations, each by the evidence before its day.

    Args:
        rows: in the order of time.
        history: the evidence before the first; is brought up to date.
        outcomes: whether a declaration's outcome is taken in, at the end of its day.
    """
    features_of_rows = []
    for day in _days(rows):
        features_of_rows += [history.features(row.attributes) for row in day]
        for row in day:
            history.add_price(row.attributes)
            if outcomes(row):
                history.add_outcome(row.attributes, irregular=row.irregular)
    return np.stack(features_of_rows)


def _days(rows: Sequence[Labelled]) -> Iterable[list[Labelled]]:
    days: defaultdict[date, list[Labelled]] = defaultdict(list)
    for row in rows:
        days[row.day].append(row)
    return (days[day] for day in sorted(days))
