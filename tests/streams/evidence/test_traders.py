"""One declaration, and one trader, say a bounded share of what later declarations are judged by."""

from dataclasses import replace
from datetime import timedelta

import pytest

from models.risk.likelihoods import photo_reuse, price, splitting
from schemas.records import Party
from streams.evidence.observations import HEADINGS, NEWEST
from streams.evidence.signal_query import LODGED, USES_OF_TRADER
from streams.evidence.signals import Signals
from streams.redis.keys import SHARDS
from tests.streams.evidence.test_signals import KEYS, OTHER, PICTURE, market, observed

FRAUDSTER = Party(identification="CN-fraudster")
WATCH = {"value": 200.0, "mass": 0.1}


@pytest.fixture
def signals(redis):
    return Signals(redis, keys=KEYS, ttl=timedelta(days=30), pause_s=60)


def of_many_items(one, count=999):
    """The same declaration with its goods item so many times."""
    (item,) = one.declaration.goods_items
    items = tuple(replace(item, sequence_number=n) for n in range(1, count + 1))
    return replace(
        one,
        declaration=replace(one.declaration, goods_items=items),
        attributes=one.attributes * count,
        photos=one.photos * count,
    )


async def gathered(signals, observations):
    for start in range(0, len(observations), 200):
        await signals.gather(observations[start : start + 200])


async def test_one_declaration_of_999_items_is_one_price_among_its_peers(signals):
    """A €200 watch stays a usual one."""
    await signals.gather(market(20, photo=None, **WATCH))
    item = observed(50, **WATCH).declaration.goods_items[0]
    (before,) = await signals.gather([observed(50, seconds=50, photo=None, **WATCH)])
    flood = observed(60, seconds=60, value=90_000, mass=0.1, photo=None, seller=FRAUDSTER)
    await signals.gather([of_many_items(flood)])
    (after,) = await signals.gather([observed(70, seconds=70, photo=None, **WATCH)])
    assert after.items[0].price.count == before.items[0].price.count + 2
    assert after.items[0].price.median == pytest.approx(before.items[0].price.median)
    assert price(item, after.items[0].price).log_ratio < 0


@pytest.mark.parametrize("role", ["seller", "importer"])
async def test_a_flood_of_declarations_of_one_trader_moves_no_price_of_others(signals, role):
    """Hundreds of them, with an invented partner each; nor does it push out what others say."""
    await signals.gather(market(40, photo=None, **WATCH))
    flood = [
        observed(
            1000 + n,
            seconds=100 + n,
            value=90_000,
            mass=0.1,
            photo=None,
            **{"seller": Party(identification=f"invented-{n}"), role: FRAUDSTER},
        )
        for n in range(NEWEST // SHARDS + 50)
    ]
    await gathered(signals, flood)
    (live,) = await signals.gather([observed(50, seconds=9999, photo=None, **WATCH)])
    item = observed(50, **WATCH).declaration.goods_items[0]
    peers = live.items[0].price
    if role == "seller":
        assert peers.count >= 40 * (SHARDS - 1) / SHARDS * 0.6
    assert peers is None or price(item, peers).log_ratio < 0


async def test_one_declaration_is_one_use_of_a_photo_under_each_heading(signals):
    """999 items under another heading do not make the photo of an honest seller a stolen one."""
    await signals.gather(market(4, item={"commodity_code": "640411"}))
    flood = observed(60, seconds=60, seller=FRAUDSTER, item={"commodity_code": "610910"})
    await signals.gather([of_many_items(flood)])
    (live,) = await signals.gather([observed(70, seconds=70, item={"commodity_code": "640411"})])
    use = live.items[0].photo
    assert (use.same_heading, use.other_heading) == (4, 1)
    assert photo_reuse(use).log_ratio < 0


async def test_a_flood_of_one_seller_is_few_uses_of_a_photo(signals):
    """And others' uses are still found."""
    await signals.gather(market(8, item={"commodity_code": "640411"}))
    flood = [
        observed(1000 + n, seconds=60 + n, seller=FRAUDSTER, item={"commodity_code": "610910"})
        for n in range(NEWEST // SHARDS + 50)
    ]
    await gathered(signals, flood)
    (live,) = await signals.gather([observed(70, seconds=999, item={"commodity_code": "640411"})])
    use = live.items[0].photo
    assert use.other_heading == USES_OF_TRADER
    assert use.same_heading >= 4
    assert photo_reuse(use).log_ratio < 3


async def test_what_is_kept_of_one_declaration_is_bounded(signals, redis):
    """However many headings it declares a photo under."""
    one = of_many_items(observed(1), 32)
    codes = [f"{6101 + n}10" for n in range(32)]
    items = tuple(
        replace(item, commodity_code=code)
        for item, code in zip(one.declaration.goods_items, codes, strict=True)
    )
    attributes = tuple(
        replace(each, hs6=code) for each, code in zip(one.attributes, codes, strict=True)
    )
    declaration = replace(one.declaration, goods_items=items)
    await signals.gather([replace(one, declaration=declaration, attributes=attributes)])
    sizes = [await redis.zcard(key) async for key in redis.scan_iter("signals:*:photo:*")]
    assert max(sizes) == HEADINGS < NEWEST


async def test_lodging_in_the_name_of_another_makes_him_no_busy_trader(signals):
    """What one declarant lodges counts up to a bound; how many there are is still told."""
    victim = Party(identification="BE-victim")
    flood = [
        observed(n, seconds=n, value=1000, importer=victim, declarant=FRAUDSTER, photo=OTHER)
        for n in range(100)
    ]
    await signals.gather(flood)
    own = observed(500, seconds=500, value=90, importer=victim)
    (live,) = await signals.gather([own])
    assert (live.importer_day, live.importer_day_ignored) == (100, 100 - LODGED)
    assert splitting(own.declaration, live).log_ratio < 0


async def test_a_photo_of_one_seller_alone_gives_no_price_to_compare_with(signals):
    """Else who used it first, at whatever price, would set the price for all."""
    flood = [observed(n, seconds=n, value=9000, seller=FRAUDSTER) for n in range(60)]
    await signals.gather(flood)
    (live,) = await signals.gather([observed(70, seconds=70, photo=PICTURE)])
    assert live.items[0].photo.price is None


async def test_amendments_of_one_part_hide_no_others(signals):
    """However often it is amended, most parts of the consignment are still found."""
    buyer = Party(identification="BE-buyer")
    await signals.gather([observed(n, seconds=n, value=90, importer=buyer) for n in range(16)])
    for version in range(2, 140):
        await signals.gather(
            [observed(0, seconds=20 + version, value=90, importer=buyer, version=version)]
        )
    (live,) = await signals.gather([observed(99, seconds=999, value=90, importer=buyer)])
    assert live.small_count >= 8
