"""A duty as tariffs write it → what is owed on goods, exactly.

`10.2 % + 93.1 EUR/DTN MIN 5 % MAX 20 %`: ad valorem and specific terms, their sum, and what it is
at least and at most. Units by UN/ECE Recommendation 20 or as tariffs print them. Forms of the EU's
TARIC and of the US Harmonized Tariff Schedule are read.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

PERCENT: Final = "%"
MAX_LENGTH: Final = 500
"""Of an expression. Unit: characters."""

MASS: Final = "mass"
UNITS: Final[Mapping[str, tuple[str, Fraction]]] = {
    # mass, in kg
    "KGM": (MASS, Fraction(1)),
    "GRM": (MASS, Fraction("0.001")),
    "CTM": (MASS, Fraction("0.0002")),
    "DTN": (MASS, Fraction(100)),
    "TNE": (MASS, Fraction(1000)),
    # pieces
    "NAR": ("pieces", Fraction(1)),
    "DZN": ("pieces", Fraction(12)),
    "CEN": ("pieces", Fraction(100)),
    "GRO": ("pieces", Fraction(144)),
    "MIL": ("pieces", Fraction(1000)),
    # pairs
    "NPR": ("pairs", Fraction(1)),
    "DPR": ("pairs", Fraction(12)),
    # volume, in litres
    "LTR": ("volume", Fraction(1)),
    "HLT": ("volume", Fraction(100)),
    "MTQ": ("volume", Fraction(1000)),
    "BLL": ("volume", Fraction("158.987294928")),
    # area, length, energy, pure alcohol
    "MTK": ("area", Fraction(1)),
    "MTR": ("length", Fraction(1)),
    "KMT": ("length", Fraction(1000)),
    "MWH": ("energy", Fraction(1)),
    "LPA": ("pure alcohol", Fraction(1)),
    "PFL": ("proof litres", Fraction(1)),
    "CKG": ("clean mass", Fraction(1)),
}
"""Unit → what it measures, and how many base units it is. PFL and CKG, the proof litre and the
clean kilogram of the US, are codes of our own."""
PRINTED: Final[Mapping[str, str]] = {
    "kg": "KGM", "kilogram": "KGM", "1000 kg": "TNE", "100 kg": "DTN", "100 kg net": "DTN",
    "g": "GRM", "t": "TNE", "tonne": "TNE", "carat": "CTM", "c/k": "CTM",
    "each": "NAR", "no.": "NAR", "no": "NAR", "pcs": "NAR", "p/st": "NAR", "item": "NAR",
    "c62": "NAR",
    "doz.": "DZN", "doz": "DZN", "dz pcs": "DZN", "100 p/st": "CEN", "hundred": "CEN",
    "hundreds": "CEN", "gross": "GRO", "1000 p/st": "MIL", "thousand": "MIL", "thousands": "MIL",
    "1000": "MIL", "1,000": "MIL", "100": "CEN", "head": "NAR", "article": "NAR",
    "pr.": "NPR", "pr": "NPR", "prs.": "NPR", "pa": "NPR", "pair": "NPR", "doz. pr.": "DPR",
    "doz. prs.": "DPR", "doz.pr.": "DPR",
    "l": "LTR", "liter": "LTR", "litre": "LTR", "liters": "LTR", "hl": "HLT", "100 l": "HLT",
    "m3": "MTQ", "m³": "MTQ", "1000 l": "MTQ", "bbl": "BLL",
    "m2": "MTK", "m²": "MTK", "m": "MTR", "lin. m": "MTR", "clean kg": "CKG", "pf.liter": "PFL",
    "pf. liter": "PFL", "pf.liters": "PFL", "l alc. 100%": "LPA",
}  # fmt: skip
"""Unit as tariffs print it, in small letters → its code."""
CURRENCY_SIGNS: Final = {"$": "USD", "¢": "USD", "€": "EUR", "£": "GBP"}
CENTS: Final = Fraction(1, 100)

NUMBER: Final = r"(?P<number>\d{1,12}(?:[.,]\d{1,10})?)"
AD_VALOREM: Final = re.compile(rf"{NUMBER}(?:\s+(?P<part>\d)/(?P<of>[2-9]))?\s*%")
SPECIFIC: Final = re.compile(
    rf"(?P<sign>[$€£])?\s*{NUMBER}\s*(?P<name>[A-Z]{{3}}|[¢$€£])?\s*(?:/\s*|(?=each))(?P<unit>.+)",
    re.IGNORECASE,
)
LIMIT: Final = re.compile(
    r"\s+(?P<kind>MIN|MAX|but not less than|but not more than)\s+", re.IGNORECASE
)
LEAST: Final = ("min", "but not less than")
REFERENCE: Final = re.compile(
    r"\b(see|the (duty|rate)s?\b|no change|under bond|applicable|column 1|subject to)",
    re.IGNORECASE,
)
OTHER_BASIS: Final = re.compile(r"\b(on|of|for|including|less|minus|in excess)\b", re.IGNORECASE)


class Unreadable(ValueError):  # noqa: N818 - says what it is
    """The text is no duty that can be computed; the message says why."""


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a duty."""

    rate: Fraction
    """Percent of the value; or an amount of the currency for each unit."""
    unit: str = PERCENT
    """PERCENT, or a code of UNITS."""
    currency: str = ""
    """ISO 4217; empty for PERCENT."""


Sum = tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class DutyExpression:
    """A duty: a sum, which is at least and at most other sums."""

    terms: Sum
    """Empty for free."""
    minima: tuple[Sum, ...] = ()
    maxima: tuple[Sum, ...] = ()

    @property
    def ad_valorem(self) -> Fraction | None:
        """The rate of a duty that depends on the value alone, in percent; else None."""
        if self.minima or self.maxima or any(term.unit != PERCENT for term in self.terms):
            return None
        return sum((term.rate for term in self.terms), Fraction(0))

    def units(self) -> frozenset[str]:
        """Return the units that it asks for, PERCENT left out."""
        sums = (self.terms, *self.minima, *self.maxima)
        return frozenset(term.unit for terms in sums for term in terms) - {PERCENT}

    def amount(
        self,
        value: Fraction | None,
        quantity: Callable[[str], Fraction | None],
        for_one_euro: Callable[[str], Fraction | None],
    ) -> Fraction | None:
        """Return what is owed, exactly; None where something that it needs is unknown. Unit: EUR.

        Args:
            value: customs value. Unit: EUR.
            quantity: of the goods in a unit.
            for_one_euro: amount in a currency.
        """

        def part(term: Term) -> Fraction | None:
            if term.unit == PERCENT:
                return None if value is None else value * term.rate / 100
            many, rate = quantity(term.unit), for_one_euro(term.currency)
            return None if many is None or not rate else many * term.rate / rate

        def owed(terms: Sum) -> Fraction | None:
            parts = [part(term) for term in terms]
            known = [each for each in parts if each is not None]
            return sum(known, Fraction(0)) if len(known) == len(parts) else None

        duty = owed(self.terms)
        for limits, bound in ((self.minima, max), (self.maxima, min)):
            for limit in map(owed, limits):
                duty = None if duty is None or limit is None else bound(duty, limit)
        return duty


def parse(text: str) -> DutyExpression:
    """Read a duty.

    Raises:
        Unreadable: it refers to another measure, rests on what is not declared, or has another
            form.
    """
    if len(text) > MAX_LENGTH:
        raise Unreadable(f"it has more than {MAX_LENGTH} characters")
    text = " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split()).rstrip(". ;")
    if not text:
        raise Unreadable("it is empty")
    if REFERENCE.search(text):
        raise Unreadable("it refers to another measure or note")
    first, *limits = LIMIT.split(text)
    minima: list[Sum] = []
    maxima: list[Sum] = []
    for kind, terms in zip(limits[::2], limits[1::2], strict=True):
        (minima if kind.lower() in LEAST else maxima).append(_sum(terms))
    return DutyExpression(_sum(first), tuple(minima), tuple(maxima))


def convert(quantity: Fraction, unit: str, into: str) -> Fraction | None:
    """Return a quantity in another unit; None where they measure different things."""
    if unit == into:
        return quantity
    if unit not in UNITS or into not in UNITS or UNITS[unit][0] != UNITS[into][0]:
        return None
    return quantity * UNITS[unit][1] / UNITS[into][1]


def unit_code(printed: str) -> str | None:
    """Return the code of a unit; None for one that is not known."""
    if printed.strip().upper() in UNITS:
        return printed.strip().upper()
    return PRINTED.get(" ".join(printed.lower().split()))


def _sum(text: str) -> Sum:
    if text.strip().lower() in {"free", "0"}:
        return ()
    return tuple(_term(part.strip()) for part in text.split("+"))


def _term(text: str) -> Term:
    if match := AD_VALOREM.fullmatch(text):
        third = Fraction(int(match["part"]), int(match["of"])) if match["part"] else 0
        return Term(_number(match["number"]) + third)
    match = SPECIFIC.fullmatch(text)
    unit = unit_code(match["unit"]) if match else None
    if match is None or unit is None:
        if OTHER_BASIS.search(text):
            raise Unreadable("it rests on what a declaration does not say")
        raise Unreadable("it has a unit that is not known" if match else "it has no known form")
    sign, name = match["sign"], match["name"]
    if bool(sign) == bool(name):
        raise Unreadable("it has no currency, or two")
    rate = _number(match["number"])
    given = sign or name.upper()
    return Term(rate * CENTS if given == "¢" else rate, unit, CURRENCY_SIGNS.get(given, given))


def _number(text: str) -> Fraction:
    """Read a number with a point or a comma before its decimals.

    Raises:
        Unreadable: three digits follow the comma, which may then stand for thousands.
    """
    if re.search(r",\d{3}$", text):
        raise Unreadable("its comma may stand for decimals or for thousands")
    return Fraction(text.replace(",", "."))
