"""What retention removed before a consumer group read it → a metric, the log, the doctor.

Kafka's clients pass over such a gap without a word: they go on at the first event that is left.
"""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition
from structlog.contextvars import bound_contextvars

from schemas.topics import Topic
from streams import metrics
from streams.kafka.origin import NoAnswer, no_answer, partitions_of
from streams.retry import retrying_blocking
from streams.settings import Settings

ANSWER_S: Final = 10.0
"""Longest wait for Kafka to answer."""
START_ATTEMPTS: Final = 3
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that were removed before a group read them."""

    topic: str
    partition: int
    next: int
    """Offset that the group was to read next."""
    first: int
    """First offset that is still there."""

    @property
    def count(self) -> int:
        """How many, markers of transactions among them."""
        return self.first - self.next

    def __str__(self) -> str:
        return (
            f"{self.count} events of {self.topic}, partition {self.partition} (offsets {self.next} "
            f"to {self.first - 1}), were removed before they were read"
        )


def report(gap: Gap, reader: str) -> None:
    """Tell operators of a gap.

    Args:
        gap: what was lost.
        reader: consumer group that did not read it.
    """
    metrics.EXPIRED.labels(gap.topic, str(gap.partition)).inc(gap.count)
    log.error(
        "events were removed before they were read",
        topic=gap.topic,
        partition=gap.partition,
        next=gap.next,
        first=gap.first,
        count=gap.count,
        group=reader,
    )


class Unread:
    """Compares what one group is to read of a topic with what is there; thread safe."""

    def __init__(self, settings: Settings, *, group: str, topic: Topic) -> None:
        """Take the group's name, without joining it."""
        self._settings = settings
        self._group = group
        self.topic = topic
        self._next: dict[int, int] = {}
        """Partition → offset that the worker is to receive next, where it is known."""
        self._jumps: list[Gap] = []

    def begin(self, *, attempts: int = START_ATTEMPTS, delay_s: float = 1.0) -> None:
        """Wait for Kafka, and note where a new group begins, so that a later gap is seen.

        Args:
            attempts: at most.
            delay_s: before the second; see streams/retry.py. Unit: s.

        Raises:
            NotDeployed: the topic is missing.
            NoAnswer: no attempt was answered.
        """
        retry = retrying_blocking(attempts=attempts, delay_s=delay_s)
        with bound_contextvars(service="Kafka"):
            retry(NoAnswer, self._begin)

    def gaps(self, partitions: Iterable[int] | None = None) -> list[Gap]:
        """Return what was removed of partitions, or of all, beyond what the group committed.

        Raises:
            NotDeployed: the topic is missing.
            NoAnswer: Kafka does not answer.
        """
        gaps = []
        for partition, (committed, first) in self._places(partitions).items():
            if 0 <= committed < first:
                gaps.append(Gap(self.topic.name, partition, committed, first))
        return gaps

    async def assigned(self, partitions: Collection[int]) -> None:
        """Tell of the gaps of the partitions that the worker got; call before it reads them."""
        self._next.clear()
        try:
            gaps = await asyncio.to_thread(self.gaps, partitions)
        except NoAnswer as error:
            log.warning("not known whether events were removed unread", problem=str(error))
            return
        for gap in gaps:
            report(gap, self._group)

    def received(self, partition: int, offset: int) -> None:
        """Note an event that the worker received."""
        expected = self._next.get(partition, offset)
        self._next[partition] = offset + 1
        if offset > expected:  # retention, or no more than a marker of a transaction
            self._jumps.append(Gap(self.topic.name, partition, expected, offset))

    async def check(self) -> None:
        """Tell of the gaps that the worker passed over since the last check."""
        if not self._jumps:
            return
        jumps, self._jumps = self._jumps, []
        try:
            places = await asyncio.to_thread(self._places, {jump.partition for jump in jumps})
        except NoAnswer:
            self._jumps = jumps + self._jumps
            return
        for jump in jumps:
            first = min(jump.first, places[jump.partition][1])
            if first > jump.next:
                report(Gap(jump.topic, jump.partition, jump.next, first), self._group)

    @cached_property
    def _consumer(self) -> Consumer:
        of_group = {"group.id": self._group, "enable.auto.commit": False, "log_level": 0}
        return Consumer(self._settings.confluent() | of_group)

    def _begin(self) -> None:
        new = [
            TopicPartition(self.topic.name, partition, first)
            for partition, (committed, first) in self._places(None).items()
            if committed < 0
        ]
        if not new:
            return
        try:
            self._consumer.commit(offsets=new, asynchronous=False)
        except KafkaException as error:  # other workers are members, and commit themselves
            log.debug("the beginning of the group is not noted", error=error.args[0].str())

    def _places(self, partitions: Iterable[int] | None) -> dict[int, tuple[int, int]]:
        """Return for each partition the committed offset, negative for none, and the first one."""
        try:
            if partitions is None:
                partitions = partitions_of(self._consumer, self.topic, ANSWER_S)
            asked = [TopicPartition(self.topic.name, partition) for partition in partitions]
            committed = self._consumer.committed(asked, timeout=ANSWER_S)
            firsts = [
                self._consumer.get_watermark_offsets(place, timeout=ANSWER_S)[0] for place in asked
            ]
        except KafkaException as error:
            raise no_answer(error) from error
        if failed := next((place.error for place in committed if place.error is not None), None):
            raise no_answer(KafkaException(failed))
        return {
            place.partition: (place.offset, first)
            for place, first in zip(committed, firsts, strict=True)
        }


class UnreadOfAll:
    """The same of all topics that a worker reads."""

    def __init__(self, each: Iterable[Unread]) -> None:
        self.each = tuple(each)
        self._by_topic = {unread.topic.name: unread for unread in self.each}

    @property
    def topics(self) -> tuple[str, ...]:
        """Names of the topics."""
        return tuple(self._by_topic)

    async def assigned(self, places: Iterable[tuple[str, int]]) -> None:
        """Tell of gaps; see `Unread.assigned`.

        Args:
            places: topic and partition of all that the worker got.
        """
        got = list(places)
        for topic, unread in self._by_topic.items():
            await unread.assigned({partition for name, partition in got if name == topic})

    def received(self, topic: str, partition: int, offset: int) -> None:
        """Note an event that the worker received."""
        self._by_topic[topic].received(partition, offset)

    async def check(self) -> None:
        """Tell of the gaps that the worker passed over since the last check."""
        for unread in self._by_topic.values():
            await unread.check()
