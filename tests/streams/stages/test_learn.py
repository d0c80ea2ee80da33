"""Inspection outcomes → past hit rates: once each, the last decision on a declaration."""

from dataclasses import replace
from datetime import timedelta

import pytest
from redis.exceptions import ConnectionError as Lost

from models.risk.signals import Rate
from schemas import codec
from schemas.codec import encode
from schemas.examples import examples
from schemas.reasons import Reason
from schemas.records import Party
from streams import metrics
from streams.evidence.past_inspections import LATEST_OF_TRADER, PastInspections
from streams.evidence.signals import Signals
from streams.redis.keys import contents_of
from streams.stages.learn import Learn
from tests.fakes import inbound
from tests.streams.evidence.test_signals import KEYS, observed

OUTCOME = next(record for _, record in examples("inspection-outcome"))
ACCEPTED = observed(1).declaration.acceptance_time
NOW = ACCEPTED + timedelta(days=10)


@pytest.fixture
async def signals(redis):
    signals = Signals(redis, keys=KEYS, ttl=timedelta(days=30), pause_s=60)
    await signals.remember([(observed(1), 0.6), (observed(2), 0.9)])
    return signals


@pytest.fixture
def learn(redis):
    writers = {9: codec.schema("inspection-outcome")}
    inspections = PastInspections(redis, keys=KEYS, now=NOW.timestamp)
    return Learn(
        writers=writers, inspections=inspections, now=lambda: NOW, attempts=2, delay_s=0.01
    )


def outcome(number, result, *, hours=1, id_="o1", key=None, arrived=1, **fields):
    """An outcome, of a decision so many hours after the acceptance, that arrived days after it."""
    findings = OUTCOME.findings[:1] if result == "irregular" else ()
    record = replace(
        OUTCOME,
        outcome_id=id_,
        declaration_id=f"D{number}",
        decided_at=ACCEPTED + timedelta(hours=hours),
        result=result,
        findings=tuple(replace(f, sequence_number=1) for f in findings),
        **fields,
    )
    return inbound(
        value=encode(record, 9),
        key=key or f"D{number}".encode(),
        timestamp=(ACCEPTED + timedelta(days=arrived)).timestamp(),
    )


async def rate(signals, days=2):
    (live,) = await signals.gather([observed(7 + days, seconds=86_400 * days)])
    return live.items[0].rates.get("code")


async def test_outcomes_become_the_hit_rates_of_later_declarations(learn, signals):
    """Each once, however often it is delivered."""
    batch = [outcome(1, "irregular"), outcome(2, "conforming", id_="o2")]
    assert await learn(batch + batch) == [(), (), (), ()]
    assert await rate(signals) == Rate(inspected=2, irregular=1)


async def test_the_last_decision_on_a_declaration_counts(learn, signals):
    """A correction takes the first decision's place; one that comes late does not."""
    await learn([outcome(1, "irregular")])
    await learn([outcome(1, "conforming", hours=3, id_="o2")])
    await learn([outcome(1, "irregular", hours=2, id_="o3")])
    assert await rate(signals) == Rate(inspected=1, irregular=0)


async def test_a_correction_after_an_amendment_counts_for_what_is_declared_now(learn, signals):
    """Else the code that was declared first would keep an irregularity that nobody found."""
    await learn([outcome(1, "irregular")])
    await signals.remember([(observed(1, version=2, item={"commodity_code": "610910"}), 0.6)])
    await learn([outcome(1, "conforming", hours=3, id_="o2")])
    assert await rate(signals) is None


async def test_a_decision_dated_in_the_future_makes_no_other_old(learn, signals):
    """One wrong date would otherwise erase every hit rate."""
    await learn([outcome(1, "irregular"), outcome(2, "conforming", id_="o2", hours=24 * 365 * 50)])
    assert await rate(signals) == Rate(inspected=2, irregular=1)


@pytest.mark.parametrize("hours", [-24 * 365 * 56, -24 * 7, 24 * 365 * 73])
async def test_a_decision_of_an_impossible_time_counts_from_when_it_arrived(learn, signals, hours):
    """Neither is it lost in the past, nor does it keep out the corrections that follow."""
    await learn([outcome(1, "irregular", hours=hours)])
    assert await rate(signals) == Rate(inspected=1, irregular=1)
    await learn([outcome(1, "conforming", hours=30, id_="o2", arrived=1.5)])
    assert await rate(signals, days=3) == Rate(inspected=1, irregular=0)
    await learn([outcome(1, "irregular", hours=hours, id_="o3", arrived=1.6)])
    assert await rate(signals, days=4) == Rate(inspected=1, irregular=1)


async def test_one_declaration_is_one_inspection_whatever_its_items(learn, signals):
    """999 equal items found irregular are not 999 findings on the code."""
    one = observed(3)
    items = tuple(
        replace(one.declaration.goods_items[0], sequence_number=n) for n in range(1, 1000)
    )
    many = replace(
        one,
        declaration=replace(one.declaration, goods_items=items),
        attributes=one.attributes * 999,
        photos=one.photos * 999,
    )
    await signals.remember([(many, 0.6)])
    await learn([outcome(3, "irregular"), outcome(1, "conforming", id_="o2")])
    assert await rate(signals) == Rate(inspected=2, irregular=1)


async def test_of_one_trader_only_the_latest_inspections_speak_for_others(learn, signals):
    """A hundred findings at one importer are his, not the code's; in his own history all count."""
    buyer = Party(identification="BE-buyer")
    await signals.remember([(observed(n, importer=buyer), 0.6) for n in range(100, 150)])
    await learn(
        [outcome(n, "irregular", id_=f"o{n}", arrived=1 + n / 1e4) for n in range(100, 150)]
    )
    await learn([outcome(1, "conforming"), outcome(2, "conforming", id_="o2")])
    (live,) = await signals.gather([observed(9, seconds=2 * 86_400, importer=buyer)])
    rates = live.items[0].rates
    assert rates["code"] == Rate(LATEST_OF_TRADER + 2, LATEST_OF_TRADER)
    assert rates["importer"] == Rate(50, 50)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"null", b"[]", b'{"1": ["code:x"]}', b"[NaN, 1]", "list", "zset"])  # fmt: skip
@pytest.mark.parametrize("key", [KEYS.inspected("D1"), KEYS.learned("D1"), KEYS.decided("D1")])
async def test_what_nobody_wrote_counts_as_absent(learn, signals, redis, key, content):
    """An outcome that finds it is learned, or passed over; the worker goes on, and tells."""
    await learn([outcome(1, "irregular")])
    await redis.delete(key)
    if content == "list":
        await redis.rpush(key, "x")
    elif content == "zset":
        await redis.zadd(key, {"x": 1})
    else:
        await redis.set(key, content)
    kind = contents_of(key)
    before = metrics.REDIS_REFUSED.labels(kind)._value.get()
    assert await learn([outcome(1, "conforming", hours=3, id_="o2")]) == [()]
    assert metrics.REDIS_REFUSED.labels(kind)._value.get() == before + 1
    irregular = 0 if key != KEYS.inspected("D1") else 1
    assert await rate(signals) == Rate(inspected=1, irregular=irregular)


@pytest.mark.parametrize("name", ["inspected", "irregular", "trader"])
async def test_a_history_of_another_type_begins_anew(learn, signals, redis, name):
    """It would fail for ever, and stop the worker at every restart."""
    await learn([outcome(1, "irregular"), outcome(2, "irregular", id_="o2")])
    async for key in redis.scan_iter(f"signals:*:{name}:*"):
        await redis.delete(key)
        await redis.set(key, b"garbage")
    assert await learn([outcome(1, "irregular", hours=3, id_="o3")]) == [()]
    expected = {"inspected": (1, 1), "irregular": (2, 1), "trader": (2, 2)}[name]
    assert await rate(signals) == Rate(*expected)


async def test_a_declaration_nobody_remembers_is_passed_over(learn, signals):
    assert await learn([outcome(5, "irregular")]) == [()]
    assert await rate(signals) is None


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (inbound(value=b"nonsense"), Reason.VALUE_NOT_AVRO),
        (outcome(1, "perhaps"), Reason.OUTCOME_INVALID),
        (outcome(1, "conforming", key=b"another"), Reason.OUTCOME_INVALID),
    ],
)
async def test_what_is_no_outcome_is_a_dead_letter(learn, event, reason):
    """Nothing is lost."""
    ((letter,),) = await learn([event])
    headers = dict(letter.headers)
    assert letter.value == event.value
    assert headers["x_dlq.stage"] == b"learn"
    assert reason.encode() in headers["__streams.errors.exception"] + headers.get("x_dlq.reason", b"") + headers["__streams.errors.message"]  # fmt: skip


async def test_a_failing_store_is_tried_again_then_stops_the_worker(
    learn, redis, signals, monkeypatch
):
    """An outcome is never passed over for a failing service."""
    pipeline, failures = redis.pipeline, [2]

    def failing(**options):
        if failures[0]:
            failures[0] -= 1
            raise Lost
        return pipeline(**options)

    monkeypatch.setattr(redis, "pipeline", failing)
    with pytest.raises(Lost):
        await learn([outcome(1, "irregular")])
    failures[0] = 1
    assert await learn([outcome(1, "irregular")]) == [()]
    assert await rate(signals) == Rate(inspected=1, irregular=1)


async def test_a_bug_on_one_outcome_costs_that_one_alone(learn, signals, monkeypatch):
    """The others count, and nothing stops the worker."""
    record = learn._inspections.record

    async def failing(given, arrived):
        if given.outcome_id == "o2":
            raise TypeError(given)
        return await record(given, arrived)

    monkeypatch.setattr(learn._inspections, "record", failing)
    (letter,), nothing = await learn(
        [outcome(2, "conforming", id_="o2"), outcome(1, "irregular", id_="o1")]
    )
    assert dict(letter.headers)["__streams.errors.exception"] == b"builtins.TypeError"
    assert nothing == ()
    assert await rate(signals) == Rate(inspected=1, irregular=1)
