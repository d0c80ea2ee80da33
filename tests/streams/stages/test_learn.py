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
from streams.evidence.past_inspections import PastInspections
from streams.evidence.signals import Signals
from streams.stages.learn import Learn
from tests.fakes import inbound
from tests.streams.evidence.test_signals import KEYS, observed

OUTCOME = next(record for _, record in examples("inspection-outcome"))


@pytest.fixture
async def signals(redis):
    signals = Signals(redis, keys=KEYS, ttl=timedelta(days=30), pause_s=60)
    await signals.remember([observed(1), observed(2)])
    return signals


@pytest.fixture
def learn(redis):
    writers = {9: codec.schema("inspection-outcome")}
    now = observed(1).declaration.acceptance_time + timedelta(days=1)
    inspections = PastInspections(redis, keys=KEYS, now=now.timestamp)
    return Learn(writers=writers, inspections=inspections, attempts=2, delay_s=0.01)


def outcome(number, result, *, hours=1, id_="o1", key=None, **fields):
    observation = observed(number)
    findings = OUTCOME.findings[:1] if result == "irregular" else ()
    record = replace(
        OUTCOME,
        outcome_id=id_,
        declaration_id=f"D{number}",
        decided_at=observation.declaration.acceptance_time + timedelta(hours=hours),
        result=result,
        findings=tuple(replace(f, sequence_number=1) for f in findings),
        **fields,
    )
    return inbound(value=encode(record, 9), key=key or f"D{number}".encode())


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
    await signals.remember([observed(1, version=2, item={"commodity_code": "610910"})])
    await learn([outcome(1, "conforming", hours=3, id_="o2")])
    assert await rate(signals) is None


async def test_a_decision_dated_in_the_future_makes_no_other_old(learn, signals):
    """One wrong date would otherwise erase every hit rate."""
    await learn([outcome(1, "irregular"), outcome(2, "conforming", id_="o2", hours=24 * 365 * 50)])
    assert await rate(signals) == Rate(inspected=1, irregular=1)


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
    mget, failures = redis.mget, [2]

    async def failing(keys):
        if failures[0]:
            failures[0] -= 1
            raise Lost
        return await mget(keys)

    monkeypatch.setattr(redis, "mget", failing)
    with pytest.raises(Lost):
        await learn([outcome(1, "irregular")])
    failures[0] = 1
    assert await learn([outcome(1, "irregular")]) == [()]
    assert await rate(signals) == Rate(inspected=1, irregular=1)


async def test_a_bug_on_one_outcome_costs_that_one_alone(learn, signals, monkeypatch):
    """The others count, and nothing stops the worker."""
    record = learn._inspections.record

    async def failing(given):
        if given.outcome_id == "o2":
            raise TypeError(given)
        return await record(given)

    monkeypatch.setattr(learn._inspections, "record", failing)
    (letter,), nothing = await learn(
        [outcome(2, "conforming", id_="o2"), outcome(1, "irregular", id_="o1")]
    )
    assert dict(letter.headers)["__streams.errors.exception"] == b"builtins.TypeError"
    assert nothing == ()
    assert await rate(signals) == Rate(inspected=1, irregular=1)
