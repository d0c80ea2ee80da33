"""Numbers → what the pages draw: bars, waterfalls and the place of a price among its peers.

Only geometry, in units of the drawings' view boxes; the templates make SVG of it. Colours and
words are theirs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 1000.0
"""Of every drawing's view box."""
ROOM: Final = 0.06
"""Left free on both sides of a waterfall, as a share of its width."""
PEAK: Final = 92.0
BASE: Final = 100.0
"""Height of a distribution's curve and its foot, from above."""
POINTS: Final = 60
Z95: Final = 1.959964
"""Half of the standard normal's middle 95 %."""


@dataclass(frozen=True, slots=True)
class Step:
    """One row of a waterfall."""

    name: str
    """Of the part, as the event has it; `base` and `total` for both ends."""
    weight: float
    x: float
    width: float
    detail: str = ""

    @property
    def direction(self) -> str:
        """Of the bar: raises, lowers or stands."""
        if self.name in {"base", "total"}:
            return "stands"
        return "raises" if self.weight >= 0 else "lowers"


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Bars that begin where the one above ended."""

    steps: tuple[Step, ...]
    zero: float
    """Where log-odds of 0 lie; outside 0 to WIDTH where they are not in the drawing."""


def waterfall(
    parts: Sequence[tuple[str, float, str]], *, start: float, total: bool = True
) -> Waterfall:
    """Draw how parts add up.

    Args:
        parts: name, weight and detail of each.
        start: where the first begins. Unit: nats.
        total: whether start and sum get bars of their own, from the line of 0.
    """
    edges = [start]
    for _, weight, _ in parts:
        edges.append(edges[-1] + weight)
    shown = [*edges, 0.0] if total or start == 0 else edges
    low, high = min(shown), max(shown)
    room = ((high - low) or 1.0) * ROOM
    low, high = low - room, high + room

    def x(value: float) -> float:
        return (value - low) / (high - low) * WIDTH

    def bar(name: str, begin: float, end: float, weight: float, detail: str = "") -> Step:
        left, right = sorted((x(begin), x(end)))
        return Step(name, weight, round(left, 1), round(max(right - left, 3.0), 1), detail)

    steps = [
        bar(name, edges[place], edges[place + 1], weight, detail)
        for place, (name, weight, detail) in enumerate(parts)
    ]
    if total:
        steps = [
            bar("base", 0.0, start, start),
            *steps,
            bar("total", 0.0, edges[-1], edges[-1]),
        ]
    return Waterfall(tuple(steps), round(x(0.0), 1))


def log_odds(risk: float) -> float:
    """Return the log-odds of a risk, which is kept off 0 and 1."""
    kept = min(max(risk, 1e-6), 1 - 1e-6)
    return math.log(kept / (1 - kept))


@dataclass(frozen=True, slots=True)
class Peers:
    """A price among those of comparable goods: log-normal, as the risk model takes them."""

    value: float
    low: float
    """2.5 % of the peers are below."""
    high: float
    """2.5 % are above."""
    median: float
    curve: str
    """SVG path of the density."""
    value_x: float
    low_x: float
    high_x: float
    median_x: float


def peers(value: float, low: float, high: float) -> Peers | None:
    """Draw a price among peers of which 95 % lie between two prices; None if these are none."""
    if not (0 < low < high and value > 0):
        return None
    mean = (math.log(low) + math.log(high)) / 2
    spread = (math.log(high) - math.log(low)) / (2 * Z95)
    begin = min(math.log(value), mean - 3 * spread)
    end = max(math.log(value), mean + 3 * spread)
    room = (end - begin) * 0.05
    begin, end = begin - room, end + room

    def x(at: float) -> float:
        return round((at - begin) / (end - begin) * WIDTH, 1)

    points = [begin + (end - begin) * place / POINTS for place in range(POINTS + 1)]
    heights = [BASE - PEAK * math.exp(-((at - mean) ** 2) / (2 * spread**2)) for at in points]
    line = " ".join(f"L{x(at)} {y:.1f}" for at, y in zip(points, heights, strict=True))
    return Peers(
        value=value,
        low=low,
        high=high,
        median=math.exp(mean),
        curve=f"M0 {BASE:g} {line} L{WIDTH:g} {BASE:g} Z",
        value_x=x(math.log(value)),
        low_x=x(math.log(low)),
        high_x=x(math.log(high)),
        median_x=x(mean),
    )
