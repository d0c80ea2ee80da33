"""Closed-form evidence: signs of what it is for, and none of what it is not."""

from dataclasses import replace
from decimal import Decimal

import pytest

from models.risk import likelihoods
from models.risk.signals import ItemSignals, LiveSignals, Peers, PhotoUse
from schemas.examples import examples

LOW = dict(examples("declaration"))["declaration/low-value"]
PEERS = Peers(count=20, median=2.302585, spread=0.3)


def item(amount="20", mass="2", currency="EUR"):
    number = None if amount is None else Decimal(amount)
    return replace(LOW.goods_items[0], item_amount=number, net_mass=Decimal(mass), item_currency=currency)  # fmt: skip


def use(same, other):
    return PhotoUse(same, other, 0, None, "D1" if other else "")


def test_a_price_of_a_fifth_is_a_sign_and_a_usual_or_dear_one_is_none():
    """The more the price falls, the more it tells; above the median never anything."""
    ratios = [likelihoods.price(item(amount), PEERS).log_ratio for amount in ("4", "8", "20", "90")]
    assert ratios[0] > 4
    assert ratios[0] > ratios[1] > ratios[2]
    assert ratios[2] < 0
    assert ratios[3] <= 0
    assert likelihoods.price(item("0.01"), PEERS).log_ratio <= likelihoods.CAP


@pytest.mark.parametrize("one", [item(None), item("-5"), item("0"), item(mass="0"), item(currency="USD")])  # fmt: skip
def test_what_has_no_price_in_euro_tells_nothing(one):
    assert likelihoods.price(one, PEERS) is None
    assert likelihoods.price(item(), None) is None


def test_a_photo_used_under_other_headings_is_a_sign_unless_most_are_of_this_one():
    """One mistaken declaration does not make a photo suspicious for all who come after it."""
    assert likelihoods.photo_reuse(use(0, 3)).log_ratio > 4
    assert likelihoods.photo_reuse(use(0, 3)).words.endswith("D1")
    assert likelihoods.photo_reuse(use(9, 2)).log_ratio < 0
    assert likelihoods.photo_reuse(use(3, 0)).log_ratio < -4
    assert likelihoods.photo_reuse(use(0, 0)) is None
    assert likelihoods.photo_reuse(None) is None
    many = likelihoods.photo_reuse(use(0, 1000)).log_ratio
    assert many <= likelihoods.CAP


def live(**fields):
    return LiveSignals(items=(ItemSignals(),), **fields)


def declaration(amount):
    return replace(LOW, goods_items=(item(amount),))


def test_parts_that_together_exceed_the_limit_are_a_sign():
    """Alone, or together below it, they are none; above it alone there is nothing to gain."""
    parts = live(small_count=2, small_value=200.0)
    assert likelihoods.splitting(declaration("90"), parts).log_ratio > 5
    assert "290.00 EUR" in likelihoods.splitting(declaration("90"), parts).words
    assert likelihoods.splitting(declaration("90"), live()).log_ratio < 0
    below = live(small_count=2, small_value=20.0)
    assert likelihoods.splitting(declaration("90"), below).log_ratio < 0
    assert likelihoods.splitting(declaration("900"), parts).log_ratio == -likelihoods.CAP
    assert likelihoods.splitting(declaration(None), parts) is None


def test_a_busy_importer_is_looked_at_more_closely():
    """Many consignments in a day raise it a little."""
    calm = likelihoods.splitting(declaration("90"), live()).log_ratio
    busy = likelihoods.splitting(declaration("90"), live(importer_day=40)).log_ratio
    assert calm < busy < 1
