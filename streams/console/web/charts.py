"""Numbers → the geometry of drawings: waterfalls, and a price among those of its peers.

In units of the drawings' view boxes. The templates turn it into SVG, with colours and words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

WIDTH: Final = 1000.0
"""Of every drawing's view box."""
MARGIN: Final = 0.06
"""On both sides of a waterfall, as a share of the width of its bars."""
PEERS_MARGIN: Final = 0.05
CURVE_HEIGHT: Final = 92.0
BASELINE: Final = 100.0
"""Of a distribution's curve, from the top."""
POINTS: Final = 60
"""Segments of a distribution's curve."""
MIN_BAR: Final = 3.0
"""Narrowest bar, so that it stays visible."""
Z95: Final = 1.959964
"""Half the width of the standard normal distribution's middle 95 %."""


@dataclass(frozen=True, slots=True)
class Step:
    """One row of a waterfall."""

    name: str
    """Of the part, as in the event; `base` and `total` for both ends."""
    weight: float
    x: float
    width: float
    detail: str = ""

    @property
    def direction(self) -> str:
        """`raises` or `lowers`; `stands` for both ends."""
        if self.name in {"base", "total"}:
            return "stands"
        return "raises" if self.weight >= 0 else "lowers"


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Bars, each of which begins where the one above ended."""

    steps: tuple[Step, ...]
    zero: float
    """Horizontal position of log-odds 0; outside 0 to WIDTH if it is not in the drawing."""


def waterfall(
    parts: Sequence[tuple[str, float, str]], *, start: float, total: bool = True
) -> Waterfall:
    """Draw how parts add up.

    Args:
        parts: name, weight and detail of each.
        start: log-odds where the first begins. Unit: nats.
        total: whether start and sum get bars of their own, from 0.
    """
    edges = [start]
    for _, weight, _ in parts:
        edges.append(edges[-1] + weight)
    shown = [*edges, 0.0] if total or start == 0 else edges
    low, high = min(shown), max(shown)
    margin = ((high - low) or 1.0) * MARGIN
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return (value - low) / (high - low) * WIDTH

    def bar(name: str, begin: float, end: float, weight: float, detail: str = "") -> Step:
        left, right = sorted((x(begin), x(end)))
        return Step(name, weight, round(left, 1), round(max(right - left, MIN_BAR), 1), detail)

    steps = [
        bar(name, begin, end, weight, detail)
        for (name, weight, detail), (begin, end) in zip(parts, pairwise(edges), strict=True)
    ]
    if total:
        steps = [
            bar("base", 0.0, start, start),
            *steps,
            bar("total", 0.0, edges[-1], edges[-1]),
        ]
    return Waterfall(tuple(steps), round(x(0.0), 1))


def log_odds(risk: float) -> float:
    """Return the log-odds of a risk, clipped so that they are finite. Unit: nats."""
    clipped = min(max(risk, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))


@dataclass(frozen=True, slots=True)
class Peers:
    """A price among those of comparable goods: log-normal, as in the risk model."""

    value: float
    low: float
    """2.5 % quantile of the peers."""
    high: float
    """97.5 % quantile."""
    median: float
    curve: str
    """SVG path of the density."""
    value_x: float
    low_x: float
    high_x: float
    median_x: float


def peers(value: float, low: float, high: float) -> Peers | None:
    """Draw a price among peers of which 95 % lie from `low` to `high`; else None."""
    if not (0 < low < high and value > 0):
        return None
    mean = (math.log(low) + math.log(high)) / 2
    spread = (math.log(high) - math.log(low)) / (2 * Z95)
    begin = min(math.log(value), mean - 3 * spread)
    end = max(math.log(value), mean + 3 * spread)
    margin = (end - begin) * PEERS_MARGIN
    begin, end = begin - margin, end + margin

    def x(log_price: float) -> float:
        return round((log_price - begin) / (end - begin) * WIDTH, 1)

    points = [begin + (end - begin) * step / POINTS for step in range(POINTS + 1)]
    densities = [math.exp(-((point - mean) ** 2) / (2 * spread**2)) for point in points]
    line = " ".join(
        f"L{x(point)} {BASELINE - CURVE_HEIGHT * density:.1f}"
        for point, density in zip(points, densities, strict=True)
    )
    return Peers(
        value=value,
        low=low,
        high=high,
        median=math.exp(mean),
        curve=f"M0 {BASELINE:g} {line} L{WIDTH:g} {BASELINE:g} Z",
        value_x=x(math.log(value)),
        low_x=x(math.log(low)),
        high_x=x(math.log(high)),
        median_x=x(mean),
    )
