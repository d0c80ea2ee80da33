"""customs-messages → declarations: one fate each, whatever order, whatever comes twice."""

import json
from datetime import timedelta

import obstore
import pytest
from obstore.store import MemoryStore

from schemas import codec
from schemas.records import Declaration
from schemas.topics import DEAD_LETTERS, DECLARATIONS
from streams.intake.store import S3Ledgers, StoreFailed, _key
from streams.kafka.events import FATE, Inbound
from streams.settings import Settings
from streams.stages.intake import SWEEP_EVERY, Intake
from tests.fakes import NOW
from tests.streams.intake.messages import item, message
from tests.streams.intake.test_ledger import CANCELLATION, ORIGINAL, amendment

WRITERS = {7: codec.schema(Declaration.SCHEMA)}


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledgers():
    store = S3Ledgers(Settings())
    store._store = MemoryStore()
    return store


@pytest.fixture
def intake(ledgers, clock):
    return Intake(
        schema_id=7, ledgers=ledgers, now=clock, wait=timedelta(hours=1), attempts=2, delay_s=0
    )


def event(offset, value, *, key=b"LRN1", at=NOW):
    return Inbound(
        topic="customs-messages",
        partition=0,
        offset=offset,
        key=key,
        value=value,
        timestamp=at.timestamp(),
        timestamp_by_broker=True,
        headers=(("traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"),),
    )


def told(outbound):
    """Return version of a declaration, or reason of a dead letter."""
    if outbound.topic is DEAD_LETTERS:
        return dict(outbound.headers)["x_dlq.reason"].decode()
    assert outbound.topic is DECLARATIONS
    declaration = codec.decode(outbound.value, Declaration, WRITERS)
    assert outbound.key == declaration.declaration_id.encode()
    return declaration.version


async def test_a_batch_in_its_order(intake):
    """Those of one declaration one after the other, whoever stands between them."""
    other = message(item(), lrn="LRN2")
    batch = [
        event(0, ORIGINAL),
        event(1, other, key=b"LRN2"),
        event(2, amendment()),
        event(3, b"<a>"),
        event(4, ORIGINAL, key=b"other"),
        event(5, CANCELLATION),
        event(6, None),
    ]
    results = await intake(batch)
    assert [[told(one) for one in fates] for fates in results] == [
        [1],
        [1],
        [2],
        ["message_not_xml"],
        ["message_invalid"],
        [3],
        ["value_empty"],
    ]
    again = await intake(batch)
    assert [[one.value for one in fates] for fates in again] == [
        [one.value for one in fates] for fates in results
    ]
    ids = [dict(one.headers).get("ce_id") for fates in results for one in fates]
    assert [dict(one.headers).get("ce_id") for fates in again for one in fates] == ids


async def test_every_answer_names_the_message_that_it_answers(intake):
    """Also where it waited: trace and fate are its own."""
    waited = event(0, amendment())
    assert await intake([waited]) == [()]
    ((first, second),) = await intake([event(1, ORIGINAL)])
    assert (told(first), told(second)) == (1, 2)
    assert dict(first.headers)[FATE] != dict(second.headers)[FATE]
    assert dict(second.headers)["traceparent"].startswith(b"00-111")


async def test_an_amendment_whose_original_never_comes(intake, clock):
    """A dead letter with the message, after the wait; again under the same id until it is certain."""
    assert await intake([event(0, amendment())]) == [()]
    clock.now += timedelta(hours=1, seconds=1)
    ((own, letter),) = await intake([event(1, message(item(), lrn="LRN3"), key=b"LRN3")])
    assert (told(own), told(letter)) == (1, "amendment_unmatched")
    assert (letter.key, letter.value) == (b"LRN1", amendment())
    clock.now += SWEEP_EVERY
    ((own,),) = await intake([event(1, message(item(), lrn="LRN3"), key=b"LRN3")])
    assert told(own) == 1


async def test_a_worker_that_was_killed_before_it_published(intake, ledgers, clock):
    """The next one publishes what expired, under the same id; an original does not revive it."""
    await intake([event(0, amendment())])
    clock.now += timedelta(hours=2)
    ((_, letter),) = await intake([event(1, message(item(), lrn="LRN3"), key=b"LRN3")])
    successor = Intake(schema_id=7, ledgers=ledgers, now=clock, wait=timedelta(hours=1))
    ((own, again),) = await successor([event(2, ORIGINAL)])
    assert told(own) == 1
    assert dict(again.headers)["x_dlq.id"] == dict(letter.headers)["x_dlq.id"]


async def test_a_storage_that_fails_stops_the_worker(intake, ledgers, monkeypatch):
    """After some attempts; the messages are not lost in dead letters."""
    calls = []

    async def failing(reference):
        calls.append(reference)
        raise StoreFailed("no answer")

    monkeypatch.setattr(ledgers, "load", failing)
    with pytest.raises(StoreFailed):
        await intake([event(0, ORIGINAL)])
    assert calls == ["LRN1", "LRN1"]


async def test_a_storage_that_fails_once_stops_nothing(intake, ledgers, monkeypatch):
    """While it is asked for what waits too long, too."""
    marks = ledgers.marks

    async def failing(_before):
        monkeypatch.setattr(ledgers, "marks", marks)
        raise StoreFailed("no answer")
        yield

    monkeypatch.setattr(ledgers, "marks", failing)
    ((own,),) = await intake([event(0, ORIGINAL)])
    assert told(own) == 1


async def test_another_worker_that_is_faster(intake, ledgers, monkeypatch):
    """It reads again, and makes the next version."""
    load = ledgers.load
    rival = Intake(schema_id=7, ledgers=S3Ledgers(Settings()), now=Clock(), wait=timedelta(hours=1))
    rival._ledgers._store = ledgers._store

    async def slow(reference):
        kept = await load(reference)
        monkeypatch.setattr(ledgers, "load", load)
        await rival([event(0, ORIGINAL)])
        return kept

    monkeypatch.setattr(ledgers, "load", slow)
    ((second,),) = await intake([event(1, ORIGINAL)])
    assert told(second) == 2


async def test_a_ledger_that_cannot_be_read_costs_its_declaration_alone(intake, ledgers):
    """A dead letter that can be sent again, once somebody looked."""
    await obstore.put_async(ledgers._store, _key("LRN1"), b"{}")
    other = message(item(), lrn="LRN2")
    results = await intake([event(0, ORIGINAL), event(1, other, key=b"LRN2")])
    assert [told(one) for (one,) in results] == ["screening_failed", 1]
    assert dict(results[0][0].headers)["x_dlq.retryable"] == b"true"


def cloud_event(id_="1", **fields):
    """A declaration in JSON, as a CloudEvent in structured mode."""
    data = {"declaration_id": "D1", "goods_items": [{"sequence_number": 1}]} | fields
    envelope = {"specversion": "1.0", "id": id_, "source": "/customs", "type": "t", "data": data}
    return json.dumps(envelope).encode()


async def test_json_is_published_as_its_sender_says(intake, ledgers):
    """Any version in any order, and nothing is kept of it; a key of another declaration is refused."""
    batch = [
        event(0, cloud_event(version=3), key=b"D1"),
        event(1, cloud_event(), key=b"D1"),
        event(2, ORIGINAL),
        event(3, b'{"declaration_id": "D2", "goods_items": [{"sequence_number": 1}]}', key=b"D2"),
        event(4, cloud_event(version="J. Doe"), key=b"D1"),
        event(5, cloud_event(), key=b"D2"),
        event(6, b"{", key=None),
    ]
    results = [told(one) for (one,) in await intake(batch)]
    assert results == [
        3,
        1,
        1,
        1,
        "message_invalid",
        "declaration_invalid",
        "message_not_json",
    ]
    kept = [page async for page in obstore.list(ledgers._store)]
    assert sum(map(len, kept)) == 1  # of the original in XML


async def test_json_that_comes_twice_is_one_event(intake):
    """By source and id of its envelope, wherever it lies; so is its dead letter."""
    good, bad = cloud_event(), cloud_event(version=0)
    ((first,), (dead,)) = await intake([event(0, good, key=b"D1"), event(1, bad, key=b"D1")])
    ((again,), (letter,)) = await intake([event(7, good, key=b"D1"), event(8, bad, key=b"D1")])
    assert (first.value, dict(first.headers)["ce_id"]) == (
        again.value,
        dict(again.headers)["ce_id"],
    )
    assert dict(first.headers)[FATE] == dict(again.headers)[FATE]
    assert dict(dead.headers)["x_dlq.id"] == dict(letter.headers)["x_dlq.id"]
    assert letter.value == bad
    ((other,),) = await intake([event(9, cloud_event("2"), key=b"D1")])
    assert dict(other.headers)["ce_id"] != dict(first.headers)["ce_id"]
