"""What other declarations and past inspections say of a declaration.

Values only: streams/evidence/signals.py gathers them, models/risk/model.py weighs them. They are
recorded when a declaration is first scored, so that it gets the same score when it is delivered
again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

MIN_PEERS: Final = 8
MIN_SPREAD: Final = 0.1
MIN_USES: Final = 4
"""Least number of prices with one photo: they are of one article, so fewer are enough."""
USES_SPREAD: Final = 0.25
"""Least spread of so few."""
MOST_OF_TRADER: Final = 0.2
"""Share of one trader in a set of peers: less than quartiles withstand. Fraction."""
ROUNDS: Final = 8
"""In which shares of sellers and importers are cut in turn, until both hold."""
QUARTILE: Final = 0.6745
"""Of the normal distribution. Unit: standard deviations."""


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

    @classmethod
    def of_traders(
        cls,
        prices: Sequence[float],
        *traders: Sequence[str],
        least: int = MIN_PEERS,
        spread: float = MIN_SPREAD,
    ) -> Self | None:
        """Summarise the logarithms of prices; no trader has more than MOST_OF_TRADER of the weight.

        None for fewer than `least`, or where so few traders declare them that one has more.

        Args:
            prices: of each declaration (N,). Unit: log EUR/kg.
            traders: for each role, who has it in each declaration (N,).
            least: number of prices.
            spread: least spread.
        """
        weights = _balanced(len(prices), traders)
        if len(prices) < least or weights is None:
            return None
        order = np.argsort(prices, kind="stable")
        middles = np.cumsum(weights[order]) - weights[order] / 2
        low, median, high = np.interp(
            np.array([0.25, 0.5, 0.75]) * weights.sum(), middles, np.asarray(prices)[order]
        )
        return cls(len(prices), float(median), max(float(high - low) / 2 / QUARTILE, spread))


def _balanced(count: int, roles: Sequence[Sequence[str]]) -> NDArray[np.float64] | None:
    """Return weights (N,), in which no trader has more than MOST_OF_TRADER; None without any."""
    weights = np.ones(count)
    numbered = [np.unique(np.asarray(traders), return_inverse=True)[1] for traders in roles]
    if any(of.size == 0 or (of.max() + 1) * MOST_OF_TRADER < 1 for of in numbered):
        return None
    for _ in range(ROUNDS):
        before = weights
        for of in numbered:
            totals = np.bincount(of, weights).astype(np.float64)
            cap = _cap(totals)
            if totals.max() > cap:
                weights = weights * (np.minimum(totals, cap) / totals)[of]
        if weights is before:
            break
    return weights


def _cap(totals: NDArray[np.float64]) -> float:
    """Return the most that each of enough traders may have, so that none exceeds MOST_OF_TRADER."""
    ascending, largest = np.sort(totals), len(totals)
    below = np.concatenate([[0.0], np.cumsum(ascending)])
    capped = 0  # the largest are cut to one height
    while True:
        cap = MOST_OF_TRADER * below[largest] / (1 - capped * MOST_OF_TRADER)
        if cap >= ascending[largest - 1]:
            return float(cap)
        capped, largest = capped + 1, largest - 1


@dataclass(frozen=True, slots=True)
class PhotoUse:
    """Earlier declarations of the same photo: by content, or nearly by perceptual hash.

    Uses without a declared code are of no heading, and where none is declared now there is none to
    compare with.

    Each declaration counts once, however many goods items it has, and however often it is delivered
    or amended; of one seller's only some count.
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
    """Declaration id of one of the latest under another heading; empty for none."""


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
    """Signals of one declaration; windows end when it arrived."""

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
    importer_day_ignored: int = 0
    """Of the importer's, those of one declarant that are too many to count: whoever lodges
    declarations in the name of another must not make him a busy trader."""
    arrived: float = 0.0
    """When the declaration first arrived. Unit: s since 1970-01-01T00:00Z."""


DE_MINIMIS: Final = 150.0
"""Value up to which consignments are free of customs duty (Council Regulation (EC) No 1186/2009,
Article 23). Unit: EUR."""
