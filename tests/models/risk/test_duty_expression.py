"""Duties as tariffs write them."""

from fractions import Fraction

import pytest

from models.risk.duty_expression import (
    DutyExpression,
    Term,
    Unreadable,
    convert,
    parse,
    unit_code,
)


def percent(rate):
    return Term(Fraction(rate))


def specific(rate, unit, currency="EUR"):
    return Term(Fraction(rate), unit, currency)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Free", DutyExpression(())),
        ("free", DutyExpression(())),
        ("0 %", DutyExpression((percent(0),))),
        ("6.8%", DutyExpression((percent("6.8"),))),
        ("6,8 %", DutyExpression((percent("6.8"),))),
        ("33 1/3%", DutyExpression((percent(Fraction(100, 3)),))),
        ("5.500% + 4.40 EUR/HLT", DutyExpression((percent("5.5"), specific("4.4", "HLT")))),
        ("93.1 EUR / 100 kg", DutyExpression((specific("93.1", "DTN"),))),
        ("2 €/p/st", DutyExpression((specific(2, "NAR"),))),
        ("6.6¢/kg", DutyExpression((specific("0.066", "KGM", "USD"),))),
        ("$1.035/kg + 17%", DutyExpression((specific("1.035", "KGM", "USD"), percent(17)))),
        ("36¢ each + 5.6%", DutyExpression((specific("0.36", "NAR", "USD"), percent("5.6")))),
        ("$0.1 each", DutyExpression((specific("0.1", "NAR", "USD"),))),
        ("12.5¢/doz. prs. +8%.", DutyExpression((specific("0.125", "DPR", "USD"), percent(8)))),
        (
            "8 % MIN 2 EUR/DTN MAX 10 % + 1 EUR/DTN",
            DutyExpression(
                (percent(8),),
                minima=((specific(2, "DTN"),),),
                maxima=((percent(10), specific(1, "DTN")),),
            ),
        ),
        (
            "1.5 EUR/KGM but not less than 3%",
            DutyExpression((specific("1.5", "KGM"),), minima=((percent(3),),)),
        ),
    ],
)
def test_what_is_read(text, expected):
    """Exactly these terms."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" . ", "empty"),
        ("See 9912.95.91", "refers"),
        ("No change", "refers"),
        ("The duty provided in the applicable subheading + 25%", "refers"),
        ("5.7¢/kg on drained weight + 8%", "does not say"),
        ("33.9¢/kg of total sugars", "does not say"),
        ("30¢ each + 6.9% on the case", "does not say"),
        ("3.6¢/kg less 0.02¢/kg for each degree but not less than 2¢/kg", "does not say"),
        ("2¢/jewel", "unit"),
        ("1 EUR/cubit", "unit"),
        ("1,035 EUR/KGM", "thousands"),
        ("5", "form"),
        ("-5 %", "form"),
        ("5 /KGM", "currency"),
        ("$5 EUR/KGM", "currency"),
        ("five per cent", "form"),
        ("5 % MIN", "form"),
        ("5 % + ", "form"),
        ("5 %" * 1000, "characters"),
        ("9" * 400 + " %", "form"),
    ],
)
def test_what_cannot_be_read_says_why(text, why):
    """Never a number that the text does not say."""
    with pytest.raises(Unreadable, match=why):
        parse(text)


def test_units_convert_within_what_they_measure():
    """A pair is not two pieces."""
    assert convert(Fraction(1), "TNE", "DTN") == 10
    assert convert(Fraction(250), "GRM", "KGM") == Fraction(1, 4)
    assert convert(Fraction(24), "NAR", "DZN") == 2
    assert convert(Fraction(1), "NPR", "NAR") is None
    assert convert(Fraction(1), "KGM", "LTR") is None
    assert convert(Fraction(1), "XXX", "XXX") == 1


@pytest.mark.parametrize(
    ("printed", "code"),
    [("kg", "KGM"), (" No. ", "NAR"), ("dtn", "DTN"), ("doz. prs.", "DPR"), ("cubit", None)],
)
def test_units_as_tariffs_print_them(printed, code):
    """Codes and names, in any case."""
    assert unit_code(printed) == code


def test_what_a_duty_depends_on():
    """Ad valorem alone has a rate of its own."""
    assert parse("5 % + 2.5 %").ad_valorem == Fraction("7.5")
    assert parse("Free").ad_valorem == 0
    assert parse("5 % MAX 2 EUR/DTN").ad_valorem is None
    assert parse("5 % + 1 EUR/NAR MAX 2 EUR/DTN").units() == {"NAR", "DTN"}
