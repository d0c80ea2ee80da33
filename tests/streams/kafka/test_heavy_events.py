"""Heavy events are worked beside light ones: neither holds up the other, nor breaks an order."""

import asyncio
import random

import pytest

from streams.kafka.acker import Acker
from streams.kafka.dead_letter import DeadLetterLimit
from streams.kafka.health import Health, Stalled
from streams.kafka.heartbeat import beat
from streams.kafka.pump import HEAVY, HEAVY_WAITING, Pumps
from tests.fakes import Published, inbound
from tests.streams.kafka.test_pump import fate

SLICE_S = 0.001


class Slicing:
    """A stage that works events in slices, as many as the weight that their value names."""

    def __init__(self):
        self.begun = []
        self.at_work = 0
        self.most_at_work = 0

    async def __call__(self, batch):
        self.begun.append([event.offset for event in batch])
        for event in batch:
            heavy = weigh(event) > HEAVY[-1]
            self.at_work += heavy
            self.most_at_work = max(self.most_at_work, self.at_work)
            for _ in range(weigh(event)):
                await asyncio.sleep(SLICE_S)
                beat()
            self.at_work -= heavy
        return [fate(event) for event in batch]


def weigh(event):
    return int(event.value)


def made(stage, acker, *, published=None, n=2):
    return Pumps(
        stage,
        Published() if published is None else published,
        acker,
        DeadLetterLimit(in_a_row=5, share=0.5),
        name="screen",
        pumps=n,
        batch_size=4,
        batch_wait_s=0.001,
        weigh=weigh,
    )


def event(offset, weight, key=None):
    return inbound(value=str(weight).encode(), offset=offset, key=key or f"k{offset}".encode())


class Pumping:
    """Pumps that run, what they published, and what was acknowledged."""

    def __init__(self, stage, clock=lambda: 0.0):
        self.published = Published()
        self.acknowledged = []
        self.acker = Acker(clock)
        self.pumps = made(stage, self.acker, published=self.published)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.pumps.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def put(self, *events):
        for each in events:
            await self.pumps.put(each, lambda each=each: self.acknowledged.append(each.offset))

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what it asks for sets no event
                await asyncio.sleep(SLICE_S)

    def offsets(self):
        return [int(outcome.headers[0][1]) for outcome in self.published]


async def test_light_events_overtake_heavy_ones():
    """Eight that take long come first; every light one beside them is done before any of these."""
    heavy = [event(n, 150) for n in range(8)]
    light = [event(n, 1) for n in range(8, 48)]
    async with Pumping(stage := Slicing()) as pumping:
        await pumping.put(*heavy, *light)
        await pumping.until(lambda: len(pumping.published) >= len(light))
        assert sorted(pumping.offsets()) == [each.offset for each in light]
        assert pumping.acknowledged == []  # all wait for the first one
        await pumping.until(lambda: len(pumping.acknowledged) == 48)
    assert pumping.acknowledged == list(range(48))
    assert all(len(batch) == 1 for batch in stage.begun if batch[0] < 8)
    assert stage.most_at_work == 2


async def test_events_of_middling_weight_do_not_wait_for_the_heaviest():
    """Nor do light ones wait for them."""
    async with Pumping(Slicing()) as pumping:
        await pumping.put(*(event(n, 1500) for n in range(4)))
        await pumping.put(*(event(n, 20) for n in range(4, 8)), event(8, 1))
        await pumping.until(lambda: len(pumping.published) == 5)
        assert pumping.offsets()[0] == 8
        assert set(pumping.offsets()) == {4, 5, 6, 7, 8}


@pytest.mark.parametrize("seed", range(3))
async def test_every_key_keeps_its_order_whatever_the_weights(seed):
    """A heavy version between light ones of the same declaration, and the other way round."""
    dice = random.Random(seed)
    events = [
        event(n, dice.choice((0, 1, 20, 150)), key=dice.choice((b"a", b"b", b"c", b"d")))
        for n in range(40)
    ]
    async with Pumping(Slicing()) as pumping:
        await pumping.put(*events)
        await pumping.until(lambda: len(pumping.acknowledged) == len(events))
    assert pumping.acknowledged == list(range(len(events)))
    for key in (b"a", b"b", b"c", b"d"):
        order = [int(e.headers[0][1]) for e in pumping.published if e.key == key]
        assert order == [each.offset for each in events if each.key == key]


async def test_amendments_behind_a_heavy_declaration_do_not_hold_up_others():
    """However many: they wait for their declaration alone."""
    async with Pumping(Slicing()) as pumping:
        await pumping.put(event(0, 1500, key=b"D"))
        await pumping.put(*(event(n, 1, key=b"D") for n in range(1, 101)))
        await pumping.put(event(101, 1))
        await pumping.until(lambda: pumping.published)
        assert pumping.offsets() == [101]


async def test_heavy_events_that_wait_are_bounded():
    """Each may have a megabyte: the next ones stay with the broker."""
    async with Pumping(Slicing()) as pumping:
        key = b"D"
        fill = asyncio.create_task(pumping.put(*(event(n, 5000, key=key) for n in range(100))))
        await asyncio.sleep(0.1)
        assert not fill.done()
        assert pumping.acker.under_way <= HEAVY_WAITING + 2
        fill.cancel()


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


async def test_slices_are_progress_for_all_that_wait_and_silence_is_a_stall():
    """The watchdog lets work go on that takes longer than its limit; what hangs it stops."""
    clock, gate = Clock(), asyncio.Event()

    async def stage(batch):
        for _ in range(weigh(batch[0])):
            await gate.wait()
            gate.clear()
            beat()
        return [fate(each) for each in batch]

    async with Pumping(stage, clock=clock) as pumping:
        health = Health(pumping.acker, lambda: 1, stall_limit_s=300, model_warm=True)
        # Three of one key wait for each other.
        await pumping.put(*(event(n, weight, key=b"D") for n, weight in enumerate((150, 150, 1))))
        for _ in range(100):
            await asyncio.sleep(0)
            clock.now += 200
            gate.set()
            await pumping.until(lambda: not gate.is_set())
            health.check_progress()
        assert pumping.acker.oldest_age == 20_000
        clock.now += 301  # no slice any more
        with pytest.raises(Stalled, match="301 s"):
            health.check_progress()


async def test_one_pump_that_hangs_is_a_stall_though_others_work():
    """Their signs of life do not count for its event."""
    clock, hangs = Clock(), asyncio.Event()

    async def stage(batch):
        if weigh(batch[0]) > HEAVY[-1]:
            hangs.set()
            await asyncio.Event().wait()
        beat()
        return [fate(each) for each in batch]

    async with Pumping(stage, clock=clock) as pumping:
        health = Health(pumping.acker, lambda: 1, stall_limit_s=300, model_warm=True)
        await pumping.put(event(0, 999))
        await hangs.wait()
        for n in range(1, 5):
            clock.now += 75
            await pumping.put(event(n, 1))
            await pumping.until(lambda n=n: len(pumping.published) == n)
        health.check_progress()
        clock.now += 1
        with pytest.raises(Stalled, match="301 s"):
            health.check_progress()
