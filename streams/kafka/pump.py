"""Events → micro-batches → a stage → its deliveries, awaited → events done.

Each pump has a bounded queue and takes micro-batches from it one after the other, so the events of
one key, which always go to the same pump, keep their order. With two pumps, one waits for storage
while the other infers.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from schemas.topics import DEAD_LETTERS
from streams.kafka.acker import Acker, Ticket
from streams.kafka.dead_letter import (
    REPLAYS,
    DeadLetterLimit,
    ResultTooLarge,
    count,
    dead_letter,
    is_fault,
    without_value,
)
from streams.kafka.events import Inbound, Outbound

DRAIN_S: Final = 10.0
"""For the micro-batches under way when the pumps stop."""
log = structlog.get_logger(__name__)

Stage = Callable[[Sequence[Inbound]], Awaitable[list[tuple[Outbound, ...]]]]
"""Takes a micro-batch; returns for each event, in order, the events that it leads to: empty if the
stage already applied its effect elsewhere. An error that it raises is a failing service or a bug,
and stops the worker."""
Publish = Callable[[Sequence[Outbound]], Awaitable[list[bool]]]
"""Returns when the broker has answered for every event: whether it took it, False where it is too
large. Raises where the broker refuses one otherwise or does not answer."""


class Pumps:
    """Runs a stage over micro-batches, with every key in order."""

    def __init__(
        self,
        stage: Stage,
        publish: Publish,
        acker: Acker,
        limit: DeadLetterLimit,
        *,
        name: str,
        pumps: int,
        batch_size: int,
        batch_wait_s: float,
    ) -> None:
        self._stage = stage
        self._publish = publish
        self._acker = acker
        self._limit = limit
        self._name = name
        self._batch_size = batch_size
        self._batch_wait_s = batch_wait_s
        self._queues: list[asyncio.Queue[tuple[Inbound, Ticket]]] = [
            asyncio.Queue(maxsize=2 * batch_size) for _ in range(pumps)
        ]
        self._stopping = False
        self._idle = set(self._queues)
        """Queues whose pump waits for events."""

    async def put(self, event: Inbound, acknowledge: Callable[[], object]) -> None:
        """Take one event; waits while its pump is full. Call in the order of the offsets."""
        ticket = self._acker.track((event.topic, event.partition), acknowledge)
        key = event.key if event.key is not None else str(event.partition).encode()
        await self._queues[zlib.crc32(key) % len(self._queues)].put((event, ticket))

    async def run(self) -> None:
        """Pump until cancelled; then, or after a fault, finish the micro-batches under way.

        Raises:
            ExceptionGroup: what a stage or a delivery raised; the worker must stop.
        """
        tasks = [asyncio.create_task(self._pump(queue)) for queue in self._queues]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._drain(tasks)
        faults = [fault for task in tasks if (fault := _fault(task)) is not None]
        raise ExceptionGroup("the pumps stopped", faults)

    async def _drain(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Let micro-batches under way end, so that what is published is acknowledged too."""
        self._stopping = True
        for queue, task in zip(self._queues, tasks, strict=True):
            if queue in self._idle:
                task.cancel()
        try:
            await asyncio.wait(tasks, timeout=DRAIN_S)
        finally:
            for task in tasks:  # those that still run
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, queue: asyncio.Queue[tuple[Inbound, Ticket]]) -> None:
        while not self._stopping:
            self._idle.add(queue)
            batch = await self._batch(queue)
            self._idle.remove(queue)
            causes = [event for event, _ in batch]
            outcomes = await self._delivered(causes, await self._stage(causes))
            # All are done, before the limit may stop the worker: their fates are published.
            for _, ticket in batch:
                self._acker.done(ticket)
            for cause, outcome in zip(causes, outcomes, strict=True):
                # One that was sent again and fails again says nothing new about us.
                if not count(cause.headers, REPLAYS):
                    self._limit.count(dead=any(map(is_fault, outcome)))

    async def _delivered(
        self, causes: Sequence[Inbound], outcomes: Sequence[tuple[Outbound, ...]]
    ) -> list[tuple[Outbound, ...]]:
        """Publish what became of events; of one whose results are too large, a dead letter.

        Returns:
            what was published for each event, in order.

        Raises:
            ResultTooLarge: the broker refuses even a dead letter without a value.
        """
        final = [
            outcome if all(event.fits for event in outcome) else self._too_large(cause)
            for cause, outcome in zip(causes, outcomes, strict=True)
        ]
        left = list(range(len(final)))
        while left:
            flat = [(number, event) for number in left for event in final[number]]
            taken = await self._publish([event for _, event in flat])
            refused = {
                number for (number, _), is_taken in zip(flat, taken, strict=True) if not is_taken
            }
            for number in refused:
                final[number] = self._smaller(causes[number], final[number])
            left = sorted(refused)
        return final

    def _smaller(self, cause: Inbound, refused: tuple[Outbound, ...]) -> tuple[Outbound, ...]:
        """Return what to publish in place of an outcome that the broker refuses as too large."""
        (letter, *_) = refused
        if letter.topic is not DEAD_LETTERS:
            return self._too_large(cause)
        if letter.value:
            return (without_value(letter),)
        raise ResultTooLarge(
            f"The broker takes no dead letter, even without a value: max.message.bytes of "
            f"{DEAD_LETTERS.name} must be {DEAD_LETTERS.max_message_mb} MB."
        )

    def _too_large(self, cause: Inbound) -> tuple[Outbound, ...]:
        log.warning("result too large", partition=cause.partition, offset=cause.offset)
        error = ResultTooLarge("A topic does not take what became of this event.")
        return (dead_letter(cause, error, stage=self._name, bundle_id=""),)

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


def _fault(task: asyncio.Task[None]) -> Exception | None:
    """Return what ended a pump; None where it drained or was cancelled."""
    error = None if not task.done() or task.cancelled() else task.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error
