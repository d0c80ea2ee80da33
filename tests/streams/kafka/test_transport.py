"""What is committed: all that is done, markers of transactions and aborted events included."""

import asyncio
import time
from collections import defaultdict
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition, conn
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest
from aiokafka.protocol.metadata import MetadataRequest
from faust.types import TP

from streams.kafka import transport
from streams.kafka.transport import Fetched, IdempotentProducer, PromptConsumer
from streams.kafka.worker import attempt_s
from streams.local.process import LOOPBACK

PLACE = TP("declarations", 0)


@pytest.fixture
def consumer():
    """A consumer without Faust's services."""
    consumer = PromptConsumer.__new__(PromptConsumer)
    consumer._acked, consumer._acked_index = defaultdict(list), defaultdict(set)
    consumer._fetched, consumer._acked_to = {}, {}
    return consumer


def acknowledge(consumer, *offsets):
    consumer._acked[PLACE] += offsets
    consumer._acked_index[PLACE].update(offsets)


@pytest.mark.parametrize(
    ("last", "position", "acked", "offset"),
    [
        (4, 5, [0, 1, 2], 3),
        (4, 5, [3, 4], 5),
        (4, 5, [0, 4], 5),  # the acker releases in order: 1 to 3 were aborted
        (0, 3, [0], 3),  # what follows offset 0 is seen by nobody
        (4, 9, [4], 9),
        (4, 9, [3], 4),  # 4 is under way
        (4, 9, [], None),
        (None, 7, [], 7),
        (None, 0, [], None),
    ],
)
def test_it_commits_the_first_offset_that_is_not_done(consumer, last, position, acked, offset):
    """Gaps need no acknowledgement; behind the last event the position counts."""
    consumer.note_fetched({PLACE: Fetched(last, position)})
    acknowledge(consumer, *acked)
    assert consumer._new_offset(PLACE) == offset
    assert consumer._acked[PLACE] == []


def test_a_fetch_without_events_keeps_the_last_one(consumer):
    """It is still under way, whatever markers follow."""
    consumer.note_fetched({PLACE: Fetched(4, 5)})
    consumer.note_fetched({PLACE: Fetched(None, 8)})
    acknowledge(consumer, 3)
    assert consumer._new_offset(PLACE) == 4
    acknowledge(consumer, 4)
    assert consumer._new_offset(PLACE) == 8


def test_a_partition_without_acknowledgements_is_looked_at_too(consumer):
    """After a restart there may be nothing but markers."""
    other = TP("other", 1)
    consumer.note_fetched({PLACE: Fetched(None, 5)})
    acknowledge(consumer, 1)
    consumer._acked[other] = [1]
    assert set(consumer._filter_tps_with_pending_acks()) == {PLACE, other}
    assert set(consumer._filter_tps_with_pending_acks({"other"})) == {other}
    assert set(consumer._filter_tps_with_pending_acks({PLACE})) == {PLACE}


def test_a_partition_that_is_assigned_again_begins_anew(consumer):
    """What another worker did meanwhile is not known here."""
    consumer.note_fetched({PLACE: Fetched(None, 9)})
    acknowledge(consumer, 8)
    assert consumer._new_offset(PLACE) == 9
    consumer._forget({PLACE})
    assert consumer._new_offset(PLACE) is None


@pytest.mark.parametrize(
    ("answer", "number"),
    [(MessageSizeTooLargeError(), 6), (KafkaConnectionError(), 7), (None, 7)],
)
async def test_a_refused_event_gives_its_sequence_number_to_the_next(answer, number):
    """Else the broker refuses all that follows as out of order."""
    place = TopicPartition("assessments", 1)
    producer = IdempotentProducer.__new__(IdempotentProducer)
    transactions = SimpleNamespace(_sequence_numbers={place: 7})
    producer._producer = SimpleNamespace(_txn_manager=transactions)
    delivery = asyncio.get_running_loop().create_future()
    delivery.set_result(None) if answer is None else delivery.set_exception(answer)
    producer._close_gap(place, delivery)
    assert transactions._sequence_numbers == {place: number}


async def test_a_producer_does_not_wait_for_a_broker_that_is_away(monkeypatch):
    """Neither before a commit nor at the end."""
    monkeypatch.setattr(transport, "CLOSE_S", 0.05)
    producer = IdempotentProducer.__new__(IdempotentProducer)
    producer._producer = SimpleNamespace(flush=asyncio.Event().wait, stop=asyncio.Event().wait)
    producer.transport = SimpleNamespace(_topic_waiters={})
    async with asyncio.timeout(5):
        await producer.flush()
        await producer.on_stop()


@pytest.fixture
async def hanging():
    """Port of a broker that takes connections and never answers."""
    async with await asyncio.start_server(lambda *_: None, LOOPBACK, 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_broker_that_hangs_is_given_up(hanging, monkeypatch):
    """Long before the time that a rebalance may take; a start asks the next one."""
    monkeypatch.setattr(transport, "ANSWER_S", 0.05)
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await conn.create_conn(LOOPBACK, hanging, request_timeout_ms=60_000)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("request_", "waits"),
    [
        (MetadataRequest([]), False),
        (JoinGroupRequest("g", 9, 9, "", "", "consumer", []), True),
        (SyncGroupRequest("g", 1, "m", "", []), True),
    ],
)
async def test_only_a_rebalance_may_take_long(monkeypatch, request_, waits):
    """Its answer comes once the other members have joined."""
    monkeypatch.setattr(transport, "ANSWER_S", 0.05)
    answer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.2, lambda: answer.done() or answer.set_result("answer"))
    monkeypatch.setattr(conn.AIOKafkaConnection.__base__, "send", lambda *_: answer)
    sent = transport.PromptConnection.__new__(transport.PromptConnection).send(request_)
    if waits:
        assert await sent == "answer"
    else:
        with pytest.raises(TimeoutError):
            await sent


@pytest.mark.parametrize(("delivery_s", "attempt"), [(3, 3), (6, 5), (60, 15)])
def test_several_attempts_fit_into_the_time_for_a_delivery(delivery_s, attempt):
    """Unless that is very short."""
    assert attempt_s(delivery_s) == attempt
