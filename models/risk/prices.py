"""The unit price of goods, on the logarithmic scale on which prices are compared."""

import math

from schemas.records import GoodsItem


def log_unit_price(amount: float | None, net_mass: float | None) -> float | None:
    """Return the logarithm of the price of a kilogram; None unless both are above 0.

    Args:
        amount: in any currency, which is that of the result.
        net_mass: unit: kg.
    """
    if amount is None or net_mass is None or not (amount > 0 and net_mass > 0):
        return None
    return math.log(amount / net_mass)


def declared_log_unit_price(item: GoodsItem) -> float | None:
    """Return that of a goods item declared in EUR; None for others. Unit: log EUR/kg."""
    if item.item_currency != "EUR" or item.item_amount is None or item.net_mass is None:
        return None
    return log_unit_price(float(item.item_amount), float(item.net_mass))
