"""Events → micro-batches → a stage → its deliveries, awaited → events done.

Each pump has a bounded queue and takes micro-batches from it one after the other, so the events of
one key, which always go to the same pump, keep their order. With two pumps, one waits for storage
while the other infers.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence

from schemas.topics import DEAD_LETTERS
from streams.kafka.acker import Acker, Ticket
from streams.kafka.dead_letter import REPLAYS, DeadLetterLimit, count
from streams.kafka.events import Inbound, Outbound

Stage = Callable[[Sequence[Inbound]], Awaitable[list[tuple[Outbound, ...]]]]
"""Takes a micro-batch; returns for each event, in order, the events that it leads to: empty if the
stage already applied its effect elsewhere. An error that it raises is a failing service or a bug,
and stops the worker."""
Publish = Callable[[Sequence[Outbound]], Awaitable[None]]
"""Returns when the broker has every event; raises where it refuses one or does not answer."""


class Pumps:
    """Runs a stage over micro-batches, with every key in order."""

    def __init__(
        self,
        stage: Stage,
        publish: Publish,
        acker: Acker,
        limit: DeadLetterLimit,
        *,
        pumps: int,
        batch_size: int,
        batch_wait_s: float,
    ) -> None:
        self._stage = stage
        self._publish = publish
        self._acker = acker
        self._limit = limit
        self._batch_size = batch_size
        self._batch_wait_s = batch_wait_s
        self._queues: list[asyncio.Queue[tuple[Inbound, Ticket]]] = [
            asyncio.Queue(maxsize=2 * batch_size) for _ in range(pumps)
        ]

    async def put(self, event: Inbound, acknowledge: Callable[[], object]) -> None:
        """Take one event; waits while its pump is full. Call in the order of the offsets."""
        ticket = self._acker.track((event.topic, event.partition), acknowledge)
        key = event.key if event.key is not None else str(event.partition).encode()
        await self._queues[zlib.crc32(key) % len(self._queues)].put((event, ticket))

    async def run(self) -> None:
        """Pump until cancelled.

        Raises:
            ExceptionGroup: what a stage or a delivery raised; the worker must stop.
        """
        async with asyncio.TaskGroup() as tasks:
            for queue in self._queues:
                tasks.create_task(self._pump(queue))

    async def _pump(self, queue: asyncio.Queue[tuple[Inbound, Ticket]]) -> None:
        while True:
            batch = await self._batch(queue)
            outcomes = await self._stage([event for event, _ in batch])
            await self._publish([event for outcome in outcomes for event in outcome])
            for (cause, ticket), outcome in zip(batch, outcomes, strict=True):
                self._acker.done(ticket)
                # One that was sent again and fails again says nothing new about us.
                if not count(cause.headers, REPLAYS):
                    self._limit.count(dead=any(event.topic is DEAD_LETTERS for event in outcome))

    async def _batch(
        self, queue: asyncio.Queue[tuple[Inbound, Ticket]]
    ) -> list[tuple[Inbound, Ticket]]:
        batch = [await queue.get()]
        try:
            async with asyncio.timeout(self._batch_wait_s):
                while len(batch) < self._batch_size:
                    batch.append(await queue.get())
        except TimeoutError:
            pass  # an incomplete batch goes ahead
        return batch
