"""Declared figures and codes that cannot be right: a slip, or worse. Pure.

What they weigh is assumed, as all in models/risk/likelihoods.py: no public data label them.
"""

import math
import re
from decimal import Decimal
from typing import Final

from models.risk.code_lists import COUNTRIES, CURRENCIES
from models.risk.kinds import (
    IMPLAUSIBLE_AMOUNT,
    IMPLAUSIBLE_MASSES,
    UNKNOWN_CURRENCY,
    UNKNOWN_ORIGIN,
)
from models.risk.likelihoods import LikelihoodRatio
from models.risk.prices import declared_log_unit_price
from models.risk.signals import Peers
from schemas.records import GoodsItem

SLIP: Final = math.log(150)
"""What happens to regular declarants too: masses swapped, a gift without a price, a code of
yesterday. By itself it brings no goods to the yellow lane. Unit: nats, as below."""
ABSURD: Final = math.log(5000)
"""What no regular declaration contains."""
MOST_EUR: Final = Decimal(10) ** 8
"""Amount of a goods item above which only ships and aircraft lie. In another currency whose rate
is unknown it counts a thousandfold."""
MOST_KG: Final = Decimal(10) ** 9
"""Mass of a goods item: more than any ship carries."""
DEAR: Final = math.log(100)
"""Unit price above that of comparable goods that is none."""
DEAR_SPREADS: Final = 6.0
"""The same in spreads, of peers whose prices differ widely."""
MOST_LOG_EUR_PER_KG: Final = math.log(1e6)
"""Unit price that is none where no comparable goods are known. Unit: log EUR/kg."""
PRECIOUS: Final = ("28", "29", "30", "71", "91", "97", "98", "99")
"""Chapters of goods that may cost more: isotopes, drugs, gems, watches, art."""
SHORT: Final = re.compile(r"[0-9A-Z]{1,3}")
"""A code that may be repeated; any other text may be anything, even a name."""


def likelihood_ratios(item: GoodsItem, peers: Peers | None) -> dict[str, LikelihoodRatio | None]:
    """Return names of kinds → likelihood ratios; None where nothing is implausible.

    Args:
        item: as `models.risk.exchange.comparable` prepares it.
        peers: unit prices of comparable goods.
    """
    return {
        IMPLAUSIBLE_MASSES.name: masses(item),
        IMPLAUSIBLE_AMOUNT.name: amount(item, peers),
        UNKNOWN_ORIGIN.name: _listed(item.country_of_origin, COUNTRIES, "country"),
        UNKNOWN_CURRENCY.name: _listed(item.item_currency, CURRENCIES, "currency"),
    }


def masses(item: GoodsItem) -> LikelihoodRatio | None:
    """Judge the masses of a goods item; None where they are possible."""
    net, gross = item.net_mass, item.gross_mass
    for name, mass in (("net", net), ("gross", gross)):
        if mass is not None and not 0 <= mass <= MOST_KG:
            return LikelihoodRatio(ABSURD, f"{name} mass {_figure(mass)} kg")
    if net is not None and gross is not None and net > gross:
        words = f"net mass {_figure(net)} kg is above gross mass {_figure(gross)} kg"
        return LikelihoodRatio(SLIP, words)
    for name, mass in (("net", net), ("gross", gross)):
        if mass == 0:
            return LikelihoodRatio(SLIP, f"{name} mass 0 kg")
    return None


def amount(item: GoodsItem, peers: Peers | None) -> LikelihoodRatio | None:
    """Judge the amount of a goods item, in EUR where a rate is known; None where it is possible."""
    value, currency = item.item_amount, item.item_currency
    if value is None:
        return None
    most = MOST_EUR if currency == "EUR" else MOST_EUR * 1000
    if 0 < value <= most:
        return _dear(item, peers)
    words = f"amount {_figure(value)} {currency if SHORT.fullmatch(currency) else ''}".rstrip()
    return LikelihoodRatio(ABSURD if value else SLIP, words)


def _dear(item: GoodsItem, peers: Peers | None) -> LikelihoodRatio | None:
    """Judge a unit price far above its peers': a false unit, or money that is moved."""
    price = declared_log_unit_price(item)
    if price is None:
        return None
    words = f"{math.exp(price):.2f} EUR/kg"
    if peers is None:
        most = math.inf if item.commodity_code.startswith(PRECIOUS) else MOST_LOG_EUR_PER_KG
    else:
        most = peers.median + max(DEAR, DEAR_SPREADS * peers.spread)
        words += f"; comparable goods {math.exp(peers.median):.2f} EUR/kg"
    return LikelihoodRatio(SLIP, words) if price > most else None


def _listed(code: str, codes: frozenset[str], what: str) -> LikelihoodRatio | None:
    """Judge a code; None for one that exists, or none."""
    if not code or code in codes:
        return None
    named = code if SHORT.fullmatch(code) else f"a text of {len(code)} characters"
    return LikelihoodRatio(SLIP, f"{named} is no {what}")


def _figure(value: Decimal) -> str:
    return f"{value.normalize():f}" if value == round(value, 6) else f"{value:.2f}"
