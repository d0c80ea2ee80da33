"""Figures and codes that cannot be right have a reason; those that can have none."""

from dataclasses import replace
from decimal import Decimal

import pytest

from models.risk.kinds import (
    IMPLAUSIBLE_AMOUNT,
    IMPLAUSIBLE_MASSES,
    UNKNOWN_CURRENCY,
    UNKNOWN_ORIGIN,
)
from models.risk.plausibility import likelihood_ratios
from models.risk.signals import Peers
from schemas.examples import examples

LOW = dict(examples("declaration"))["declaration/low-value"]


def implausible(**fields):
    """What is implausible of a goods item: kind → words."""
    values = {
        name: Decimal(value) if isinstance(value, str) and name.endswith(("mass", "amount")) else value
        for name, value in fields.items()
    }  # fmt: skip
    ratios = likelihood_ratios(replace(LOW.goods_items[0], **values), None)
    return {name: ratio.words for name, ratio in ratios.items() if ratio is not None}


def test_every_example_is_plausible():
    """As most declarations are."""
    for _, declaration in examples("declaration"):
        for item in declaration.goods_items:
            assert not any(likelihood_ratios(item, None).values())


@pytest.mark.parametrize(
    ("net", "gross", "words"),
    [
        ("5", "1", "net mass 5 kg is above gross mass 1 kg"),
        ("1.4", "1.100000", "net mass 1.4 kg is above gross mass 1.1 kg"),
        ("-1", "1", "net mass -1 kg"),
        ("1", "-0.5", "gross mass -0.5 kg"),
        ("0", "1", "net mass 0 kg"),
        ("9999999999", None, "net mass 9999999999 kg"),
    ],
)
def test_masses_that_cannot_be(net, gross, words):
    assert implausible(net_mass=net, gross_mass=gross) == {IMPLAUSIBLE_MASSES.name: words}


@pytest.mark.parametrize(("net", "gross"), [("1", "1"), ("1", None), (None, None), (None, "1")])
def test_masses_that_can_be(net, gross):
    assert implausible(net_mass=net, gross_mass=gross) == {}


@pytest.mark.parametrize(
    ("amount", "currency", "words"),
    [
        ("0", "EUR", "amount 0 EUR"),
        ("-9.95", "EUR", "amount -9.95 EUR"),
        ("99999999999999.99", "EUR", "amount 99999999999999.99 EUR"),
        ("200000000", "EUR", "amount 200000000 EUR"),
        ("99999999999999.99", "VND", "amount 99999999999999.99 VND"),
    ],
)
def test_amounts_that_cannot_be(amount, currency, words):
    """Nothing at all is likelier a slip than the others."""
    goods = {"item_amount": amount, "item_currency": currency}
    assert implausible(**goods) == {IMPLAUSIBLE_AMOUNT.name: words}


def test_an_absurd_amount_weighs_more_than_none():
    def log_ratio(amount):
        item = replace(LOW.goods_items[0], item_amount=Decimal(amount))
        return likelihood_ratios(item, None)[IMPLAUSIBLE_AMOUNT.name].log_ratio

    assert log_ratio("-1") == log_ratio("1e9") > log_ratio("0") > 0


def test_a_unit_price_of_hundreds_of_comparable_goods_is_none():
    """Where the prices of these differ widely, of more."""

    def words(amount, spread):
        item = replace(LOW.goods_items[0], item_amount=Decimal(amount), net_mass=Decimal(1))
        ratio = likelihood_ratios(item, Peers(20, 3.0, spread))[IMPLAUSIBLE_AMOUNT.name]
        return ratio and ratio.words

    assert words("1000000", 0.3) == "1000000.00 EUR/kg; comparable goods 20.09 EUR/kg"
    assert words("1000", 0.3) is None
    assert words("1000000", 2.0) is None


@pytest.mark.parametrize(("code", "is_absurd"), [("610910", True), ("", True), ("710239", False)])
def test_without_comparable_goods_a_unit_price_may_be_high_but_not_absurd(code, is_absurd):
    """Of gems it may be."""
    goods = {"commodity_code": code, "item_amount": "5000000", "net_mass": "1", "gross_mass": None}
    assert bool(implausible(**goods)) == is_absurd
    assert implausible(**goods | {"item_amount": "100000"}) == {}


@pytest.mark.parametrize(
    ("field", "kind", "code", "words"),
    [
        ("country_of_origin", UNKNOWN_ORIGIN, "UK", "UK is no country"),
        ("country_of_origin", UNKNOWN_ORIGIN, "ZZ", "ZZ is no country"),
        ("country_of_origin", UNKNOWN_ORIGIN, "JANE DOE", "a text of 8 characters is no country"),
        ("item_currency", UNKNOWN_CURRENCY, "DEM", "DEM is no currency"),
        ("item_currency", UNKNOWN_CURRENCY, "XXX", "XXX is no currency"),
        ("item_currency", UNKNOWN_CURRENCY, "$", "a text of 1 characters is no currency"),
    ],
)
def test_codes_outside_the_lists(field, kind, code, words):
    """A long one is not repeated: it may be a name."""
    assert implausible(**{field: code}) == {kind.name: words}


@pytest.mark.parametrize("code", ["GB", "XI", "XK", "XS", "TW", "EU", "QU", ""])
def test_countries_of_the_lists(code):
    assert implausible(country_of_origin=code) == {}
