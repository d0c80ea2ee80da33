"""What other declarations and past inspections say of a declaration.

Values only: streams/evidence/signals.py gathers them, models/risk/model.py weighs them. They are
recorded when a declaration is first scored, so that it gets the same score when it is delivered
again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

MIN_PEERS: Final = 8
MIN_SPREAD: Final = 0.1
MIN_USES: Final = 4
"""Least number of prices with one photo: they are of one article, so fewer are enough."""
USES_SPREAD: Final = 0.25
"""Least spread of so few."""


@dataclass(frozen=True, slots=True)
class Peers:
    """Unit prices of comparable goods."""

    count: int
    median: float
    """Of the logarithm of the price in EUR/kg."""
    spread: float
    """Standard deviation of that logarithm; from quantiles, so that a few prices cannot move it."""

    @classmethod
    def of(
        cls, prices: Iterable[float], *, least: int = MIN_PEERS, spread: float = MIN_SPREAD
    ) -> Self | None:
        """Summarise the logarithms of prices; None for fewer than `least`.

        Args:
            prices: unit: log EUR/kg.
            least: number of prices.
            spread: least spread.
        """
        values = np.fromiter(prices, np.float64)
        if len(values) < least:
            return None
        low, median, high = np.quantile(values, (0.16, 0.5, 0.84))
        return cls(len(values), float(median), max(float(high - low) / 2, spread))


@dataclass(frozen=True, slots=True)
class PhotoUse:
    """Earlier declarations of the same photo: by content, or nearly by perceptual hash.

    Uses without a declared code are of no heading, and where none is declared now there is none to
    compare with.

    Each goods item counts once, however often its declaration is delivered or amended.
    """

    same_heading: int
    """Under the HS heading (4 digits) that is declared now."""
    other_heading: int
    """Under another."""
    other_trader: int
    """By another seller, under whichever heading."""
    price: Peers | None
    """Unit prices that were declared with it, under this heading; of at least MIN_USES."""
    example: str
    """Declaration id of the latest under another heading; empty for none."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Past inspections of an importer, a code, …: all decided before the declaration arrived."""

    inspected: int
    irregular: int


@dataclass(frozen=True, slots=True)
class ItemSignals:
    """Signals of one goods item."""

    price: Peers | None = None
    """Of the same HS6 code and origin, or of the code where the origin is rare."""
    photo: PhotoUse | None = None
    """None without a photo that could be read."""
    rates: Mapping[str, Rate] = field(default_factory=dict)
    """models.risk.attributes.HISTORIES → past inspections; without those that saw none."""


@dataclass(frozen=True, slots=True)
class LiveSignals:
    """Signals of one declaration; windows end at its acceptance time."""

    items: tuple[ItemSignals, ...]
    """In the order declared."""
    importer_day: int = 0
    """Other declarations of this importer in the last 24 hours."""
    seller_day: int = 0
    """Other declarations of this seller in the last 24 hours."""
    small_count: int = 0
    """Other consignments of this importer from this seller in the last 72 hours, each of at most
    DE_MINIMIS."""
    small_value: float = 0.0
    """Of those together, this one not included. Unit: EUR."""

    def part(self, places: Iterable[int]) -> Self:
        """Return the signals with those of some goods items alone."""
        return replace(self, items=tuple(self.items[place] for place in places))


DE_MINIMIS: Final = 150.0
"""Value up to which consignments are free of customs duty (Council Regulation (EC) No 1186/2009,
Article 23). Unit: EUR."""
