"""Any order of what comes, ends, fails and is delivered again, against a simple model."""

import asyncio
from collections import defaultdict
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.topics import ASSESSMENTS, DEAD_LETTERS
from streams.kafka.acker import Acker
from streams.kafka.dead_letter import DeadLetterLimit, TooManyDeadLetters
from streams.kafka.events import Outbound
from streams.kafka.heartbeat import Heartbeat
from streams.kafka.pump import HEAVY, Pumps
from tests.fakes import inbound

PARTITIONS = st.integers(0, 2)
PLACES = st.integers(0, 1 << 16)
TICKS = 12
"""Turns of the event loop that let everybody get as far as they can."""


class AckerMachine(RuleBasedStateMachine):
    """The model: for each partition a list of [ticket, is it done], and how many are released."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.acker = Acker(clock=lambda: self.now)
        self.came = defaultdict(list)
        self.released = defaultdict(list)

    def _unfinished(self):
        return [
            each for tickets in self.came.values() for each in tickets if not each["done"]
        ]  # fmt: skip

    @rule(partition=PARTITIONS, with_heartbeat=st.booleans())
    def receive(self, partition, with_heartbeat):
        number = len(self.came[partition])
        heartbeat = Heartbeat(lambda: self.now) if with_heartbeat else None
        ticket = self.acker.track(
            partition, lambda: self.released[partition].append(number), heartbeat
        )
        self.came[partition].append({"ticket": ticket, "done": False, "sign": self.now, "beat": heartbeat})  # fmt: skip

    @rule(partition=PARTITIONS, count=st.integers(1, 3))
    def deliver_again(self, partition, count):
        """A rebalance: what is not acknowledged comes once more, behind the first delivery."""
        for _ in range(min(count, len(self.came[partition]) - len(self.released[partition]))):
            self.receive(partition, with_heartbeat=False)

    @precondition(lambda self: self._unfinished())
    @rule(place=PLACES)
    def finish(self, place):
        unfinished = self._unfinished()
        one = unfinished[place % len(unfinished)]
        one["done"] = True
        self.acker.done(one["ticket"])

    @rule(place=PLACES, seconds=st.floats(0, 400))
    def time_goes_by(self, place, seconds):
        self.now += seconds
        beating = [each for each in self._unfinished() if each["beat"]]
        if beating:
            beating[place % len(beating)]["beat"].beat()
            beating[place % len(beating)]["sign"] = self.now

    @invariant()
    def released_is_what_is_done_from_the_first_on(self):
        for partition, tickets in self.came.items():
            done = [each["done"] for each in tickets]
            first_unfinished = done.index(False) if False in done else len(done)
            assert self.released[partition] == list(range(first_unfinished))

    @invariant()
    def the_rest_is_told_rightly(self):
        under_way, ages = 0, []
        for partition, tickets in self.came.items():
            rest = tickets[len(self.released[partition]) :]
            under_way += len(rest)
            last = max((n for n, each in enumerate(rest) if each["done"]), default=0)
            overtaken = [each["ticket"] for each in rest[:last] if not each["done"]]
            assert overtaken == [
                ticket for ticket in self.acker.overtaken if ticket.partition == partition
            ]
            ages += [rest[0]["ticket"].since] if rest else []
        signs = [each["sign"] for each in self._unfinished()]
        assert self.acker.under_way == under_way
        assert self.acker.oldest_age == (self.now - min(ages) if ages else 0.0)
        assert self.acker.longest_silence == (self.now - min(signs) if signs else 0.0)


class PumpMachine(RuleBasedStateMachine):
    """Events of two partitions and any keys and weights; the test decides when what ends, and how."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.events = asyncio.Queue()
        self.calls = []
        self.came, self.published, self.acknowledged = [], [], defaultdict(list)
        self.pumps = Pumps(
            self._stage,
            self._publish,
            Acker(clock=lambda: 0.0),
            DeadLetterLimit(in_a_row=0, share=0.9),
            name="test",
            pumps=2,
            batch_size=3,
            batch_wait_s=0,
            weigh=lambda event: int(event.value),
        )
        self.running = self.loop.create_task(self.pumps.run())
        self.feeding = self.loop.create_task(self._feed())
        self.refused = False
        self._tick()

    async def _feed(self):
        while True:
            event = await self.events.get()
            acknowledge = self.acknowledged[event.partition].append
            await self.pumps.put(event, partial(acknowledge, event.offset))

    async def _stage(self, batch):
        call = self.loop.create_future()
        self.calls.append((call, [event.offset for event in batch]))
        topic = await call
        return [
            (Outbound(topic=topic, key=event.key, value=b"", headers=(("n", b"%d" % event.offset), ("x_dlq.reason", b"screening_failed"))),)
            for event in batch
        ]  # fmt: skip

    async def _publish(self, events):
        await asyncio.sleep(0)
        if self.refused:
            raise ConnectionError("no broker")
        self.published += [int(dict(event.headers)["n"]) for event in events]
        return [True] * len(events)

    def _tick(self):
        async def turns():
            for _ in range(TICKS):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    @rule(partition=st.integers(0, 1), key=st.integers(0, 3), class_=st.integers(0, 2))
    def receive(self, partition, key, class_):
        weight = (0, *HEAVY)[class_] + 1
        event = inbound(value=b"%d" % weight, offset=len(self.came), partition=partition, key=b"%d" % key)  # fmt: skip
        self.came.append(event)
        self.events.put_nowait(event)
        self._tick()

    def _end(self, place, result):
        call, _ = self.calls.pop(place % len(self.calls))
        if isinstance(result, Exception):
            call.set_exception(result)
        else:
            call.set_result(result)
        self._tick()

    @precondition(lambda self: self.calls)
    @rule(place=PLACES)
    def succeed(self, place):
        self._end(place, ASSESSMENTS)

    @precondition(lambda self: self.calls and len(self.came) > 5)
    @rule(place=PLACES)
    def become_dead_letters(self, place):
        self._end(place, DEAD_LETTERS)

    @precondition(lambda self: self.calls and len(self.came) > 7)
    @rule(place=PLACES)
    def meet_a_bug(self, place):
        self._end(place, RuntimeError("a bug"))

    @precondition(lambda self: len(self.came) > 9)
    @rule(chance=st.integers(0, 9))
    def lose_the_broker(self, chance):
        self.refused = self.refused or chance == 9

    @invariant()
    def nothing_is_acknowledged_past_what_is_not_published(self):
        for partition, offsets in self.acknowledged.items():
            came = [event.offset for event in self.came if event.partition == partition]
            assert offsets == came[: len(offsets)]
            assert set(offsets) <= set(self.published)

    @invariant()
    def each_is_published_once_and_each_key_in_order(self):
        assert len(set(self.published)) == len(self.published)
        by_key = defaultdict(list)
        for offset in self.published:
            by_key[self.came[offset].key].append(offset)
        assert all(offsets == sorted(offsets) for offsets in by_key.values())

    def teardown(self):
        """Let everything end; then what is published is acknowledged, but after a fault of ours."""
        while self.calls:
            self._end(0, ASSESSMENTS)
        faults = ()
        if self.running.done():
            faults = self.running.exception().exceptions
        acknowledged = {offset for offsets in self.acknowledged.values() for offset in offsets}
        if all(isinstance(fault, TooManyDeadLetters) for fault in faults) and not self.refused:
            assert acknowledged == set(self.published)
            assert faults or acknowledged == set(range(len(self.came)))
        for task in (self.running, self.feeding):
            task.cancel()
        self.loop.run_until_complete(
            asyncio.gather(self.running, self.feeding, return_exceptions=True)
        )
        self.loop.close()
        self.nothing_is_acknowledged_past_what_is_not_published()
        self.each_is_published_once_and_each_key_in_order()


TestAcker = AckerMachine.TestCase
TestAcker.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)  # fmt: skip
TestPumps = PumpMachine.TestCase
TestPumps.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True)  # fmt: skip
