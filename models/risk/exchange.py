"""Amounts in any currency → EUR, in which prices are compared. Pure."""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from schemas.reasons import Reason
from schemas.records import EPOCH, Declaration, ExchangeRate, GoodsItem

EURO: Final = "EUR"
CODE: Final = re.compile(r"[A-Z]{3}")
SAME: Final[Mapping[str, str]] = {"€": EURO, "RMB": "CNY", "CNH": "CNY"}
"""Names that declarants give to currencies → their codes."""
BOUNDS: Final = (1e-4, 1e8)
"""Least and largest rate: beyond any currency's."""
SHIPPED_ON: Final = datetime(2026, 10, 30, tzinfo=UTC)
SHIPPED: Final[Mapping[str, float]] = {
    "AUD": 1.5904,
    "BRL": 6.0692,
    "CAD": 1.5606,
    "CHF": 0.9194,
    "CNY": 7.4326,
    "CZK": 24.353,
    "DKK": 7.4735,
    "GBP": 0.8338,
    "HKD": 8.7652,
    "HUF": 366.33,
    "IDR": 20275.17,
    "ILS": 3.495,
    "INR": 106.084,
    "ISK": 136.0,
    "JPY": 175.68,
    "KRW": 1491.76,
    "MXN": 21.1237,
    "MYR": 4.5325,
    "NOK": 10.312,
    "NZD": 1.9823,
    "PHP": 71.143,
    "PLN": 4.4038,
    "RON": 5.3447,
    "SEK": 10.978,
    "SGD": 1.4282,
    "THB": 37.683,
    "TRY": 55.8015,
    "USD": 1.1172,
    "ZAR": 18.6455,
}
"""The euro foreign exchange reference rates of the European Central Bank on that day, for where no
rate was published. Unit: amount in the currency for 1 EUR."""


def problem(rate: ExchangeRate) -> str | None:
    """Return why a rate is ignored; None where it is not."""
    low, high = BOUNDS
    broken = (
        (currency_code(rate.currency) == EURO, "its currency is the euro"),
        (not CODE.fullmatch(currency_code(rate.currency)), "its currency is not three letters"),
        (not (math.isfinite(rate.rate) and low <= rate.rate <= high), "its rate is none"),
        (EPOCH < rate.valid_until <= rate.valid_from, "it ends before it begins"),
    )
    return next((reason for is_broken, reason in broken if is_broken), None)


def currency_code(declared: str) -> str:
    """Return a currency's code without case, blanks and invisible characters."""
    folded = unicodedata.normalize("NFKC", declared[:64])
    code = "".join(c for c in folded if not (c.isspace() or unicodedata.category(c)[0] == "C"))
    return SAME.get(code.upper(), code.upper())


@dataclass(frozen=True, slots=True)
class Quote:
    """The rate of a currency that is used for a day."""

    rate: Decimal
    """Unit: amount in the currency for 1 EUR."""
    since: datetime
    valid: bool
    """Whether it is valid on that day."""


class ExchangeRates:
    """Published rates, by currency; those with a problem are left out. Never changes."""

    def __init__(self, rates: Iterable[ExchangeRate] = ()) -> None:
        self._rates: dict[str, list[ExchangeRate]] = {}
        for rate in sorted(rates, key=lambda rate: (rate.valid_from, rate.rate_id)):
            if problem(rate) is None:
                self._rates.setdefault(currency_code(rate.currency), []).append(rate)

    def quote(self, currency: str, at: datetime) -> Quote | None:
        """Return the rate of a currency at a time; None where none is known.

        Of several that are valid the one that began last. Where none is valid, that which was
        valid last before; else the next; else the shipped one.

        Args:
            currency: code, as `currency_code` returns it.
            at: when the declaration was accepted.
        """
        rates = self._rates.get(currency, [])
        begun = [rate for rate in rates if rate.valid_from <= at]
        valid = [rate for rate in begun if rate.valid_until == EPOCH or at < rate.valid_until]
        if rates:
            used = (valid or begun or rates[:1])[-1]
            return Quote(Decimal(str(used.rate)), used.valid_from, valid=bool(valid))
        if currency in SHIPPED:
            return Quote(Decimal(str(SHIPPED[currency])), SHIPPED_ON, valid=False)
        return None


@dataclass(frozen=True, slots=True)
class PriceGap:
    """What keeps the price of a goods item from being compared, or from being compared well."""

    item: int
    """Sequence number."""
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Comparable:
    """A declaration as it is compared with others."""

    declaration: Declaration
    """Its currencies and countries without case and blanks, its amounts in EUR where a rate is
    known; for the rest as lodged."""
    gaps: tuple[PriceGap, ...]


def comparable(declaration: Declaration, rates: ExchangeRates, at: datetime) -> Comparable:
    """Prepare a declaration for comparison.

    Args:
        declaration: as lodged.
        rates: published.
        at: when it was accepted; the rate of then counts (Art. 53 UCC).
    """
    prepared = [_comparable(item, rates, at) for item in declaration.goods_items]
    return Comparable(
        replace(
            declaration,
            country_of_dispatch=_country(declaration.country_of_dispatch),
            goods_items=tuple(item for item, _ in prepared),
        ),
        tuple(gap for _, gap in prepared if gap is not None),
    )


def _comparable(
    item: GoodsItem, rates: ExchangeRates, at: datetime
) -> tuple[GoodsItem, PriceGap | None]:
    code = currency_code(item.item_currency)
    item = replace(item, item_currency=code, country_of_origin=_country(item.country_of_origin))
    number, amount = item.sequence_number, item.item_amount

    def unknown(detail: str) -> PriceGap:
        return PriceGap(number, Reason.PRICE_UNKNOWN, detail)

    if amount is None:
        return item, unknown("no amount is declared")
    gap = unknown("no net mass is declared") if item.net_mass is None else None
    if code == EURO:
        return item, gap
    quote = rates.quote(code, at)
    if quote is None:
        if CODE.fullmatch(code):
            return item, unknown(f"no exchange rate of {code} is known")
        # What is no code is not repeated: it may be anything, even a name.
        return item, unknown("its currency is no code" if code else "no currency is declared")
    if gap is None and not quote.valid:
        detail = f"{quote.rate} {code} for 1 EUR, of {quote.since:%Y-%m-%d}"
        gap = PriceGap(number, Reason.EXCHANGE_RATE_OUTDATED, detail)
    return replace(item, item_amount=amount / quote.rate, item_currency=EURO), gap


def _country(declared: str) -> str:
    return "".join(declared.split()).upper()
