"""Unit prices of peers: robust against one trader, whichever role and however many declarations."""

import math
import random

import numpy as np
import pytest

from models.risk.signals import MIN_PEERS, MIN_SPREAD, MOST_OF_TRADER, Peers, _balanced


def market(count, seed=3):
    """Log prices about 2.3, of many sellers and importers."""
    dice = random.Random(seed)
    return [(dice.gauss(2.3, 0.3), f"S{dice.randrange(40)}", f"I{dice.randrange(40)}") for _ in range(count)]  # fmt: skip


def peers(rows, **settings):
    prices, sellers, importers = zip(*rows, strict=True)
    return Peers.of_traders(prices, sellers, importers, **settings)


def test_of_many_traders_median_and_spread_are_those_of_the_prices():
    of = peers(market(400))
    assert of.count == 400
    assert of.median == pytest.approx(2.3, abs=0.06)
    assert of.spread == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("role", ["one seller", "one importer", "one seller and importer"])
@pytest.mark.parametrize("price", [9.0, -4.0])
def test_a_flood_of_one_trader_moves_neither_median_nor_spread_far(role, price):
    """Ten thousand declarations of one seller, under invented importers or not."""
    flood = [
        (
            price,
            f"X{n}" if role == "one importer" else "X",
            f"Y{n}" if role == "one seller" else "Y",
        )
        for n in range(10_000)
    ]
    honest, flooded = peers(market(60)), peers(market(60) + flood)
    assert abs(flooded.median - honest.median) < honest.spread
    assert flooded.spread < 2 * honest.spread


def test_no_trader_weighs_more_than_his_share():
    """In neither role, whatever the others have."""
    rows = market(30) + [(5.0, "X", f"Y{n}") for n in range(50)] + [(5.0, f"Z{n}", "Y") for n in range(9)]  # fmt: skip
    _, *roles = zip(*rows, strict=True)
    weights = _balanced(len(rows), roles)
    for traders in roles:
        totals = [
            sum(weight for weight, one in zip(weights, traders, strict=True) if one == trader)
            for trader in set(traders)
        ]
        assert max(totals) <= weights.sum() * MOST_OF_TRADER * 1.01


@pytest.mark.parametrize("traders", [1, 2, 4])
def test_few_traders_are_no_peers(traders):
    """One of them would be more than his share; the bundle's prices are compared instead."""
    rows = [(2.0, f"S{n % traders}", f"I{n}") for n in range(50)]
    assert peers(rows) is None
    assert peers([(price, importer, seller) for price, seller, importer in rows]) is None


def test_too_few_prices_are_none():
    rows = [(2.0 + n, f"S{n}", f"I{n}") for n in range(MIN_PEERS)]
    assert peers(rows[1:]) is None
    assert peers(rows).median == pytest.approx(np.median([price for price, _, _ in rows]))
    assert Peers.of_traders([], [], [], least=0) is None


def test_equal_prices_have_the_least_spread():
    assert peers([(2.0, f"S{n}", f"I{n}") for n in range(20)]).spread == MIN_SPREAD
    assert math.isfinite(peers(market(8)).median)
