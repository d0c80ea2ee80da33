"""One declaration through the stages, each on its pumps: screen, explain, learn."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from schemas import codec
from schemas.codec import encode
from schemas.examples import examples
from schemas.topics import DEAD_LETTERS
from streams.evidence.past_inspections import PastInspections
from streams.kafka.acker import Acker
from streams.kafka.dead_letter import DeadLetterLimit
from streams.kafka.events import Inbound
from streams.kafka.pump import Pumps
from streams.redis.keys import SignalKeys
from streams.stages.learn import Learn
from tests.fakes import NOW, Published, inbound
from tests.streams.stages.test_explain import Place

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = TRACE[3:35]
TRACED = (("traceparent", TRACE.encode()),)
OUTCOME = next(record for _, record in examples("inspection-outcome"))


class Following:
    """Real stages on fakes; `traces` gives the `Traces` of a stage."""

    def __init__(self, traces=lambda _: None):
        self.place = Place()
        self._traces = traces
        learn = Learn(
            writers={9: codec.schema("inspection-outcome")},
            inspections=PastInspections(
                self.place.redis, keys=SignalKeys(b"key"), now=NOW.timestamp
            ),
            now=lambda: NOW + timedelta(hours=1),
        )
        self._stages = {"screen": self.place.screen, "explain": self.place.stage, "learn": learn}

    async def through(self, stage, *events):
        """Let a stage's pumps have events; returns what they published."""
        published, done = Published(), asyncio.Event()
        left = list(events)
        pumps = Pumps(
            self._stages[stage],
            published,
            Acker(lambda: 0.0),
            DeadLetterLimit(in_a_row=5, share=1),
            name=stage,
            pumps=1,
            batch_size=4,
            batch_wait_s=0.02,
            traces=self._traces(stage),
        )

        def acknowledge():
            left.pop()
            if not left:
                done.set()

        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(pumps.run())
            for event in events:
                await pumps.put(event, acknowledge)
            await done.wait()
            running.cancel()
        return published

    async def screened(self, declaration, *others, headers=TRACED):
        """Screen a declaration, in one micro-batch with others; returns what was published."""
        cause = inbound(declaration, offset=5, headers=(("ce_id", b"event-5"), *headers))
        self.place.kept["declarations/0/5"] = cause
        return await self.through("screen", cause, *others)


def delivered(event):
    """What was published, as Kafka delivers it."""
    return Inbound(
        topic=event.topic.name,
        partition=1,
        offset=9,
        key=event.key,
        value=event.value,
        timestamp=NOW.timestamp(),
        timestamp_by_broker=True,
        headers=event.headers,
    )


def outcome(declaration_id, **fields):
    """What an inspector found of a declaration."""
    record = replace(OUTCOME, **{"declaration_id": declaration_id, "result": "irregular"} | fields)
    return inbound(value=encode(record, 9), key=declaration_id.encode())


def named(events, topic):
    """The one event of a topic; a dead letter's topic is a topic too."""
    (event,) = (e for e in events if e.topic.name == topic)
    assert topic == DEAD_LETTERS.name or event.value
    return event
