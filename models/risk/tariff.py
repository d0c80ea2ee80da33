"""Tariff measures → the duty on goods, and the revenue that a wrong declaration would cost. Pure.

Revenue is duty, and import VAT on value and duty (Art. 85 and 86 of Directive 2006/112/EC). The
item amount stands for the customs value: freight and insurance (Art. 71 UCC) are not declared per
item.
"""

import math
import re
import statistics
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Final, Self

from models.hs.editions import current
from models.risk.duty_expression import MASS, UNITS, DutyExpression, Unreadable, convert, parse
from models.risk.exchange import EURO, ExchangeRates
from schemas.records import EPOCH, GoodsItem, TariffMeasure

LENGTHS: Final = (10, 8, 6, 4, 2)
"""Digits of TARIC, CN, HS subheading, heading and chapter."""
ERGA_OMNES: Final = ""
"""Origin of a measure for all third countries."""
VAT: Final = 21.0
"""Belgian standard rate, for codes without a measure of VAT. Unit: percent."""
BASE: Final = ("", "third_country", "preference")
"""Types of which one holds."""
ADDED: Final = ("anti_dumping", "countervailing", "additional")
"""Types that are added to it, one of each."""
VAT_TYPE: Final = "vat"
NO_PREFERENCE: Final = "1"
"""First digit of the preference (UCC D.E. 14 11) of goods for which none is claimed."""
ADDITIONAL: Final = re.compile(r"\d{10}\d?((?:[0-9A-Z]{4})+)", re.ASCII)


@lru_cache(maxsize=1 << 15)
def _expression(text: str) -> DutyExpression:
    return parse(text)


def problem(measure: TariffMeasure) -> str | None:
    """Return why a measure is ignored; None where it is not."""
    code, unit = measure.commodity_code, measure.supplementary_unit
    rules = (
        (
            code.isascii() and code.isdigit() and len(code) in LENGTHS,
            "its commodity_code is not 2, 4, 6, 8 or 10 digits",
        ),
        (
            math.isfinite(measure.duty_rate) and measure.duty_rate >= 0,
            "its duty_rate is no percentage",
        ),
        (measure.measure_type in (*BASE, *ADDED, VAT_TYPE), "its measure_type is none"),
        (not unit or unit in UNITS, "its supplementary_unit is none"),
    )
    broken = next((reason for holds, reason in rules if not holds), None)
    return broken or _problem_of_expression(measure)


def _problem_of_expression(measure: TariffMeasure) -> str | None:
    if not measure.duty_expression:
        return None
    try:
        expression = _expression(measure.duty_expression)
    except Unreadable as error:
        return f"its duty_expression cannot be read: {error}"
    if measure.measure_type == VAT_TYPE and expression.ad_valorem is None:
        return "its duty_expression is no rate of VAT"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods:
    """What a duty may depend on beside code and origin. None and empty for unknown."""

    value: Fraction | None = None
    """Unit: EUR."""
    net_mass: Fraction | None = None
    """Unit: kg."""
    supplementary_quantity: Fraction | None = None
    """In the unit of the code."""
    preference: str = ""
    additional_codes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return a text that is the same for the same goods alone."""
        numbers = (self.value, self.net_mass, self.supplementary_quantity)
        texts = ("" if number is None else str(number) for number in numbers)
        return "|".join((*texts, self.preference, *self.additional_codes))

    @classmethod
    def of(cls, item: GoodsItem) -> Self:
        """Return what a goods item declares; its value only where that is in EUR."""
        amount = item.item_amount if item.item_currency == EURO else None
        match = ADDITIONAL.fullmatch(item.commodity_code)
        codes = match[1] if match else ""
        return cls(
            value=None if amount is None or amount < 0 else Fraction(amount),
            net_mass=None if item.net_mass is None else Fraction(item.net_mass),
            supplementary_quantity=(
                None
                if item.supplementary_quantity is None
                else Fraction(item.supplementary_quantity)
            ),
            preference=item.preference,
            additional_codes=tuple(codes[n : n + 4] for n in range(0, len(codes), 4)),
        )


ANY_GOODS: Final = Goods()


class Tariff:
    """Measures, by code and origin. Those with a problem are left out."""

    def __init__(
        self, measures: Iterable[TariffMeasure] = (), rates: ExchangeRates | None = None
    ) -> None:
        """Take the measures.

        Args:
            measures: in any order.
            rates: of currencies that duties are written in.
        """
        self._rates = rates or ExchangeRates()
        self._measures: dict[tuple[str, str], list[TariffMeasure]] = {}
        for measure in measures:
            if problem(measure) is None:
                for origin in measure.origins or (measure.country_of_origin,):
                    place = (measure.commodity_code, origin.strip().upper())
                    self._measures.setdefault(place, []).append(measure)
        self._codes = sorted(
            {
                code
                for (code, _), here in self._measures.items()
                if any(measure.measure_type in BASE for measure in here)
            }
        )

        self._conditional = sorted(
            {
                measure.commodity_code
                for here in self._measures.values()
                for measure in here
                if _rate(measure) is None
                or measure.additional_code
                or measure.programme
                or measure.measure_type == "preference"
            }
        )

    def duty(self, code: str, origin: str, at: datetime, goods: Goods = ANY_GOODS) -> float | None:
        """Return the duty on goods, in percent of the customs value; None where it is unknown.

        A measure holds for its code and all below. One for this origin (a preference, say) goes
        before those for all origins; then the longest code goes first; then the latest start, so
        that a measure whose end was forgotten gives way to the next. Anti-dumping, countervailing
        and additional duties are added. A duty that is not ad valorem is unknown without value and
        quantity.

        Where only codes below have measures (an HS6 code was suggested, the tariff says CN8), it is
        their low median: a rate that exists and that at least half of them reach. The highest would
        promise revenue that few of the goods owe.

        Args:
            code: 2 to 10 digits, further characters do not count; empty for none.
            origin: ISO 3166-1 alpha-2, or empty.
            at: when the declaration was accepted (Art. 85 UCC).
            goods: what else was declared.
        """
        if not code:
            return None
        origin = origin.strip().upper()
        measures = self._holding(code, origin, at, goods)
        if measures:
            return self._percent(measures, at, goods)
        for length in sorted(LENGTHS):
            below = (c for c in self._below(code) if len(c) == length > len(code))
            holding = [m for c in below if (m := self._holding(c, origin, at, goods))]
            rates = [self._percent(measures, at, goods) for measures in holding]
            known = [rate for rate in rates if rate is not None]
            if known:
                return statistics.median_low(known)
        return None

    def depends_on_goods(self, code: str) -> bool:
        """Return whether a duty on this code, above or below it depends on more than the origin."""

        def has(prefix: str) -> bool:
            first = bisect_left(self._conditional, prefix)
            return self._conditional[first : first + 1] == [prefix]

        first = bisect_left(self._conditional, code)
        below = self._conditional[first : first + 1]
        return any(has(code[:length]) for length in LENGTHS) or any(
            other.startswith(code) for other in below
        )

    def owed(self, code: str, origin: str, at: datetime, goods: Goods) -> Fraction | None:
        """Return the duty on goods under a code that has measures, exactly. Unit: EUR.

        None where no measure holds, or where it needs what is not declared.
        """
        measures = self._holding(code, origin.strip().upper(), at, goods)
        parts = [self._amount(measure, at, goods) for measure in measures]
        known = [part for part in parts if part is not None]
        return sum(known, Fraction(0)) if parts and len(known) == len(parts) else None

    def vat(self, code: str, at: datetime) -> float:
        """Return the rate of VAT on goods of a code, in percent."""
        measure = self._latest(code, (ERGA_OMNES,), at, (VAT_TYPE,), ANY_GOODS)
        return VAT if measure is None else _rate(measure) or 0.0

    def lower_duty(self, code: str, origin: str, at: datetime, within: Iterable[str]) -> list[str]:
        """Return those codes of `within` whose duty is known to be lower, the lowest first."""
        duty = self.duty(code, origin, at)
        if duty is None:
            return []
        rates = {other: self.duty(other, origin, at) for other in within}
        lower = ((rate, other) for other, rate in rates.items() if rate is not None and rate < duty)
        return [other for _, other in sorted(lower)]

    def _holding(self, code: str, origin: str, at: datetime, goods: Goods) -> list[TariffMeasure]:
        """Return the measures of the code, or of codes above it, that make up the duty."""
        places = tuple(dict.fromkeys((origin, ERGA_OMNES)))
        base = self._latest(code, places, at, BASE, goods)
        if base is None:
            return []
        added = (self._latest(code, places, at, (kind,), goods) for kind in ADDED)
        return [base, *(measure for measure in added if measure is not None)]

    def _latest(
        self, code: str, places: Sequence[str], at: datetime, types: Sequence[str], goods: Goods
    ) -> TariffMeasure | None:
        for place in places:
            for length in LENGTHS:
                if length <= len(code):
                    here = self._measures.get((code[:length], place), ())
                    valid = [m for m in here if m.measure_type in types and _holds(m, at, goods)]
                    if valid:
                        # The measure of a declared additional code goes before that of all others.
                        return max(
                            valid, key=lambda m: (m.additional_code, m.valid_from, m.measure_id)
                        )
        return None

    def _percent(
        self, measures: Sequence[TariffMeasure], at: datetime, goods: Goods
    ) -> float | None:
        """Return the sum of measures in percent of the value."""
        rates = [self._rate_on(measure, at, goods) for measure in measures]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if len(known) == len(rates) else None

    def _rate_on(self, measure: TariffMeasure, at: datetime, goods: Goods) -> float | None:
        rate = _rate(measure)
        if rate is not None:
            return rate
        amount = self._amount(measure, at, goods)
        return float(amount / goods.value * 100) if amount is not None and goods.value else None

    def _amount(self, measure: TariffMeasure, at: datetime, goods: Goods) -> Fraction | None:
        if not measure.duty_expression:
            rate = Fraction(str(measure.duty_rate))
            return None if goods.value is None else goods.value * rate / 100
        expression = _expression(measure.duty_expression)

        def quantity(unit: str) -> Fraction | None:
            if UNITS[unit][0] == MASS and measure.supplementary_unit != unit:
                return goods.net_mass and convert(goods.net_mass, "KGM", unit)
            given = goods.supplementary_quantity
            return given and convert(given, measure.supplementary_unit or unit, unit)

        def for_one_euro(currency: str) -> Fraction | None:
            if currency == EURO:
                return Fraction(1)
            quote = self._rates.quote(currency, at)
            return None if quote is None else Fraction(quote.rate)

        return expression.amount(goods.value, quantity, for_one_euro)

    def _below(self, code: str) -> list[str]:
        first = bisect_left(self._codes, code)
        return self._codes[first : bisect_left(self._codes, code + ":")]  # ":" follows "9"


def expected_revenue(
    tariff: Tariff,
    item: GoodsItem,
    candidates: Sequence[tuple[str, float]],
    undervaluation: tuple[float, float] | None,
    at: datetime,
    *,
    declared_duty: float | None,
) -> float:
    """Return the expected loss of duty and VAT on a goods item. Unit: EUR.

    Code and value are assumed to be wrong independently. A candidate counts as far as its duty is
    higher; one whose duty is unknown, or that contains the declared code, counts nothing. Without
    the declared code's duty only VAT counts. No amount, or one in another currency, gives 0.

    Args:
        tariff: in force.
        item: as declared.
        candidates: HS6 codes, each with the probability that it is the right one.
        undervaluation: probability that the value is too low, and what such goods usually cost in
            EUR; None where either is unknown.
        at: when the declaration was accepted.
        declared_duty: `tariff.duty` of the declared code. Percent.
    """
    goods, declared = Goods.of(item), current(item.commodity_code)
    if goods.value is None:
        return 0.0
    value, tax = float(goods.value), 1 + tariff.vat(declared, at) / 100
    owed = (1 + (declared_duty or 0.0) / 100) * tax - 1  # as a share of the value
    more = 0.0
    if declared_duty is not None:
        for hs6, probability in candidates:
            if not declared.startswith(hs6):
                duty = tariff.duty(hs6, item.country_of_origin, at, goods)
                more += probability * max(0.0, (duty or 0.0) - declared_duty) / 100 * tax
    hidden = 0.0
    if undervaluation is not None:
        probability, usual = undervaluation
        hidden = probability * max(0.0, usual - value)
    return value * more + hidden * (owed + more)


def _rate(measure: TariffMeasure) -> float | None:
    """Return the rate of an ad valorem measure, in percent; None of another."""
    if not measure.duty_expression:
        return measure.duty_rate
    rate = _expression(measure.duty_expression).ad_valorem
    return None if rate is None else float(rate)


def _holds(measure: TariffMeasure, at: datetime, goods: Goods) -> bool:
    if measure.additional_code and measure.additional_code not in goods.additional_codes:
        return False
    if measure.programme and measure.programme != goods.preference:
        return False
    if measure.measure_type == "preference" and goods.preference.startswith(NO_PREFERENCE):
        return False
    return measure.valid_from <= at and (measure.valid_until == EPOCH or at < measure.valid_until)
