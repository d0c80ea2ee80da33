"""Contents of Redis that nobody should have written: absent, told once, and gone."""

import json
from datetime import timedelta

import pytest
from fakeredis import FakeAsyncRedis
from redis.exceptions import ResponseError

from models.selection.policy import Budget
from schemas.reasons import Reason
from streams import metrics
from streams.evidence.embedding_cache import EmbeddingCache
from streams.evidence.members import PriceMember
from streams.evidence.past_inspections import read_remembered
from streams.evidence.signals import read_signals
from streams.redis.contents import keep_first, replies
from streams.redis.keys import embedding_key
from streams.selection.capacity import read_risk, read_thresholds
from tests.fakes import FakeScorer
from tests.streams.stages.test_screen import assessment, day, made, store  # noqa: F401 - a fixture

BUDGET = Budget(yellow=0.15, red=0.05, random=0.02)
GARBAGE = {
    "garbage bytes": b"\xff\x00\xfe|\x80",
    "nothing": b"",
    "text": b"hello world",
    "null": b"null",
    "one field more": b'{"yellow": 0.5, "red": 0.9, "purple": 1, "items": []}',
    "another's thresholds": b'{"yellow": NaN, "red": 0.9}',
    "thresholds that pass everybody": b'{"yellow": 5.0, "red": 6.0}',
    "numbers that are none": b'{"items": [], "small_value": NaN, "arrived": 1e999}',
    "a deep nest": b"[" * 5000,
    "many digits": b"9" * 5000,
}


def refused():
    """How often contents were refused, by what they should have been."""
    (metric,) = metrics.REDIS_REFUSED.collect()
    return {s.labels["contents"]: s.value for s in metric.samples if s.name.endswith("_total")}


async def spoil(redis, content):
    """Write it under every key: as a string, as a member, or as what cannot be either."""
    async for key in redis.scan_iter():
        kind = await redis.type(key)
        if content == "another type":
            await redis.delete(key)
            if kind == b"string":
                await redis.rpush(key, "x")
            else:
                await redis.set(key, "x")
        elif kind == b"zset":
            newest = (await redis.zrange(key, -1, -1, withscores=True))[0][1]
            await redis.zadd(key, {content: newest})
        else:
            await redis.set(key, content)


@pytest.mark.parametrize("content", [*GARBAGE.values(), "another type"], ids=[*GARBAGE, "type"])
async def test_whatever_lies_in_redis_every_declaration_gets_its_verdict(redis, store, content):  # noqa: F811 - a fixture
    """It counts as absent, is told, and is not found again: nothing is degraded for long."""
    events = list(day(30))
    await made(store, FakeScorer(), redis=redis, capacity=BUDGET)(events)
    await spoil(redis, content)
    before = refused()
    stage = made(store, FakeScorer(), redis=redis, capacity=BUDGET)
    outcomes = await stage(events)
    assert {outcome[0].topic.name for outcome in outcomes} == {"assessments"}
    codes = {missing.code for outcome in outcomes for missing in assessment(outcome).degraded}
    assert not codes & {Reason.SIGNALS_UNAVAILABLE, Reason.CAPACITY_UNKNOWN}
    after = refused()
    more = {name for name, count in after.items() if count > before.get(name, 0)}
    assert more >= {"signals record", "capacity thresholds", "embedding"}
    another = made(store, FakeScorer(), redis=redis, capacity=BUDGET)
    again = [[event.value for event in outcome] for outcome in await another(events)]
    assert again == [[event.value for event in outcome] for outcome in outcomes]
    assert refused() == after


async def test_sets_of_another_type_begin_anew(redis):
    """All commands of the pipeline are sent again, once the key is free."""
    await redis.set("capacity:2:arrived::7", "no HyperLogLog")
    await redis.rpush("signals:2:price:x:0", "no sorted set")
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.zadd("signals:2:price:x:0", {"member": 1})
        pipeline.pfadd("capacity:2:arrived::7", "D1")
        pipeline.pfcount("capacity:2:arrived::7")
        pipeline.zcard("signals:2:price:x:0")
        assert (await replies(redis, pipeline))[2:] == [1, 1]
    assert await redis.zrange("signals:2:price:x:0", 0, -1) == [b"member"]


async def test_another_error_of_the_store_is_not_taken_for_contents(redis):
    """It is the store that fails: nothing is deleted."""
    await redis.set("key", "x")
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.get("key")
        pipeline.execute_command("EXPIRE", "key", "soon")
        with pytest.raises(ResponseError):
            await replies(redis, pipeline)
    assert await redis.get("key") == b"x"


async def test_the_first_that_can_be_read_is_kept(redis):
    """What cannot is replaced."""

    def read(value):
        return int(value)

    assert await keep_first(redis, "a:2:b", 1, "1", read, seconds=9) == 1
    assert await keep_first(redis, "a:2:b", 2, "2", read, seconds=9) == 1
    await redis.set("a:2:b", "x")
    assert await keep_first(redis, "a:2:b", 3, "3", read, seconds=9) == 3
    assert await redis.get("a:2:b") == b"3"


@pytest.mark.parametrize("value", [b"", b"short", bytes(28), "moved", "changed"])
async def test_an_embedding_that_was_not_put_there_is_a_miss(value):
    """Of the right length, too: garbage would be a wrong verdict."""
    redis = FakeAsyncRedis()
    cache = EmbeddingCache(redis, ttl=timedelta(minutes=1), pause_s=1)
    key, other, vector = embedding_key("t", "a"), embedding_key("t", "b"), bytes(range(12))
    await cache.put({key: vector, other: vector[::-1]})
    sealed = await redis.get(other)
    await redis.set(key, sealed if value == "moved" else value)
    if value == "changed":
        await redis.set(key, sealed[:-1] + b"\x7f")
    before = refused().get("embedding", 0)
    assert await cache.get([key, other], len(vector)) == {other: vector[::-1]}
    assert refused()["embedding"] == before + 1


@pytest.mark.parametrize("content", GARBAGE.values(), ids=[*GARBAGE])
def test_no_garbage_is_read_as_thresholds_or_risks(content):
    """Neither stops the worker, which takes a ValueError for what cannot be read."""
    for read in (read_thresholds, read_risk):
        with pytest.raises(ValueError):  # noqa: PT011 - of whatever could not be read
            read(content)


@pytest.mark.parametrize("member", [b"0" * 12 + b" nan", b"0" * 12 + b" 1e999", b"0" * 12 + b" -0.1", b"0" * 12 + b" 1.1", b"x 0.5"])  # fmt: skip
def test_a_sampled_risk_is_a_share(member):
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever could not be read
        read_risk(member)
    assert read_risk(b"0123456789ab 1e-05") == 1e-5


PEERS = {"count": 9, "median": 1.0, "spread": 0.5}
SIGNALS = {
    "items": [{"price": PEERS, "photo": None, "rates": {"all": {"inspected": 9, "irregular": 1}}}],
    "importer_day": 1, "seller_day": 1, "small_count": 0, "small_value": 0.0,
    "importer_day_ignored": 0, "arrived": 1.7e9,
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"arrived": 1e308},
        {"small_value": 1e308},
        {"importer_day": 10**400},
        {"seller_day": 2**31},
        *({"items": [{"price": PEERS | peers}]} for peers in ({"median": 1e308}, {"median": -750.0}, {"spread": 1e308}, {"spread": 5e-324}, {"count": 10**30})),
        {"items": [{"rates": {"all": {"inspected": 10**400, "irregular": 1}}}]},
    ],
    ids=str,
)  # fmt: skip
def test_figures_that_cannot_be_are_no_signals(changes):
    """Arithmetic, or the event that repeats them, would fail on them: for every redelivery."""
    read_signals(json.dumps(SIGNALS))
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever could not be read
        read_signals(json.dumps(SIGNALS | changes))


@pytest.mark.parametrize(
    "changes", [{"arrived": 1e308}, {"histories": {"9" * 5000: []}}], ids=["arrived", "number"]
)
def test_figures_that_cannot_be_are_no_memory_of_a_declaration(changes):
    kept = {"arrived": 1.7e9, "trader": "a" * 24, "histories": {"1": ["code:" + "b" * 24]}}
    read_remembered(json.dumps(kept).encode())
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever could not be read
        read_remembered(json.dumps(kept | changes).encode())


@pytest.mark.parametrize("price", ["1e+308", "-1e+308", "100.5"])
def test_a_price_that_cannot_be_is_no_member(price):
    hashes = "|".join(("a" * 24, "1", "b" * 24, "c" * 24))
    assert PriceMember.decode(f"{hashes}|2.5".encode()).log_price == 2.5
    with pytest.raises(ValueError, match="out of bounds"):
        PriceMember.decode(f"{hashes}|{price}".encode())
