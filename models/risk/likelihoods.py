"""How much likelier evidence is of irregular goods than of regular ones, in closed form.

For the kinds of irregularity that no public data with photos label: the figures below are
assumptions and stand only here. What inspections teach is learned (models/risk/tabular.py).
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.hs.editions import NATIONAL, SUBHEADING, current, successors
from models.risk import acceptance
from models.risk.prices import declared_log_unit_price
from models.risk.signals import DE_MINIMIS, LiveSignals, Peers, PhotoUse
from models.vectors import Array
from schemas.records import EPOCH, Declaration, GoodsItem

UNDERVALUED_SHIFT: Final = math.log(0.2)
"""An undervalued price is about a fifth of the real one. Unit: log EUR/kg."""
UNDERVALUED_SPREAD: Final = 0.4
SAME_USE: Final = 0.95
"""Probability that an earlier use of a regular photo is under the same heading."""
SAME_REUSE: Final = 0.1
"""The same for a photo that is reused for other goods."""
USES: Final = 6
"""Most earlier uses that count: many uses of one photo are often by one trader."""
SPLIT_SEEN: Final = 0.8
"""Probability that the parts of a split consignment are seen together, above the limit."""
PAIR_SEEN: Final = 0.005
"""The same for a regular consignment of small value."""
BUSY_DAY: Final = 3
"""Consignments that one importer may have in a day without a second look."""
DISAGREE: Final = -2.5
"""Overlap of the headings by goods text and by product title, below which they name other goods: so
do 1 in 100 pairs of the same goods, and 4 in 5 pairs of goods of other headings. Unit: nats."""
TITLE_SLOPE: Final = 1.5
"""Log-ratio for each nat of it from half of that on."""
TITLE_CAP: Final = math.log(25)
"""Largest log-ratio of a title: platforms name goods loosely. Unit: nats."""
UNKNOWN_CODE: Final = math.log(2000)
"""A code that never was one: 1 in 2,000 regular goods has one, by a slip. Unit: nats."""
WRONG_TIME: Final = math.log(20)
"""An acceptance time far off: by fraud or, more often, by a slip of the sender's. Unit: nats."""
NAMED: Final = 6
"""Most successors of a code that are named."""
CAP: Final = 8.0
"""Largest log-ratio of one piece of evidence. Unit: nats."""


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """How much likelier one piece of evidence is of irregular goods than of regular ones."""

    log_ratio: float
    """Unit: nats; above 0 where it is likelier of irregular goods."""
    words: str
    """The evidence, for a person; may be empty."""


def price(item: GoodsItem, peers: Peers | None) -> LikelihoodRatio | None:
    """Compare the unit price with its peers': the ratio of two log-normal densities.

    None without peers, or without a unit price in EUR.
    """
    log_price = declared_log_unit_price(item)
    if peers is None or log_price is None:
        return None
    regular = _log_density(log_price, peers.median, peers.spread)
    spread = math.hypot(peers.spread, UNDERVALUED_SPREAD)
    undervalued = _log_density(log_price, peers.median + UNDERVALUED_SHIFT, spread)
    if log_price > peers.median:  # a price above the median is no sign of undervaluation
        undervalued = min(undervalued, regular)
    usual = math.exp(peers.median)
    words = f"{math.exp(log_price):.2f} EUR/kg; comparable goods {usual:.2f} EUR/kg"
    return LikelihoodRatio(min(undervalued - regular, CAP), words)


def photo_reuse(use: PhotoUse | None) -> LikelihoodRatio | None:
    """Compare the earlier uses of the photo under this heading with those under others.

    None where there are no earlier uses.
    """
    if use is None or not (uses := use.same_heading + use.other_heading):
        return None
    same = use.same_heading / uses
    per_use = same * math.log(SAME_REUSE / SAME_USE)
    per_use += (1 - same) * math.log((1 - SAME_REUSE) / (1 - SAME_USE))
    words = f"used under other headings {use.other_heading} of {uses} times"
    if use.example:
        words += f", last in {use.example}"
    return LikelihoodRatio(max(-CAP, min(min(uses, USES) * per_use, CAP)), words)


def splitting(declaration: Declaration, live: LiveSignals) -> LikelihoodRatio | None:
    """Compare a consignment of small value with the others of its importer and seller.

    None where its value is not known in EUR.
    """
    amounts = [item.item_amount for item in declaration.goods_items]
    if not all(amounts) or any(item.item_currency != "EUR" for item in declaration.goods_items):
        return None
    value = float(sum(amount for amount in amounts if amount is not None))
    if not 0 < value <= DE_MINIMIS:
        return LikelihoodRatio(-CAP, "")  # duty is due anyway: splitting would gain nothing
    total = value + live.small_value
    if live.small_count and total > DE_MINIMIS:
        ratio = math.log(SPLIT_SEEN / PAIR_SEEN) + math.log(live.small_count)
        words = f"{live.small_count + 1} consignments of {total:.2f} EUR together in 72 hours"
    else:
        ratio, words = math.log((1 - SPLIT_SEEN) / (1 - PAIR_SEEN)), ""
    counted = live.importer_day - live.importer_day_ignored
    ratio += math.log1p(max(0, counted - BUSY_DAY)) / 2
    return LikelihoodRatio(min(ratio, CAP), words)


def title(
    by_text: Array, by_title: Array, codes: Sequence[str], headings: NDArray[np.int64]
) -> LikelihoodRatio:
    """Compare what a goods text and the product title say of the code.

    Args:
        by_text: probability of each code by the goods text (C,).
        by_title: the same by the title.
        codes: of the nomenclature (C,).
        headings: number of each code's heading (C,).
    """
    of_text, of_title = (np.bincount(headings, p) for p in (by_text, by_title))
    overlap = float(np.log(np.sqrt(of_text * of_title).sum()))
    ratio = min(TITLE_SLOPE * (DISAGREE / 2 - overlap), TITLE_CAP)
    words = f"the title reads like {codes[int(by_title.argmax())]}" if overlap < DISAGREE else ""
    return LikelihoodRatio(ratio, words)


def unknown_code(code: str, codes: Collection[str]) -> LikelihoodRatio | None:
    """Judge a commodity code that the nomenclature lacks; None for one that it has, or for none.

    One of an earlier edition, or of a chapter for national use, is no sign of irregularity.

    Args:
        code: as declared.
        codes: HS6 codes of the nomenclature in force.
    """
    hs6 = current(code)[:SUBHEADING]
    if not hs6 or hs6 in codes:
        return None
    if hs6.startswith(NATIONAL):
        return LikelihoodRatio(0.0, f"{hs6} is of a chapter for national use, not of HS 2022")
    now = successors(hs6, codes)
    if not now:
        return LikelihoodRatio(UNKNOWN_CODE, f"{hs6} is no subheading of HS 2022")
    named = ", ".join(now[:NAMED]) + (", …" if len(now) > NAMED else "")
    return LikelihoodRatio(0.0, f"{hs6} is not in HS 2022; its goods are in {named}")


def acceptance_time(declared: datetime, arrived: datetime | None) -> LikelihoodRatio | None:
    """Judge a declared acceptance time; None where it is plausible, or the arrival unknown.

    None declared, the schema's default, is no sign of irregularity: most senders of it never
    declare one.
    """
    if arrived is None or acceptance.is_plausible(declared, arrived):
        return None
    ratio = 0.0 if declared == EPOCH else WRONG_TIME
    return LikelihoodRatio(ratio, acceptance.words(declared, arrived))


def _log_density(x: float, mean: float, spread: float) -> float:
    return -0.5 * ((x - mean) / spread) ** 2 - math.log(spread)
