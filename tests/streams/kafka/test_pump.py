"""Micro-batches: every event done once, every key in order, and a fault stops the pump."""

import asyncio

import pytest

from schemas.topics import ASSESSMENTS, DEAD_LETTERS
from streams.kafka.acker import Acker
from streams.kafka.dead_letter import DeadLetterLimit, TooManyDeadLetters
from streams.kafka.events import Outbound
from streams.kafka.pump import Pumps
from tests.fakes import Published, inbound


def fate(event, topic=ASSESSMENTS):
    return (
        Outbound(
            topic=topic, key=event.key, value=b"", headers=(("n", str(event.offset).encode()),)
        ),
    )


def pumps(stage, publish, acker, *, in_a_row=5, batch_size=4, n=2):
    return Pumps(
        stage,
        publish,
        acker,
        DeadLetterLimit(in_a_row=in_a_row, share=0.5),
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
