"""Micro-batches: every event done once, every key in order, and a fault stops the pump."""

import asyncio

import pytest

from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS
from streams.kafka.acker import Acker
from streams.kafka.dead_letter import (
    DeadLetterLimit,
    ResultTooLarge,
    TooManyDeadLetters,
    dead_letter,
)
from streams.kafka.events import Outbound
from streams.kafka.pump import Pumps
from tests.fakes import Published, inbound


def fate(event, topic=ASSESSMENTS):
    headers = [("n", str(event.offset).encode())]
    if topic is DEAD_LETTERS:
        headers.append(("x_dlq.reason", Reason.SCREENING_FAILED.encode()))
    return (Outbound(topic=topic, key=event.key, value=b"", headers=tuple(headers)),)


def pumps(stage, publish, acker, *, in_a_row=5, batch_size=4, n=2):
    return Pumps(
        stage,
        publish,
        acker,
        DeadLetterLimit(in_a_row=in_a_row, share=0.5),
        name="test",
        pumps=n,
        batch_size=batch_size,
        batch_wait_s=0.005,
    )


async def pump(pumps, events, acknowledged):
    """Put the events, and pump until all are acknowledged or the pump stops."""
    all_done = asyncio.Event()

    def acknowledge(event):
        acknowledged.append(event.offset)
        if len(acknowledged) == len(events):
            all_done.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(pumps.run())
        for event in events:
            await pumps.put(event, lambda event=event: acknowledge(event))
        await all_done.wait()
        running.cancel()


async def test_every_event_is_published_then_acknowledged_in_order():
    """A slow and a fast key: acknowledgements come in the order of the offsets."""
    events = [inbound(value=b"x", offset=n, key=[b"a", b"b", b"c"][n % 3]) for n in range(30)]
    published, acknowledged = Published(), []

    async def stage(batch):
        await asyncio.sleep(0.01 if batch[0].key == b"a" else 0)
        return [fate(event) for event in batch]

    await pump(pumps(stage, published, Acker(lambda: 0.0)), events, acknowledged)
    assert acknowledged == list(range(30))
    for key in (b"a", b"b", b"c"):
        order = [int(event.headers[0][1]) for event in published if event.key == key]
        assert order == [event.offset for event in events if event.key == key]


async def test_nothing_is_acknowledged_that_was_not_delivered():
    """A broker that refuses the second micro-batch stops the pump; its events stay unacknowledged."""
    events = [inbound(value=b"x", offset=n) for n in range(8)]
    acknowledged, batches = [], []

    async def publish(outcomes):
        batches.append(len(outcomes))
        if len(batches) == 2:
            raise ConnectionError("no broker")
        return [True] * len(outcomes)

    async def stage(batch):
        return [fate(event) for event in batch]

    single = pumps(stage, publish, Acker(lambda: 0.0), n=1)
    with pytest.raises(ExceptionGroup) as caught:
        await pump(single, events, acknowledged)
    assert caught.group_contains(ConnectionError)
    assert acknowledged == list(range(batches[0]))


async def test_too_many_dead_letters_in_a_row_stop_the_worker():
    """The dead letters so far are published and acknowledged; then the pump stops."""
    events = [inbound(value=b"x", offset=n) for n in range(20)]
    published, acknowledged = Published(), []

    async def stage(batch):
        return [fate(event, DEAD_LETTERS) for event in batch]

    single = pumps(stage, published, Acker(lambda: 0.0), in_a_row=5, batch_size=1, n=1)
    with pytest.raises(ExceptionGroup) as caught:
        await pump(single, events, acknowledged)
    assert caught.group_contains(TooManyDeadLetters)
    assert acknowledged == list(range(6))


async def test_a_worker_that_stops_itself_finishes_what_is_published():
    """Of its micro-batch and of other pumps': after the restart these would get a second fate.

    What waits in the queues is left to the restart.
    """
    events = [inbound(value=b"x", offset=n, key=[b"a", b"d"][n % 2]) for n in range(9)]
    published, acknowledged, slow = Published(), [], asyncio.Event()

    async def stage(batch):
        if batch[0].key == b"a":
            await slow.wait()
            return [fate(event) for event in batch]
        asyncio.get_running_loop().call_later(0.05, slow.set)
        return [fate(event, DEAD_LETTERS) for event in batch]

    with pytest.raises(ExceptionGroup) as caught:
        await pump(pumps(stage, published, Acker(lambda: 0.0), in_a_row=0), events, acknowledged)
    assert caught.group_contains(TooManyDeadLetters)
    fates = [int(event.headers[0][1]) for event in published]
    assert sorted(fates) == acknowledged == list(range(8))


async def test_a_worker_that_stops_itself_does_what_it_overtook():
    """It waits in another pump's queue: without it nothing published behind it is acknowledged."""
    events = [
        inbound(value=b"x", offset=n, key=key) for n, key in enumerate([b"a", b"a", b"d", b"a"])
    ]
    published, acknowledged, slow = Published(), [], asyncio.Event()

    async def stage(batch):
        (event,) = batch
        if event.offset == 0:
            await slow.wait()
        if event.key == b"d":
            asyncio.get_running_loop().call_later(0.05, slow.set)
            return [fate(event, DEAD_LETTERS)]
        return [fate(event)]

    stopping = pumps(stage, published, Acker(lambda: 0.0), in_a_row=0, batch_size=1)
    with pytest.raises(ExceptionGroup) as caught:
        await pump(stopping, events, acknowledged)
    assert caught.group_contains(TooManyDeadLetters)
    fates = [int(event.headers[0][1]) for event in published]
    assert (sorted(fates), acknowledged) == ([0, 1, 2], [0, 1, 2])


async def test_a_bug_on_what_was_overtaken_is_one_of_the_faults():
    """`run` raises it with what stopped the worker, not alone."""
    events = [
        inbound(value=b"x", offset=n, key=key) for n, key in enumerate([b"a", b"a", b"d", b"a"])
    ]
    slow = asyncio.Event()

    async def stage(batch):
        (event,) = batch
        if event.offset == 0:
            await slow.wait()
        if event.offset == 1:
            raise ZeroDivisionError
        if event.key == b"d":
            asyncio.get_running_loop().call_later(0.05, slow.set)
            return [fate(event, DEAD_LETTERS)]
        return [fate(event)]

    stopping = pumps(stage, Published(), Acker(lambda: 0.0), in_a_row=0, batch_size=1)
    running = asyncio.create_task(stopping.run())
    for event in events:
        await stopping.put(event, lambda: None)
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(running, 10)
    assert {type(fault) for fault in caught.value.exceptions} == {
        TooManyDeadLetters,
        ZeroDivisionError,
    }


async def test_pumps_that_are_cancelled_finish_what_is_published():
    """Such as by a check that fails: an event is never published without being acknowledged."""
    published, acknowledged = Published(), []
    begun = asyncio.Event()

    async def stage(batch):
        begun.set()
        await asyncio.sleep(0.05)
        return [fate(event) for event in batch]

    running_pumps = pumps(stage, published, Acker(lambda: 0.0))
    running = asyncio.create_task(running_pumps.run())
    await running_pumps.put(inbound(value=b"x", offset=0), lambda: acknowledged.append(0))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (len(published), acknowledged) == (1, [0])


async def test_a_result_that_no_topic_takes_becomes_a_dead_letter():
    """None of what the event led to is published; its neighbours are not touched."""
    events = [inbound(value=b"x", offset=n, key=b"a") for n in range(3)]
    published, acknowledged = Published(), []

    async def stage(batch):
        size = (ALERTS.max_value_mb << 20) + 1  # readers would not decode it
        return [
            (
                *fate(event),
                Outbound(
                    topic=ALERTS, key=b"a", value=bytes(size * (event.offset == 1)), headers=()
                ),
            )
            for event in batch
        ]

    await pump(pumps(stage, published, Acker(lambda: 0.0)), events, acknowledged)
    assert [event.topic.name for event in published] == [
        "assessments", "alerts", "dead-letters", "assessments", "alerts",
    ]  # fmt: skip
    headers = dict(published[2].headers)
    assert headers["x_dlq.reason"] == b"result_too_large"
    assert headers["__streams.errors.offset"] == b"1"
    assert published[2].value == b"x"


@pytest.mark.parametrize(("max_bytes", "value"), [(50, b"x" * 50), (49, b"")])
async def test_what_the_broker_refuses_as_too_large_becomes_a_dead_letter(max_bytes, value):
    """Its topics may take less than ours: then the event itself, or only its size and hash."""
    events = [inbound(value=b"x" * 50, offset=0), inbound(value=b"y", offset=1)]
    published, acknowledged = Published(max_bytes), []

    async def stage(batch):
        return [
            (Outbound(topic=ASSESSMENTS, key=b"a", value=e.value * 2, headers=()),) for e in batch
        ]

    await pump(pumps(stage, published, Acker(lambda: 0.0)), events, acknowledged)
    assert [(event.topic.name, event.value) for event in published] == [
        ("assessments", b"yy"),
        ("dead-letters", value),
    ]
    assert acknowledged == [0, 1]


async def test_a_broker_that_takes_no_dead_letter_stops_the_worker():
    """It says what to mend; nothing is acknowledged."""
    acknowledged = []

    async def refuse(events):
        return [False] * len(events)

    async def stage(batch):
        return [fate(event) for event in batch]

    single = pumps(stage, refuse, Acker(lambda: 0.0), n=1)
    with pytest.raises(ExceptionGroup) as caught:
        await pump(single, [inbound(value=b"x", offset=0)], acknowledged)
    assert caught.group_contains(ResultTooLarge, match="max.message.bytes of dead-letters")
    assert acknowledged == []


@pytest.mark.parametrize(
    "reason", ["declaration_invalid", "value_empty", "value_too_large", "value_not_avro", "schema_unknown"]
)  # fmt: skip
async def test_bad_data_of_one_sender_stop_nobody(reason):
    """However many in a row: the limit is for faults of our own."""
    events = [inbound(value=b"x", offset=n) for n in range(250)]
    acknowledged = []
    error = Undecodable(Reason(reason), "")

    async def stage(batch):
        return [(dead_letter(event, error, stage="screen", bundle_id="b"),) for event in batch]

    single = pumps(stage, Published(), Acker(lambda: 0.0), in_a_row=5, n=1)
    await pump(single, events, acknowledged)
    assert acknowledged == list(range(250))


def test_too_large_a_share_of_dead_letters_stops_the_worker():
    """Every other event dead: never many in a row, yet no way to go on."""
    limit = DeadLetterLimit(in_a_row=5, share=0.4)
    for number in range(199):
        limit.count(dead=number % 2 == 1)
    with pytest.raises(TooManyDeadLetters, match="100 of the last 200"):
        limit.count(dead=True)


async def test_events_that_were_sent_again_do_not_stop_the_worker():
    """They are dead letters already: that they fail again says nothing new."""

    async def stage(batch):
        return [fate(event, DEAD_LETTERS) for event in batch]

    events = [inbound(value=b"x", offset=n, headers=(("x_dlq.replays", b"1"),)) for n in range(20)]
    acknowledged = []
    await pump(pumps(stage, Published(), Acker(lambda: 0.0), in_a_row=2), events, acknowledged)
    assert len(acknowledged) == 20
