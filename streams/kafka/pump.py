"""Events → micro-batches → a stage → its deliveries, awaited → events done.

Each pump has a bounded queue and takes micro-batches from it one after the other. With two pumps,
one waits for storage while the other infers. Heavy events have pumps of their own and go one at a
time, so that light ones overtake them.

The events of one key keep their order: those of one class go to the same pump, and one of another
class waits until those before it are done.
"""

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from schemas.topics import DEAD_LETTERS
from streams import metrics
from streams.kafka.acker import Acker, Ticket
from streams.kafka.dead_letter import (
    REPLAYS,
    DeadLetterLimit,
    ResultTooLarge,
    TooManyDeadLetters,
    count,
    dead_letter,
    dead_reason,
    is_fault,
    without_value,
)
from streams.kafka.events import Inbound, Outbound, identification, in_trace
from streams.kafka.heartbeat import Heartbeat
from streams.metrics import timed

if TYPE_CHECKING:
    from streams.spans import Traces

DRAIN_S: Final = 10.0
"""For the micro-batches under way when the pumps stop, and for what they overtook."""
log = structlog.get_logger(__name__)

Stage = Callable[[Sequence[Inbound]], Awaitable[list[tuple[Outbound, ...]]]]
"""Takes a micro-batch; returns for each event, in order, the events that it leads to: empty if the
stage already applied its effect elsewhere. An error that it raises is a failing service or a bug,
and stops the worker. One that works long calls `heartbeat.beat` after each slice."""
Publish = Callable[[Sequence[Outbound]], Awaitable[list[bool]]]
"""Returns when the broker has answered for every event: whether it took it, False where it is too
large. Raises where the broker refuses one otherwise or does not answer."""
Weigh = Callable[[Inbound], int]
"""Returns how heavy an event is: for a declaration, the number of its goods items and photos."""

HEAVY: Final = (16, 128)
"""Weights above which an event is of the next class. Three classes, so that a declaration of 20
goods items does not wait for one of 999 either."""
HEAVY_WAITING: Final = 64
"""Heavy events that wait for a pump, each of up to 1 MB; the next one holds up all behind it."""
UNDER_WAY: Final = 10_000
"""Events that are not yet acknowledged, at most: so many may overtake a heavy one."""


@dataclass(slots=True, eq=False)
class _Pump:
    """A queue, and what works on it."""

    batch_size: int
    room: asyncio.Semaphore
    """Of the queue."""
    heartbeat: Heartbeat
    queue: "asyncio.Queue[_Work]" = field(default_factory=asyncio.Queue)
    idle: bool = True
    """Waits for events."""


@dataclass(slots=True, eq=False)
class _Work:
    """An event under way."""

    event: Inbound
    key: bytes
    ticket: Ticket
    pump: _Pump
    has_room: bool


@dataclass(slots=True)
class _Line:
    """The events of one key that are not done."""

    pump: _Pump
    """That has the first of them."""
    at_pump: int = 0
    """So many of them."""
    waiting: deque[_Work] = field(default_factory=deque)
    """Those behind, from the first that is for another pump."""


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
        weigh: Weigh = lambda _: 0,
        traces: "Traces | None" = None,
    ) -> None:
        """Take the stage.

        Args:
            stage: that runs.
            publish: delivers what it returns.
            acker: of the events.
            limit: of dead letters.
            name: of the stage.
            pumps: for each class of events.
            batch_size: most events of a micro-batch.
            batch_wait_s: longest wait for one to fill.
            weigh: gives the class of an event; without it all are light.
            traces: makes spans; None where nobody asked for traces.
        """
        self._stage = stage
        self._publish = publish
        self._acker = acker
        self._limit = limit
        self._name = name
        self._batch_wait_s = batch_wait_s
        self._weigh = weigh
        self._traces = traces
        self._classes = [
            [
                _Pump(most_in_batch, asyncio.Semaphore(most_waiting), Heartbeat(acker.clock))
                for _ in range(pumps)
            ]
            for most_in_batch, most_waiting in (
                (batch_size, 2 * batch_size),
                *[(1, HEAVY_WAITING)] * len(HEAVY),
            )
        ]
        self._works: dict[Ticket, _Work] = {}
        self._lines: dict[bytes, _Line] = {}
        self._done = asyncio.Event()
        self._stopping = False

    async def put(self, event: Inbound, acknowledge: Callable[[], object]) -> None:
        """Take one event; waits while its pump is full. Call in the order of the offsets."""
        while self._acker.under_way >= UNDER_WAY:
            self._done.clear()
            await self._done.wait()
        key = event.key if event.key is not None else str(event.partition).encode()
        weight = self._weigh(event)
        class_ = sum(weight > most for most in HEAVY)
        pumps = self._classes[class_]
        pump = pumps[zlib.crc32(key) % len(pumps)]
        ticket = self._acker.track((event.topic, event.partition), acknowledge, pump.heartbeat)
        # A light event that waits for its key takes no room: others would wait with it.
        needs_room = class_ > 0 or not self._must_wait(key, pump)
        if needs_room:
            await pump.room.acquire()
        work = self._works[ticket] = _Work(event, key, ticket, pump, needs_room)
        if self._must_wait(key, pump):
            line = self._lines[key]
            line.waiting.append(work)
            ticket.heartbeat = line.pump.heartbeat
        else:
            self._enqueue(work, self._lines.setdefault(key, _Line(pump)))

    async def run(self) -> None:
        """Pump until cancelled; then, or after a fault, finish what is under way.

        Raises:
            ExceptionGroup: what a stage or a delivery raised; the worker must stop.
        """
        tasks = {
            pump: asyncio.create_task(self._run(pump)) for pumps in self._classes for pump in pumps
        }
        try:
            await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._drain(tasks)
        raise ExceptionGroup("the pumps stopped", _faults(tasks.values()))

    async def _drain(self, tasks: Mapping[_Pump, asyncio.Task[None]]) -> None:
        """Let micro-batches under way end, and do what they overtook.

        An event is acknowledged once those before it in its partition are done. What is published
        of one that is not would get a second fate after the restart, perhaps another one.
        """
        self._stopping = True
        for pump, task in tasks.items():
            if pump.idle:
                task.cancel()
        try:
            async with asyncio.timeout(DRAIN_S):
                await asyncio.wait(tasks.values())
                # Where a service fails, it would fail again.
                if all(isinstance(fault, TooManyDeadLetters) for fault in _faults(tasks.values())):
                    for ticket in self._acker.overtaken:
                        await self._finish([self._works[ticket]])
        except TimeoutError:
            log.warning("not all that is under way could be finished", within_s=DRAIN_S)
        except Exception as error:
            raise ExceptionGroup("the pumps stopped", [*_faults(tasks.values()), error]) from error
        finally:
            for task in tasks.values():  # those that still run
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _run(self, pump: _Pump) -> None:
        while not self._stopping:
            pump.idle = True
            batch = await self._batch(pump)
            pump.idle = False
            pump.heartbeat.beat()
            with pump.heartbeat.current():
                outcomes = await self._finish(batch)
            pump.heartbeat.beat()
            self._done.set()
            for work, outcome in zip(batch, outcomes, strict=True):
                # One that was sent again and fails again says nothing new about us.
                if not count(work.event.headers, REPLAYS):
                    self._limit.count(dead=any(map(is_fault, outcome)))

    async def _finish(self, batch: Sequence[_Work]) -> list[tuple[Outbound, ...]]:
        """Give a micro-batch its fates, published and done; returns them, in order."""
        causes = [work.event for work in batch]
        metrics.BATCH_EVENTS.observe(len(batch))
        if self._traces is None:
            outcomes = await self._fates(causes)
        else:
            with self._traces.events([cause.header("traceparent") for cause in causes]) as spans:
                outcomes = await self._fates(causes, spans.traceparents)
                for number, (cause, outcome) in enumerate(zip(causes, outcomes, strict=True)):
                    spans.describe(number, _about(cause, outcome), _reason(outcome))
        self._tell(causes, outcomes)
        # All are done, before the limit may stop the worker: their fates are published.
        for work in batch:
            del self._works[work.ticket]
            self._acker.done(work.ticket)
            self._leave_line(work)
        return outcomes

    async def _fates(
        self, causes: Sequence[Inbound], traceparents: Sequence[str | None] = ()
    ) -> list[tuple[Outbound, ...]]:
        """Give events their fates, published; as parts of these traces, if any."""
        outcomes = await self._stage(causes)
        for number, traceparent in enumerate(traceparents):
            if traceparent is not None:
                outcomes[number] = tuple(
                    # A dead letter keeps the event as it was received.
                    event if event.topic is DEAD_LETTERS else in_trace(event, traceparent)
                    for event in outcomes[number]
                )
        with timed("publish", {}):
            return await self._delivered(causes, outcomes)

    def _tell(self, causes: Sequence[Inbound], outcomes: Sequence[tuple[Outbound, ...]]) -> None:
        """Count what became of events, and log it for who follows one."""
        metrics.EVENTS.labels(self._name).inc(len(causes))
        for outcome in outcomes:
            if (reason := _reason(outcome)) is not None:
                metrics.DEAD_LETTERS.labels(self._name, reason).inc()
        if logging.getLogger(__name__).isEnabledFor(logging.DEBUG):
            for cause, outcome in zip(causes, outcomes, strict=True):
                topics = [event.topic.name for event in outcome]
                id_ = _declaration_id(cause, outcome)
                log.debug(
                    "event done",
                    declaration_id=id_,
                    **cause.identity,
                    stage=self._name,
                    published=topics,
                )

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
        log.warning(
            "result too large", **cause.identity, partition=cause.partition, offset=cause.offset
        )
        error = ResultTooLarge("A topic does not take what became of this event.")
        return (dead_letter(cause, error, stage=self._name, bundle_id=""),)

    async def _batch(self, pump: _Pump) -> list[_Work]:
        batch = [await pump.queue.get()]
        try:
            async with asyncio.timeout(self._batch_wait_s):
                while len(batch) < pump.batch_size:
                    batch.append(await pump.queue.get())
        except TimeoutError:
            pass  # an incomplete batch goes ahead
        for work in batch:
            if work.has_room:
                pump.room.release()
        return batch

    def _must_wait(self, key: bytes, pump: _Pump) -> bool:
        """Whether events of the key are before one that comes, for another pump."""
        line = self._lines.get(key)
        return line is not None and (bool(line.waiting) or line.pump is not pump)

    def _enqueue(self, work: _Work, line: _Line) -> None:
        line.at_pump += 1
        work.ticket.heartbeat = work.pump.heartbeat
        work.pump.queue.put_nowait(work)

    def _leave_line(self, work: _Work) -> None:
        """Let those go that waited for this event of their key alone."""
        line = self._lines[work.key]
        line.at_pump -= 1
        if line.at_pump:
            return
        if not line.waiting:
            del self._lines[work.key]
            return
        line.pump = line.waiting[0].pump
        while line.waiting and line.waiting[0].pump is line.pump:
            self._enqueue(line.waiting.popleft(), line)


def _reason(outcome: Iterable[Outbound]) -> str | None:
    """Return the reason code of a dead letter; None where there is none."""
    return next((code for event in outcome if (code := dead_reason(event)) is not None), None)


def _declaration_id(cause: Inbound, outcome: Sequence[Outbound]) -> str:
    """Return the declaration that an event was about; empty where it became a dead letter."""
    if any(event.topic is DEAD_LETTERS for event in outcome):
        return ""
    return identification(outcome[0].key if outcome else cause.key)


def _about(cause: Inbound, outcome: Sequence[Outbound]) -> dict[str, str | int]:
    """Return what a span says of an event."""
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": cause.topic,
        "messaging.destination.partition.id": str(cause.partition),
        "messaging.kafka.offset": cause.offset,
        "redlane.declaration_id": _declaration_id(cause, outcome),
        "redlane.fate_id": cause.identity["fate_id"],
        "redlane.published": ",".join(event.topic.name for event in outcome),
    }


def _faults(tasks: Iterable[asyncio.Task[None]]) -> list[Exception]:
    """Return what ended pumps; nothing of those that drained or were cancelled."""
    errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    for error in errors:
        if error is not None and not isinstance(error, Exception):
            raise error
    return [error for error in errors if isinstance(error, Exception)]
