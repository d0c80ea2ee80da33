"""The thresholds in force: the same suite over the fake and the real service."""

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from models.selection.policy import Budget, Thresholds
from streams.local.process import LOOPBACK, free_port
from streams.selection.capacity import MONDAY, WEEK, Capacity, CapacityUse

BUDGET = Budget(yellow=0.08, red=0.02, random=0.01, offices={"DE001": Budget(0.2, 0.1)})
FALLBACK = Thresholds(0.5, 0.9)
START = MONDAY + 2900 * WEEK
KEY = b"secret of the test"


def capacity(redis, **settings):
    settings = {"budget": BUDGET, "fallback": FALLBACK, "pause_s": 60} | settings
    return Capacity(redis, **settings)


async def screen(workers, cases):
    """Decide cases of (declaration id, office, accepted, risk) in micro-batches, in turn."""
    decisions = []
    for number, start in enumerate(range(0, len(cases), 16)):
        worker, batch = workers[number % len(workers)], cases[start : start + 16]
        in_force = await worker.thresholds([(accepted, office) for _, office, accepted, _ in batch])
        uses = []
        for (name, office, accepted, risk), now in zip(batch, in_force, strict=True):
            decision = now.thresholds.decide(name, risk, key=KEY)
            decisions.append(decision)
            uses.append(CapacityUse(name, accepted, office, risk, decision.charged))
        await worker.record(uses)
    return decisions


def stream(count, *, office="NL000396", seed=0, apart=timedelta(minutes=5)):
    """Declarations one after another; the later half has higher risks."""
    risks = np.random.default_rng(seed).beta(1, 12, count)
    risks[count // 2 :] += 0.4
    return [
        (f"{office}-{number}", office, START + number * apart, float(risk))
        for number, risk in enumerate(risks)
    ]


def share(decisions):
    return np.mean([decision.lane != "green" for decision in decisions])


async def test_a_week_keeps_within_a_tenth_of_its_budget(redis):
    """By two workers, from thresholds far off, with a jump of all risks in the middle."""
    workers = [capacity(redis, fallback=Thresholds(0.0, 0.01)) for _ in range(2)]
    decisions = await screen(workers, stream(2016))
    assert share(decisions) == pytest.approx(BUDGET.share, rel=0.1)
    assert np.mean([decision.lane == "red" for decision in decisions]) == pytest.approx(
        0.02, abs=0.01
    )
    assert {decision.basis for decision in decisions} == {"risk", "random"}


async def test_an_office_of_its_own_budget_draws_on_no_other(redis):
    """Both keep theirs, although their risks differ."""
    own = stream(1008, office="DE001", seed=1, apart=timedelta(minutes=10))
    others = [
        (name, office, accepted, risk / 2)
        for name, office, accepted, risk in stream(1008, apart=timedelta(minutes=10))
    ]
    cases = sorted(own + others, key=lambda case: case[2])
    decisions = await screen([capacity(redis)], cases)
    by_office = {"DE001": [], "NL000396": []}
    for (_, office, _, _), decision in zip(cases, decisions, strict=True):
        by_office[office].append(decision)
    assert share(by_office["DE001"]) == pytest.approx(0.3, rel=0.1)
    assert share(by_office["NL000396"]) == pytest.approx(0.1, rel=0.1)


async def test_redelivery_finds_the_same_thresholds_and_changes_no_account(redis):
    """To another worker, in another order, after the week went on."""
    cases = stream(600)
    first = await screen([capacity(redis)], cases)
    accounts = await everything(redis)
    again = await screen([capacity(redis)], cases[::-1])
    assert again[::-1] == first
    assert await everything(redis) == accounts


async def everything(redis):
    """Return what is counted and sampled."""
    records = {}
    for key in sorted(await redis.keys("capacity:*")):
        kind = key.split(b":")[2]
        if kind in {b"arrived", b"selected", b"red"}:
            records[key] = await redis.pfcount(key)
        elif kind == b"thresholds":
            records[key] = await redis.get(key)
        else:
            records[key] = await redis.zrange(key, 0, -1, withscores=True)
    return records


async def test_workers_that_meet_a_window_at_once_agree(redis):
    """Whatever either of them computed, the one that was first holds."""
    await screen([capacity(redis)], stream(200))
    when = [(START + timedelta(hours=30, minutes=minute), "NL000396") for minute in range(3)]
    ahead, behind = capacity(redis), capacity(redis, fallback=Thresholds(0.1, 0.2), memory=10)
    one, other = await asyncio.gather(ahead.thresholds(when), behind.thresholds(when))
    assert one == other
    assert not one[0].degraded
    assert len({*one}) == 1


async def test_a_late_declaration_gets_its_own_windows_thresholds(redis):
    """Not those in force now."""
    worker, cases = capacity(redis), stream(600)
    early = (cases[30][2], "NL000396")
    (then,) = await worker.thresholds([early])
    await screen([worker], cases)
    now, late = await capacity(redis).thresholds([(cases[-1][2], "NL000396"), early])
    assert late == then
    assert now != then


async def test_thresholds_rest_on_earlier_windows_alone(redis):
    """Those of a window that is first met when later ones are over, too."""
    worker = capacity(redis)
    await screen([worker], stream(100))
    before = START - timedelta(hours=1)
    (late,) = await worker.thresholds([(before, "NL000396")])
    assert late.thresholds == Thresholds(0.5, 0.9, random=0.01)


async def test_a_new_week_starts_from_the_last_ones_risks_and_owes_nothing(redis):
    """Thresholds are there from its first declaration."""
    worker = capacity(redis)
    await screen([worker], stream(600))
    (monday,) = await worker.thresholds([(START + WEEK, "NL000396")])
    assert monday.thresholds.yellow > 0.4
    assert monday.thresholds.random == BUDGET.random


async def test_until_a_risk_was_seen_the_fallback_decides(redis):
    """With the random part; nothing is degraded by that."""
    (now,) = await capacity(redis).thresholds([(START, "NL000396")])
    assert now.thresholds == Thresholds(0.5, 0.9, random=0.01)
    assert not now.degraded


async def test_records_are_bounded_and_expire(redis):
    """Of 3,000 declarations in a window, 200 risks are kept: a fair sample, however they came."""
    worker = capacity(redis)
    cases = stream(3000, apart=timedelta(seconds=1))
    await screen([worker], cases[::-1])
    keys = await redis.keys("capacity:*")
    assert len(keys) == 3 + 1 + 2  # counts; list of windows; risks and thresholds of the one
    assert all([await redis.ttl(key) > 0 for key in keys])
    (sample,) = await redis.keys("capacity:*:risks:*")
    kept = [float(member.split()[1]) for member in await redis.zrange(sample, 0, -1)]
    assert len(kept) == 200
    assert np.mean(kept) == pytest.approx(np.mean([risk for *_, risk in cases]), abs=0.05)
    (counter,) = await redis.keys("capacity:*:arrived:*")
    assert await redis.pfcount(counter) == pytest.approx(3000, rel=0.03)


async def test_a_worker_remembers_a_bounded_number_of_windows(redis, monkeypatch):
    """The oldest are asked for again."""
    monkeypatch.setattr("streams.selection.capacity.REMEMBERED", 3)
    worker = capacity(redis)
    for hour in range(5):
        await worker.thresholds([(START + timedelta(hours=hour), "NL000396")])
    assert len(worker._remembered) == 3


async def test_without_redis_the_fallback_decides_at_once_and_says_so():
    """It is left alone for the pause."""
    client = Redis.from_url(f"redis://{LOOPBACK}:{free_port()}/0", socket_connect_timeout=0.2)
    worker = capacity(client)
    when = [(START, "NL000396"), (START, "DE001")]
    lost = await worker.thresholds(when)
    await client.aclose()
    assert [window.degraded for window in lost] == [True, True]
    assert lost[0].thresholds == Thresholds(0.5, 0.9, random=0.01)
    worker._redis = None  # were it asked again, this would raise
    assert await worker.thresholds(when) == lost
    await worker.record([CapacityUse("D1", START, "NL000396", 0.3, "green")])


async def test_windows_known_before_redis_was_lost_stay_in_force():
    """They were written down for all."""
    worker = capacity(FakeAsyncRedis())
    in_force = await worker.thresholds([(START, "NL000396")])
    worker._breaker.trip(OSError())
    assert await worker.thresholds([(START, "NL000396")]) == in_force


@pytest.mark.parametrize("window", [timedelta(0), timedelta(hours=5), timedelta(days=8)])
def test_windows_must_make_a_week(window):
    """Else a window would belong to two budgets."""
    with pytest.raises(ValueError, match="whole number"):
        capacity(None, window=window)


async def test_windows_may_be_seconds():
    """As in the demonstration, whose declarations come a second apart."""
    worker = capacity(FakeAsyncRedis(), window=timedelta(seconds=20))
    decisions = await screen([worker], stream(1200, apart=timedelta(seconds=1)))
    assert share(decisions) == pytest.approx(BUDGET.share, rel=0.1)
    assert START.tzinfo is UTC
    assert datetime.fromtimestamp(0, UTC) < MONDAY
