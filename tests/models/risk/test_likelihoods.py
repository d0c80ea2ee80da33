"""Closed-form evidence: signs of what it is for, and none of what it is not."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
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


CODES = ("640411", "640419", "940511", "940519", "620240", "994500")


@pytest.mark.parametrize(
    "code", ["", "640411", "64041190", "6404110010C123", "620293", "9945000000"]
)
def test_a_code_of_the_nomenclature_is_no_sign(code):
    """Nor is none, nor one of an earlier edition that one code answers."""
    assert likelihoods.unknown_code(code, CODES) is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("94051098", "940510 is not in HS 2022; its goods are in 940511, 940519"),
        ("9905000000", "990500 is of a chapter for national use, not of HS 2022"),
        ("980100", "980100 is of a chapter for national use, not of HS 2022"),
    ],
)
def test_a_code_of_another_edition_or_of_a_nation_only_informs(code, words):
    """It weighs nothing, and says what it is."""
    assert likelihoods.unknown_code(code, CODES) == likelihoods.LikelihoodRatio(0.0, words)


@pytest.mark.parametrize("code", ["000000", "6404990000", "123456", "770000"])
def test_a_code_that_never_was_one_is_a_sign(code):
    """Far likelier of irregular goods."""
    ratio = likelihoods.unknown_code(code, CODES)
    assert 5 < ratio.log_ratio < likelihoods.CAP
    assert ratio.words == f"{code[:6]} is no subheading of HS 2022"


def test_only_some_of_many_successors_are_named():
    """An inspector's line stays a line."""
    codes = [f"9405{number}" for number in range(11, 30)]
    assert likelihoods.unknown_code("940500", codes).words.endswith("940515, 940516, …")


def test_a_title_of_other_goods_is_a_sign_and_tells_which():
    """One of the same heading is none, and platforms name goods loosely."""
    codes, headings = ("610910", "610990", "640411"), np.array([0, 0, 1])

    def ratio(by_title):
        by_text = np.array([0.9, 0.0995, 0.0005], np.float32)
        return likelihoods.title(by_text, np.array(by_title, np.float32), codes, headings)

    same, other = ratio([0.1, 0.9, 1e-5]), ratio([1e-4, 1e-4, 0.9998])
    assert same.log_ratio < 0 < other.log_ratio <= likelihoods.TITLE_CAP
    assert (same.words, other.words) == ("", "the title reads like 640411")
