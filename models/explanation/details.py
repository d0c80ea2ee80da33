"""A goods item's evidence beside text and photos → words and figures for a person."""

import math
from typing import Final

from models.risk.kinds import EXTERNAL, UNDERVALUATION
from models.scoring.evidence import ItemContext
from schemas.records import GoodsItem, PricePeers

Z95: Final = 1.96
"""95 of 100 values of a normal distribution lie within so many standard deviations."""
KINDS_BY_EVIDENCE: Final = {kind.evidence: kind for kind in EXTERNAL}


def detail(evidence: str, item: GoodsItem, context: ItemContext) -> str:
    """Return a piece of evidence in words: the price against its peers, say.

    Args:
        evidence: of one of EXTERNAL, and present in the context.
        item: as declared.
        context: of the item.
    """
    if evidence == UNDERVALUATION.evidence and (among := price_peers(item, context)) is not None:
        return (
            f"unit price {among.unit_price:.2f} EUR/kg; "
            f"95 % of {among.count} peers {among.low:.2f}–{among.high:.2f}"
        )
    return context.likelihood_ratios[KINDS_BY_EVIDENCE[evidence].name].words


def price_peers(item: GoodsItem, context: ItemContext) -> PricePeers | None:
    """Return the unit price among its peers; None where either is unknown."""
    peers = context.peers
    if peers is None or UNDERVALUATION.name not in context.likelihood_ratios:
        return None
    if item.item_amount is None or item.net_mass is None:
        return None
    reach = Z95 * peers.spread
    return PricePeers(
        unit_price=float(item.item_amount) / float(item.net_mass),
        low=math.exp(peers.median - reach),
        median=math.exp(peers.median),
        high=math.exp(peers.median + reach),
        count=peers.count,
    )
