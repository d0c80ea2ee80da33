"""When a declaration arrived decides, not when it says that it was accepted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fakeredis import FakeAsyncRedis

from models.risk.tariff import Tariff
from models.selection.policy import Budget
from models.selection.profiles import Matcher
from schemas.records import EPOCH, Condition, Party, RiskProfile
from streams.evidence.signals import read_signals
from streams.kafka.events import event_id
from streams.redis.keys import SignalKeys
from streams.reference.state import Snapshot
from tests.fakes import NOW, FakeScorer, inbound
from tests.streams.stages.test_screen import assessment, made, risky, store  # noqa: F401 - a fixture

BUDGET = Budget(yellow=0.15, red=0.05, random=0.02)
BUYER = Party(identification="BE-buyer")
DATES = {
    "in time": NOW,
    "the schema's default": EPOCH,
    "before there were any": datetime(1, 1, 1, tzinfo=UTC),
    "two days back": NOW - timedelta(days=2),
    "next week": NOW + timedelta(days=8),
    "2099": datetime(2099, 1, 1, tzinfo=UTC),
    "the last second": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
}


def dated(number, accepted, *, seconds=0, risk=0.1, **fields):
    """An event that arrived so many seconds after NOW."""
    declaration = replace(risky(risk, number), acceptance_time=accepted, importer=BUYER, version=1)
    return inbound(declaration, offset=number, timestamp=NOW.timestamp() + seconds, **fields)


async def recorded(redis, cause):
    """The signals that an event was first scored with."""
    key = SignalKeys(b"key").record(event_id(cause, "", "signals"))
    return read_signals(await redis.get(key))


@pytest.mark.parametrize("accepted", DATES.values(), ids=[*DATES])
async def test_no_date_hides_what_others_say(redis, store, accepted):  # noqa: F811 - a fixture
    """Of a back-dated part of a consignment, the others are found, and it by the next."""
    screen = made(store, FakeScorer(), redis=redis)
    await screen([dated(n, NOW, seconds=n) for n in range(5)])
    odd, after = dated(8, accepted, seconds=8), dated(9, NOW, seconds=9)
    await screen([odd])
    await screen([after])
    live = await recorded(redis, odd)
    assert (live.importer_day, live.small_count) == (5, 5)
    assert (await recorded(redis, after)).importer_day == 6


@pytest.mark.parametrize("accepted", DATES.values(), ids=[*DATES])
async def test_no_date_moves_a_threshold(store, accepted):  # noqa: F811 - a fixture
    """Ahead-dated ones would freeze the thresholds of weeks to come, before their risks are known."""
    verdicts = []
    for date in (NOW, accepted):
        redis = FakeAsyncRedis()
        screen = made(store, FakeScorer(), redis=redis, capacity=BUDGET)
        outcomes = []
        for n in range(60):
            when = date if n % 3 == 0 else NOW
            outcomes += await screen([dated(n, when, seconds=5 * n, risk=n % 10 / 10)])
        keys = sorted(await redis.keys("capacity:*"))
        verdicts.append(([assessment(outcome).lane for outcome in outcomes], keys))
    assert verdicts[0] == verdicts[1]
    assert len({*verdicts[0][0]}) == 3


@pytest.mark.parametrize("accepted", DATES.values(), ids=[*DATES])
async def test_no_date_escapes_a_profile(store, accepted):  # noqa: F811 - a fixture
    """A profile in force when the declaration arrives selects it."""
    profile = RiskProfile(
        profile_id="shoes",
        conditions=(Condition(field="commodity_code", operator="starts_with", values=("64",)),),
        lane="red",
        valid_from=NOW - timedelta(hours=1),
        valid_until=NOW + timedelta(hours=1),
        author="a",
        approver="b",
    )
    reference = Snapshot((profile,), Matcher((profile,)), Tariff(()))
    screen = made(store, FakeScorer(), reference=reference)
    (outcome,) = await screen([dated(1, accepted)])
    assert assessment(outcome).selection.profile_id == "shoes"


@pytest.mark.parametrize("stamp", [1.0, 86_400.0, NOW.timestamp() - 2 * 86_400, 4e9, 4e11])
async def test_a_time_that_the_sender_chose_for_the_event_does_not_count(store, stamp):  # noqa: F811 - a fixture
    """A topic may leave the time to its senders: then a declaration arrives as it is read."""
    redis = FakeAsyncRedis()
    screen = made(store, FakeScorer(), redis=redis, capacity=BUDGET)
    await screen([dated(n, NOW, seconds=-60) for n in range(5)])
    odd = replace(dated(8, NOW), timestamp=stamp, timestamp_by_broker=False)
    await screen([odd])
    live = await recorded(redis, odd)
    assert (live.arrived, live.importer_day) == (NOW.timestamp(), 5)


async def test_an_event_that_comes_again_later_arrived_when_it_first_came(redis, store):  # noqa: F811 - a fixture
    """Sent twice, or read again where our clock decides: equal bytes, and it counts once."""
    screen = made(store, FakeScorer(), redis=redis, capacity=BUDGET)
    first = dated(1, EPOCH, risk=0.6)
    for n in range(2, 40):
        await screen([dated(n, NOW, seconds=30 * n, risk=n / 40)])
    before = [event.value for event in (await screen([first]))[0]]
    sets = {key: await redis.zrange(key, 0, -1, withscores=True) async for key in redis.scan_iter("signals:*") if await redis.type(key) == b"zset"}  # fmt: skip
    for again in (
        replace(first, timestamp=first.timestamp + 7200),
        replace(first, timestamp=1.0, timestamp_by_broker=False),
    ):
        another = made(store, FakeScorer(), redis=redis, capacity=BUDGET)
        assert [event.value for event in (await another([again]))[0]] == before
    assert sets == {key: await redis.zrange(key, 0, -1, withscores=True) for key in sets}


def test_a_broker_whose_clock_is_far_ahead_is_not_believed():
    """Its windows would be those of weeks to come."""
    event = replace(dated(1, NOW), timestamp=NOW.timestamp() + 7200)
    assert event.arrived(NOW) == NOW.timestamp()
    assert replace(event, timestamp=NOW.timestamp() + 60).arrived(NOW) == NOW.timestamp() + 60
    assert replace(event, timestamp=-0.001).arrived(NOW) == NOW.timestamp()
