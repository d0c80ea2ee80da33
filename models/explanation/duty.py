"""A goods item and a suggested code → the difference in duty."""

from datetime import datetime
from decimal import Decimal

from models.hs.editions import current
from models.risk.tariff import Goods, Tariff
from schemas.records import GoodsItem


def duty_difference(
    tariff: Tariff, item: GoodsItem, suggested: str, at: datetime, *, declared_duty: float | None
) -> Decimal | None:
    """Return the duty under the suggested code less that under the declared code. Unit: EUR.

    None where a duty or the value is unknown, no code is declared, or the declared code is part of
    the suggested one.

    Args:
        tariff: in force.
        item: as declared.
        suggested: HS6 code; empty for none.
        at: when the declaration was accepted.
        declared_duty: `tariff.duty` of the declared code. Percent.
    """
    declared = current(item.commodity_code)
    if not suggested or not declared or declared.startswith(suggested):
        return None
    if item.item_amount is None or item.item_currency != "EUR":
        return None
    duty = tariff.duty(suggested, item.country_of_origin, at, Goods.of(item))
    if duty is None or declared_duty is None:
        return None
    return round(item.item_amount * Decimal(str(duty - declared_duty)) / 100, 2)
