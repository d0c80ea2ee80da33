"""What is observed of the stream, and that a redelivery sees what the first delivery saw."""

import io
import json
import random
from dataclasses import asdict, replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from PIL import Image, ImageDraw
from redis.asyncio import Redis

from models.encoding import image
from models.encoding.perceptual_hash import BLANK, perceptual_hash
from models.risk.attributes import Attributes
from models.risk.signals import PhotoUse, Rate
from schemas.examples import examples
from schemas.records import Party
from streams.evidence.observations import NEWEST, Observation
from streams.evidence.signals import Signals, read_signals
from streams.local.process import LOOPBACK, free_port
from streams.redis.keys import SignalKeys, inspection_keys

LOW = dict(examples("declaration"))["declaration/low-value"]
KEYS = SignalKeys(b"key")
PICTURE, NEAR, OTHER = 0x8F3A_55C0_1234_BEEF, 0x8F3A_55C0_1234_BEE8, 0x0123_4567_89AB_CDEF


@pytest.fixture
def signals(redis):
    return Signals(redis, keys=KEYS, ttl=timedelta(days=30), pause_s=60)


def observed(number, *, seconds=0, value=100.0, mass=2.0, photo=PICTURE, version=1, **fields):
    """A declaration of one goods item."""
    item = fields.pop("item", {})
    item = replace(
        LOW.goods_items[0],
        item_amount=Decimal(str(value)),
        net_mass=Decimal(str(mass)),
        item_currency="EUR",
        **item,
    )
    usual = {
        "importer": Party(identification=f"BE-importer-{number}"),
        "seller": Party(identification="CN-seller"),
    }
    declaration = replace(
        LOW,
        declaration_id=f"D{number}",
        version=version,
        acceptance_time=LOW.acceptance_time + timedelta(seconds=seconds),
        goods_items=(item,),
        **usual | fields,
    )
    return Observation(
        f"event-{number}-{version}",
        declaration,
        (Attributes.of(declaration, item),),
        ((photo,) if photo is not None else (),),
        (LOW.acceptance_time + timedelta(seconds=seconds)).timestamp(),
    )


def market(count, **fields):
    """Declarations of as many sellers."""
    return [
        observed(n, seconds=n, seller=Party(identification=f"seller-{n}"), **fields)
        for n in range(count)
    ]


def stream(count=60, seed=7):
    """Declarations of few traders, codes and photos, not all in the order of time."""
    dice = random.Random(seed)
    return [
        observed(
            number,
            seconds=dice.randrange(3600),
            value=dice.choice([20, 90, 140, 400]),
            photo=dice.choice([PICTURE, NEAR, OTHER, None]),
            importer=Party(identification=f"I{dice.randrange(4)}"),
            item={"commodity_code": dice.choice(["640411", "610910"])},
        )
        for number in range(count)
    ]


async def gathered(signals, observations, size):
    return [
        live
        for start in range(0, len(observations), size)
        for live in await signals.gather(observations[start : start + size])
    ]


@pytest.mark.parametrize("size", [1, 7, 60])
async def test_any_suffix_that_is_redelivered_gets_identical_signals(signals, size):
    """In whichever batches, and although later declarations were observed in between."""
    observations = stream()
    first = await gathered(signals, observations, 8)
    for start in (0, 23, 59):
        assert await gathered(signals, observations[start:], size) == first[start:]


async def test_a_record_gives_back_the_same_values(signals):
    """Exactly, floats too."""
    for live in await gathered(signals, stream(), 20):
        assert read_signals(json.dumps(asdict(live))) == live


@pytest.mark.parametrize("record", [b"not json", b"[]", b"null", b'{"items": [1]}', b'{"new": 1}'])
async def test_a_record_of_another_version_is_not_read(signals, redis, record):
    """A worker that is rolled out, or back, goes on: it gathers afresh."""
    observation = observed(1)
    (expected,) = await signals.gather([observation])
    await redis.set(KEYS.record(observation.event_id), record)
    assert await signals.gather([observation]) == [expected]


async def test_what_comes_late_sees_what_came_before_it_in_time(signals):
    """By the time of arrival, not of screening: what arrived later is not known to it."""
    buyer = Party(identification="BE-buyer")
    await signals.gather([observed(n, seconds=60 * n, importer=buyer) for n in (1, 2, 4, 5)])
    (late,) = await signals.gather([observed(3, seconds=180, importer=buyer)])
    assert (late.importer_day, late.small_count) == (2, 2)
    assert late.items[0].photo.same_heading == 2
    (last,) = await signals.gather([observed(6, seconds=360, importer=buyer)])
    assert (last.importer_day, last.small_count) == (5, 5)


@pytest.mark.parametrize("value", [-5, 0, 1e12])
async def test_absurd_amounts_are_no_small_consignments(signals, value):
    """Neither do they raise; a negative or missing amount has no price."""
    buyer = Party(identification="BE-buyer")
    odd = observed(1, value=value, importer=buyer)
    (item,) = odd.declaration.goods_items
    none = replace(odd.declaration, goods_items=(replace(item, item_amount=None),))
    await signals.gather([odd, replace(odd, event_id="none", declaration=none)])
    (signals_of_next,) = await signals.gather([observed(2, seconds=1, importer=buyer)])
    assert (signals_of_next.importer_day, signals_of_next.small_count) == (1, 0)


def picture(seed):
    """A photo of structure: shapes on a ground."""
    dice = np.random.default_rng(seed)
    shown = Image.new("RGB", (320, 320), tuple(dice.integers(0, 255, 3).tolist()))
    draw = ImageDraw.Draw(shown)
    for number in range(14):
        x, y, right, low = dice.integers(0, 320, 4).tolist()
        box = (min(x, right), min(y, low), max(x, right) + 1, max(y, low) + 1)
        shape = draw.ellipse if number % 2 else draw.rectangle
        shape(box, fill=tuple(dice.integers(0, 255, 3).tolist()))
    return shown


def hash_of(shown, quality):
    """The hash of a photo as it comes: encoded, then decoded."""
    encoded = io.BytesIO()
    shown.save(encoded, "JPEG", quality=quality)
    return perceptual_hash(image.decode(encoded.getvalue()))


@pytest.mark.parametrize("seed", range(5))
async def test_a_photo_that_was_scaled_and_encoded_again_is_the_same(signals, seed):
    """Pixels → hash → look-up; another photo is another."""
    await signals.gather([observed(1, photo=hash_of(picture(seed), 95))])
    again = hash_of(picture(seed).resize((200, 200)), 40)
    same, other = await signals.gather(
        [
            observed(2, seconds=1, photo=again),
            observed(3, seconds=2, photo=hash_of(picture(seed + 100), 95)),
        ]
    )
    assert same.items[0].photo.same_heading == 1
    assert other.items[0].photo.same_heading == 0


async def test_declarations_of_one_batch_see_each_other(signals):
    """Parts of one consignment often come together; none sees what came after it."""
    buyer = Party(identification="BE-buyer")
    parts = [observed(n, seconds=n, value=90, importer=buyer) for n in range(4)]
    gathered_signals = await signals.gather(parts)
    assert [live.small_count for live in gathered_signals] == [0, 1, 2, 3]
    assert [live.small_value for live in gathered_signals] == [0, 90, 180, 270]
    assert [live.importer_day for live in gathered_signals] == [0, 1, 2, 3]


async def test_windows_end(signals):
    """A day for the velocity, three for the parts of a consignment."""
    buyer = Party(identification="BE-buyer")
    await signals.gather([observed(1, importer=buyer)])
    (later,) = await signals.gather([observed(2, seconds=2 * 86_400, importer=buyer)])
    assert (later.importer_day, later.small_count) == (0, 1)
    (last,) = await signals.gather([observed(3, seconds=6 * 86_400, importer=buyer)])
    assert last.small_count == 0


async def test_an_amendment_takes_the_place_of_what_it_amends(signals):
    """The value of version 2 counts, above the limit not at all; and never both."""
    buyer = Party(identification="BE-buyer")
    await signals.gather([observed(1, value=90, importer=buyer)])
    await signals.gather([observed(1, seconds=1, value=120, version=2, importer=buyer)])
    (now,) = await signals.gather([observed(2, seconds=2, importer=buyer)])
    assert (now.small_count, now.small_value) == (1, 120)
    await signals.gather([observed(1, seconds=3, value=500, version=3, importer=buyer)])
    (now,) = await signals.gather([observed(3, seconds=4, value=500, importer=buyer)])
    assert (now.small_count, now.small_value) == (1, 100)


async def test_a_photo_is_found_again_under_another_heading(signals):
    """By its perceptual hash, also where a few bits differ; another picture is not."""
    await signals.gather(market(6, item={"commodity_code": "640411"}))
    (live,) = await signals.gather(
        [observed(9, seconds=9, photo=NEAR, item={"commodity_code": "610910"})]
    )
    use = live.items[0].photo
    assert (use.same_heading, use.other_heading, use.other_trader) == (0, 6, 6)
    assert use.example in {"D2", "D3", "D4", "D5"}
    again = observed(10, seconds=10, item={"commodity_code": "64041190"})
    (same,) = await signals.gather([again])
    use = same.items[0].photo
    assert (use.same_heading, use.other_heading, use.other_trader) == (6, 1, 6)
    assert use.price.count == 6
    (none,) = await signals.gather([observed(11, seconds=11, photo=OTHER)])
    assert none.items[0].photo.same_heading == none.items[0].photo.other_heading == 0


async def test_prices_of_a_code_and_origin_are_compared_once_there_are_eight(signals):
    """The median of the other declarations; a price that was not declared is no price."""
    await signals.gather(market(7, value=20, mass=2, photo=None))
    await signals.gather([observed(50, seconds=8, value=0, mass=2)])
    (few,) = await signals.gather([observed(51, seconds=9, value=20, mass=2)])
    assert few.items[0].price is None
    (enough,) = await signals.gather([observed(52, seconds=10, value=500, mass=1)])
    assert enough.items[0].price.count == 8
    assert enough.items[0].price.median == pytest.approx(2.302585)


async def test_past_inspections_are_counted_strictly_from_the_past(signals, redis):
    """What was decided when the declaration came, or later, is not known to it."""
    observation = observed(1)
    at = observation.at
    history = KEYS.histories(observation.attributes[0])["code"]
    inspected, irregular = inspection_keys(history)
    await redis.zadd(inspected, {"a": at - 10, "b": at - 5, "c": at, "d": at + 5, "e": at - 4e7})
    await redis.zadd(irregular, {"b": at - 5, "d": at + 5})
    (live,) = await signals.gather([observation])
    assert live.items[0].rates == {"code": Rate(inspected=2, irregular=1)}


async def test_a_store_that_is_gone_gives_nothing_at_once():
    """Degraded, never wrong, never blocking: and it is left alone for a while."""
    client = Redis.from_url(f"redis://{LOOPBACK}:{free_port()}/0", socket_connect_timeout=0.2)
    signals = Signals(client, keys=KEYS, ttl=timedelta(days=1), pause_s=60)
    assert await signals.gather(stream(3)) == [None] * 3
    await client.aclose()
    signals._redis = None  # were it asked again, this would raise
    assert await signals.gather(stream(3)) == [None] * 3
    await signals.remember((each, 0.6) for each in stream(3))


async def test_a_store_that_was_lost_begins_anew(signals, redis):
    """No error, and no signal that is not there."""
    await gathered(signals, stream(), 20)
    await redis.flushall()
    (live,) = await signals.gather(stream(1))
    assert live.small_count == live.importer_day == 0


async def test_what_is_kept_and_read_is_bounded(signals, redis):
    """A photo or a code of thousands costs no more than one of hundreds."""
    buyer = Party(identification="BE-buyer")
    observations = market(NEWEST + 300, photo=None)
    observations += [observed(n, seconds=n, importer=buyer) for n in range(2000, 3100)]
    await gathered(signals, observations, 200)
    sets = [key async for key in redis.scan_iter() if await redis.type(key) == b"zset"]
    assert max([await redis.zcard(key) for key in sets]) == NEWEST
    (live,) = await signals.gather([observed(9999, seconds=9999, photo=None)])
    assert 64 <= live.items[0].price.count <= 128


async def test_three_round_trips_whatever_the_size(redis, monkeypatch):
    """Cheap: pipelined per batch; a redelivery takes one."""
    trips = []
    pipeline = redis.pipeline

    def counted(**options):
        made = pipeline(**options)
        execute = made.execute

        async def trip(*args, **kwargs):
            trips.append(len(made))
            return await execute(*args, **kwargs)

        made.execute = trip
        return made

    monkeypatch.setattr(redis, "pipeline", counted)
    signals = Signals(redis, keys=KEYS, ttl=timedelta(days=1), pause_s=1)
    await signals.gather(stream(40))
    assert len(trips) == 3
    await signals.gather(stream(40))
    assert len(trips) == 4


async def test_traders_appear_as_keyed_hashes_alone(signals, redis):
    """Neither in a key nor in a value; a name with separators is a name."""
    odd = Party(identification="a|b:c|1|2", name="Ann Peeters")
    await signals.gather([observed(1, importer=odd, seller=odd), observed(2, importer=odd)])
    await signals.remember([(observed(1, importer=odd), 0.6)])
    kept = b""
    async for key in redis.scan_iter():
        kept += key
        if await redis.type(key) == b"zset":
            kept += b"".join(await redis.zrange(key, 0, -1))
        else:
            kept += await redis.get(key)
    assert b"a|b" not in kept
    assert b"Peeters" not in kept
    assert b"CN-seller" not in kept


async def test_nobody_is_no_trader(signals):
    """Declarations without an importer are not those of one importer."""
    nobody = [observed(n, seconds=n, importer=None, seller=None) for n in range(3)]
    gathered_signals = await signals.gather(nobody)
    assert [live.importer_day + live.small_count for live in gathered_signals] == [0, 0, 0]


def test_a_key_is_needed():
    with pytest.raises(ValueError, match="REDLANE_PSEUDONYM_KEY"):
        SignalKeys(b"")


@pytest.mark.parametrize("size", [1, 5])
async def test_versions_of_one_batch_are_one_declaration(signals, size):
    """Whichever declarations come together, each is left out of its own count, and no other."""
    buyer = Party(identification="BE-buyer")
    observations = [observed(n, seconds=n, importer=buyer) for n in range(3)]
    observations += [observed(9, seconds=10 * v, version=v, importer=buyer) for v in (1, 2)]
    days = [live.importer_day for live in await gathered(signals, observations, size)]
    assert days == [0, 1, 2, 3, 3]


@pytest.mark.parametrize("decoy", [0xFFFF_FFFF_FFFF_BEEF, 0x0000_0000_0000_BEEF])
async def test_another_photo_of_the_item_hides_no_use(signals, decoy):
    """Although both are found in one band."""
    shown = replace(observed(1, item={"commodity_code": "640411"}), photos=((decoy, PICTURE),))
    await signals.gather([shown])
    (live,) = await signals.gather([observed(2, seconds=1, item={"commodity_code": "610910"})])
    assert live.items[0].photo.other_heading == 1


async def test_a_trader_written_otherwise_is_the_same(signals):
    """Case and blanks make no other trader."""
    await signals.gather([observed(1, importer=Party(identification="BE0123"))])
    (live,) = await signals.gather([observed(2, seconds=1, importer=Party(identification="be 0123 "))])  # fmt: skip
    assert live.importer_day == live.small_count == 1


def test_a_picture_that_shows_nothing_has_no_hash():
    """Placeholders are alike without being one photo."""
    for level in (0, 128, 255):
        assert perceptual_hash(np.full((260, 260, 3), level, np.uint8)) == BLANK


async def test_without_a_code_there_are_no_peers_and_no_headings_to_compare(signals):
    """Neither now nor then: a photo of undeclared code is under no other heading."""
    none = {"commodity_code": ""}
    await signals.gather([observed(n, item=none) for n in range(12)])
    coded, uncoded = await signals.gather(
        [observed(20, seconds=1), observed(21, seconds=2, item=none)]
    )
    assert coded.items[0].price is None
    assert (coded.items[0].photo.same_heading, coded.items[0].photo.other_heading) == (0, 0)
    assert uncoded.items[0].price is None
    assert uncoded.items[0].photo == PhotoUse(0, 0, 0, None, "")
    assert uncoded.seller_day == 13


async def test_a_code_of_an_earlier_edition_has_the_peers_of_its_successor(signals):
    """6202.93 of HS 2017 is 6202.40 of HS 2022."""
    new, old = {"commodity_code": "620240"}, {"commodity_code": "62029300"}
    await signals.gather(market(12, item=new))
    (now,) = await signals.gather([observed(20, seconds=20, item=old)])
    assert (now.items[0].price.count, now.items[0].photo.same_heading) == (12, 12)
