"""How much likelier evidence is of irregular goods than of regular ones, in closed form.

For kinds of irregularity that no public data with photos labels: the figures below are assumptions
and stand here alone. What inspections teach is learned elsewhere (models/risk/tabular.py).
"""

import math
from dataclasses import dataclass
from typing import Final

from models.risk.signals import DE_MINIMIS, LiveSignals, Peers, PhotoUse
from schemas.records import Declaration, GoodsItem

UNDERVALUED_SHIFT: Final = math.log(0.2)
"""An undervalued price is about a fifth of the real one. Unit: log EUR/kg."""
UNDERVALUED_SPREAD: Final = 0.4
SAME_USE: Final = 0.95
"""Probability that an earlier use of a regular photo is under the same heading."""
SAME_REUSE: Final = 0.1
"""The same of a photo that is reused for other goods."""
USES: Final = 6
"""Most earlier uses that count: many of one photo are often of one trader."""
SPLIT_SEEN: Final = 0.8
"""Probability that a part of a split consignment is seen with others of it, above the limit."""
PAIR_SEEN: Final = 0.005
"""The same of a regular consignment of small value."""
BUSY_DAY: Final = 3
"""Consignments that one importer may have in a day without a second look."""
CAP: Final = 8.0
"""Most that one piece of evidence may tell. Unit: nats."""


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """What one piece of evidence tells."""

    log_ratio: float
    """Unit: nats; above 0 where it is likelier of irregular goods."""
    words: str
    """For a person."""


def price(item: GoodsItem, peers: Peers | None) -> LikelihoodRatio | None:
    """Compare the unit price with its peers': the ratio of two log-normal densities."""
    if peers is None or item.item_currency != "EUR":
        return None
    if not item.item_amount or not item.net_mass or item.item_amount < 0 or item.net_mass < 0:
        return None
    found = math.log(float(item.item_amount) / float(item.net_mass))
    regular = _log_density(found, peers.median, peers.spread)
    spread = math.hypot(peers.spread, UNDERVALUED_SPREAD)
    undervalued = _log_density(found, peers.median + UNDERVALUED_SHIFT, spread)
    if found > peers.median:  # a price above the median is no sign of undervaluation
        undervalued = min(undervalued, regular)
    words = f"{math.exp(found):.2f} EUR/kg; comparable goods {math.exp(peers.median):.2f} EUR/kg"
    return LikelihoodRatio(min(undervalued - regular, CAP), words)


def photo_reuse(use: PhotoUse | None) -> LikelihoodRatio | None:
    """Compare the earlier uses of the photo under this heading with those under others."""
    if use is None or not (uses := use.same_heading + use.other_heading):
        return None
    same = use.same_heading / uses
    each = same * math.log(SAME_REUSE / SAME_USE)
    each += (1 - same) * math.log((1 - SAME_REUSE) / (1 - SAME_USE))
    words = f"used under other headings {use.other_heading} of {uses} times"
    if use.example:
        words += f", last in {use.example}"
    return LikelihoodRatio(max(-CAP, min(min(uses, USES) * each, CAP)), words)


def splitting(declaration: Declaration, live: LiveSignals) -> LikelihoodRatio | None:
    """Look at a consignment of small value beside the others of its importer and seller."""
    amounts = [item.item_amount for item in declaration.goods_items]
    if not all(amounts) or any(item.item_currency != "EUR" for item in declaration.goods_items):
        return None
    value = float(sum(amount for amount in amounts if amount is not None))
    if not 0 < value <= DE_MINIMIS:
        return LikelihoodRatio(-CAP, "")  # it pays duty: there is nothing to gain
    total = value + live.small_value
    if live.small_count and total > DE_MINIMIS:
        ratio = math.log(SPLIT_SEEN / PAIR_SEEN) + math.log(live.small_count)
        words = f"{live.small_count + 1} consignments of {total:.2f} EUR together in 72 hours"
    else:
        ratio, words = math.log((1 - SPLIT_SEEN) / (1 - PAIR_SEEN)), ""
    ratio += math.log1p(max(0, live.importer_day - BUSY_DAY)) / 2
    return LikelihoodRatio(min(ratio, CAP), words)


def _log_density(x: float, mean: float, spread: float) -> float:
    return -0.5 * ((x - mean) / spread) ** 2 - math.log(spread)
