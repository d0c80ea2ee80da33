"""Faust's Kafka transport, changed where it would lose, stall or hang.

Each class overrides private methods, which is why Faust's version is pinned; see
docs/decisions/0003-faust-without-its-acks.md.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import structlog
from aiokafka import TopicPartition, conn
from aiokafka.consumer import fetcher
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

FETCH_WAIT_MS = 100
ANSWER_S = 30.0
"""For a broker to answer, as Kafka's own clients wait. One that hangs keeps its connections, while
others may lead already."""
LONG_ANSWERS = (JoinGroupRequest, SyncGroupRequest)
"""They wait for other members of the group, as long as broker_rebalance_timeout."""
GIVE_BACK_S = 30.0
"""Longest wait for events under way before partitions are given back or the worker exits: less than
the group waits for its members (broker_rebalance_timeout), and than a supervisor waits for an exit.
"""
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
"""The broker's topic takes less than `redlane deploy` asked for."""
CLOSE_S = 5.0
"""For a producer to close: with no broker, what it holds would keep it waiting for ever."""
MAGIC = 2
"""Version of Kafka's format for batches since headers exist."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """How far a partition has been read since it was assigned."""

    last: int | None
    """Offset of the last event; None where there was none."""
    position: int
    """First offset that is not read yet. Between `last` and here lies only what nobody sees."""


class IdempotentProducer(driver.Producer):
    """Idempotent: Faust offers that only with exactly_once, which does not work."""

    def _settings_extra(self) -> dict[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    async def send(
        self, topic: str, key: Any, value: Any, partition: Any, *arguments: Any, **options: Any
    ) -> Any:
        """Send an event; returns what to await for the broker's answer."""
        await self._ensure_producer().partitions_for(topic)  # waits until they are known
        if partition is None:
            partition = self.key_partition(topic, key).partition
        delivery: Any = await super().send(topic, key, value, partition, *arguments, **options)
        place = TopicPartition(topic, partition)
        delivery.add_done_callback(lambda done: self._close_gap(place, done))
        return delivery

    def _close_gap(self, place: TopicPartition, delivery: asyncio.Future[Any]) -> None:
        """Give the sequence number of a refused event to the next one.

        aiokafka does not, and then the broker refuses everything that follows as out of order. This
        runs before more is sent to the partition: one batch at a time is under way to each.
        """
        if delivery.cancelled() or self._producer is None:
            return
        if isinstance(delivery.exception(), TOO_LARGE):
            self._producer._txn_manager._sequence_numbers[place] -= 1  # noqa: SLF001

    async def flush(self) -> None:
        """Do nothing: every delivery is awaited before its event is acknowledged.

        Faust flushes before each commit and when it stops, however long no broker answers.
        """

    async def on_stop(self) -> None:
        """Close, but do not wait for a broker that does not answer."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await super().on_stop()
        except TimeoutError:
            log.warning("the producer was not closed in order: no broker answers")


class PromptConnection(conn.AIOKafkaConnection):  # type: ignore[misc] # aiokafka is untyped
    """Gives up a broker that does not answer, also while it connects.

    aiokafka has one limit for all requests, which must be longer than a rebalance. So a broker that
    hangs would hold up the partitions that it led, and a start that asks it first, for minutes.
    """

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """Send a request; returns what to await for the answer. It raises TimeoutError."""
        answer = super().send(request, expect_response)
        if isinstance(request, LONG_ANSWERS):
            return answer
        return asyncio.wait_for(answer, ANSWER_S)


conn.AIOKafkaConnection = PromptConnection  # aiokafka makes its connections itself


class PromptConsumerThread(driver.AIOKafkaConsumerThread):
    """Reads committed events only, and notes how far it has read.

    It also shortens the 1.5 s for which Faust lets the broker hold a fetch: a partition that is not
    part of a held fetch waits as long, even if events have arrived for it.
    """

    consumer: "PromptConsumer"

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no setting for either.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        return consumer

    def verify_event_path(self, _now: float, _tp: Any) -> None:
        """Do nothing: Faust's check raises where retention passed the position. Health checks."""

    async def _fetch_records(self, consumer: Any, *arguments: Any, **options: Any) -> Any:
        before = _positions(consumer)
        try:
            records = await super()._fetch_records(consumer, *arguments, **options)
        except UnicodeDecodeError:
            read_leniently()
            # What was read meanwhile is lost with the error.
            consumer._fetcher._records.clear()  # noqa: SLF001
            for place, position in before.items():
                consumer.seek(place, position)
            return {}
        self.consumer.note_fetched(
            {
                TP(*place): Fetched(
                    records[place][-1].offset if place in records else None, position
                )
                for place, position in _positions(consumer).items()
            }
        )
        return records


def _positions(consumer: Any) -> dict[Any, int]:
    """Return the first offset that is not read yet, of each partition that has one."""
    subscription = consumer._subscription.subscription  # noqa: SLF001
    if subscription is None or subscription.assignment is None:
        return {}
    positions = subscription.assignment.all_consumed_offsets()
    return {place: position.offset for place, position in positions.items()}


class PromptConsumer(driver.Consumer):
    """Commits what the acker releases: the events of each partition in the order of their offsets.

    Faust looks for gaps between offsets itself, and waits for ever for those that transactions
    take: the marker at the end of each, and the events of one that was aborted.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._fetched: dict[TP, Fetched] = {}
        self._acked_to: dict[TP, int] = {}
        """Offset after the last acknowledged event of each partition."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return PromptConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def wait_empty(self) -> None:
        """Wait a while for events under way; the others are delivered again.

        Such as declarations of hundreds of goods items: the whole group would wait for them.
        """
        # Not by a timeout around it: Faust swallows the cancellation.
        late = asyncio.get_running_loop().call_later(GIVE_BACK_S, self._leave_unfinished)
        try:
            await super().wait_empty()
        finally:
            late.cancel()

    def _leave_unfinished(self) -> None:
        log.warning("events will be delivered again", count=len(self._unacked_messages))
        self._unacked_messages.clear()

    def note_fetched(self, fetched: Mapping[TP, Fetched]) -> None:
        """Note how far each partition is read; called in the consumer's thread."""
        for place, now in fetched.items():
            before = self._fetched.get(place)
            if now.last is None and before is not None:
                now = replace(now, last=before.last)  # noqa: PLW2901 - the same, completed
            self._fetched[place] = now

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget them: another worker may go on, or begin anew."""
        await super().on_partitions_revoked(revoked)
        self._forget(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin anew."""
        self._forget(assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    def _forget(self, places: Iterable[TP]) -> None:
        for place in places:
            self._fetched.pop(place, None)
            self._acked_to.pop(place, None)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: what is not delivered needs no acknowledgement."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        places = {*self._acked, *self._fetched}
        return (tp for tp in places if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset to commit: the first one that is not done; None if nothing is new."""
        acked = self._acked[tp]
        if acked:
            self._acked_to[tp] = max(acked) + 1
            acked.clear()
            self._acked_index[tp].clear()
        offset = self._acked_to.get(tp)
        fetched = self._fetched.get(tp)
        # Where all events are done, so is what nobody sees after them; else lag would stay above 0.
        if fetched is not None and (fetched.last is None or fetched.last < (offset or 0)):
            offset = max(offset or 0, fetched.position)
        return offset or None


class Transport(driver.Transport):
    """Kafka transport of these parts."""

    Consumer: ClassVar[type[driver.Consumer]] = PromptConsumer
    Producer: ClassVar[type[driver.Producer]] = IdempotentProducer


def read_leniently() -> None:
    """Replace aiokafka's reader, for the rest of this process.

    Kafka stores events with a header whose name is no UTF-8, and some clients send them. aiokafka
    raises an error on every batch that holds one, and would at every restart. So at the first such
    error its reader is replaced by this one, which is slower.
    """
    log.warning("a header's name is no UTF-8: events are read leniently from now on, and slower")
    fetcher.MemoryRecords = LenientRecords


class LenientRecords(_MemoryRecordsPy):  # type: ignore[misc] # aiokafka is untyped
    """Batches of events as fetched."""

    def next_batch(self) -> Any:
        """Return the next batch."""
        batch = self._next_slice
        if batch is None or len(batch) <= self.MAGIC_OFFSET or batch[self.MAGIC_OFFSET] < MAGIC:
            return super().next_batch()
        self._cache_next()
        return LenientBatch(batch)


class LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc] # aiokafka is untyped
    """A batch of events."""

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _LenientBuffer(self._buffer)


class _LenientBuffer(bytearray):
    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        return part if isinstance(part, int) else _LenientText(part)


class _LenientText(bytes):
    """What aiokafka decodes as a header's name."""

    def decode(self, encoding: str = "utf-8", _errors: str = "strict") -> str:
        return super().decode(encoding, "replace")
