"""Tariff measures → the duty on goods, and the revenue that a wrong declaration would cost. Pure.

Ad valorem duties only. Revenue is duty, and import VAT on value and duty (Art. 85 and 86 of
Directive 2006/112/EC), at one rate for all goods: reduced rates are not known here. The item amount
stands for the customs value: freight and insurance (Art. 71 UCC) are not declared per item.
"""

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from models.hs.editions import current
from schemas.records import EPOCH, GoodsItem, TariffMeasure

LENGTHS: Final = (10, 8, 6, 4, 2)
"""Digits of TARIC, CN, HS subheading, heading and chapter."""
ERGA_OMNES: Final = ""
"""Origin of a measure for all third countries."""
VAT: Final = 21.0
"""Belgian standard rate. Unit: percent."""


def problem(measure: TariffMeasure) -> str | None:
    """Return why a measure is ignored; None where it is not."""
    code = measure.commodity_code
    if not (code.isascii() and code.isdigit() and len(code) in LENGTHS):
        return "its commodity_code is not 2, 4, 6, 8 or 10 digits"
    if not (math.isfinite(measure.duty_rate) and measure.duty_rate >= 0):
        return "its duty_rate is no percentage"
    return None


class Tariff:
    """Measures, by code and origin. Those with a problem are left out."""

    def __init__(self, measures: Iterable[TariffMeasure] = ()) -> None:
        self._measures: dict[tuple[str, str], list[TariffMeasure]] = {}
        for measure in measures:
            if problem(measure) is None:
                place = (measure.commodity_code, measure.country_of_origin.strip().upper())
                self._measures.setdefault(place, []).append(measure)
        self._codes = sorted({code for code, _ in self._measures})

    def duty(self, code: str, origin: str, at: datetime) -> float | None:
        """Return the duty on goods, in percent of the customs value; None where it is unknown.

        A measure holds for its code and all below. One for this origin (a preference, say) goes
        before those for all origins; then the longest code goes first; then the latest start, so
        that a measure whose end was forgotten gives way to the next.

        Where only codes below have measures (an HS6 code was suggested, the tariff says CN8), it is
        their low median: a rate that exists and that at least half of them reach. The highest would
        promise revenue that few of the goods owe.

        Args:
            code: 2 to 10 digits, further characters do not count; empty for none.
            origin: ISO 3166-1 alpha-2, or empty.
            at: when the declaration was accepted (Art. 85 UCC).
        """
        if not code:
            return None
        origin = origin.strip().upper()
        rate = self._direct(code, origin, at)
        if rate is not None:
            return rate
        for length in sorted(LENGTHS):
            below = (c for c in self._below(code) if len(c) == length > len(code))
            rates = [r for c in below if (r := self._direct(c, origin, at)) is not None]
            if rates:
                return statistics.median_low(rates)
        return None

    def lower_duty(self, code: str, origin: str, at: datetime, within: Iterable[str]) -> list[str]:
        """Return those codes of `within` whose duty is known to be lower, the lowest first."""
        duty = self.duty(code, origin, at)
        if duty is None:
            return []
        rates = {other: self.duty(other, origin, at) for other in within}
        lower = ((rate, other) for other, rate in rates.items() if rate is not None and rate < duty)
        return [other for _, other in sorted(lower)]

    def _direct(self, code: str, origin: str, at: datetime) -> float | None:
        """Return the rate of the code's own measure, or of one above it."""
        for place in dict.fromkeys((origin, ERGA_OMNES)):
            for length in LENGTHS:
                if length <= len(code):
                    measures = self._measures.get((code[:length], place), ())
                    valid = [measure for measure in measures if _valid(measure, at)]
                    if valid:
                        latest = max(valid, key=lambda m: (m.valid_from, m.measure_id))
                        return latest.duty_rate
        return None

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
    vat: float = VAT,
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
        vat: percent.
    """
    value = _eur(item)
    if value is None:
        return 0.0
    tax = 1 + vat / 100
    owed = (1 + (declared_duty or 0.0) / 100) * tax - 1  # as a share of the value
    more = 0.0
    if declared_duty is not None:
        for hs6, probability in candidates:
            if not current(item.commodity_code).startswith(hs6):
                duty = tariff.duty(hs6, item.country_of_origin, at)
                more += probability * max(0.0, (duty or 0.0) - declared_duty) / 100 * tax
    hidden = 0.0
    if undervaluation is not None:
        probability, usual = undervaluation
        hidden = probability * max(0.0, usual - value)
    return value * more + hidden * (owed + more)


def _eur(item: GoodsItem) -> float | None:
    amount: Decimal | None = item.item_amount
    if amount is None or amount < 0 or item.item_currency != "EUR":
        return None
    return float(amount)


def _valid(measure: TariffMeasure, at: datetime) -> bool:
    return measure.valid_from <= at and (measure.valid_until == EPOCH or at < measure.valid_until)
