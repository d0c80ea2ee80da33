"""Consumer groups of the workers → how far each is behind, and for how long already.

The console and the decision log are not among them: both keep their place beside what they write,
and the console's pages say if they are out of date.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import (
    ALERTS,
    CUSTOMS_MESSAGES,
    DECLARATIONS,
    INSPECTION_OUTCOMES,
    TOPICS,
    Topic,
)
from streams.kafka.origin import TRANSIENT, NoAnswer, no_answer, partitions_of
from streams.settings import Settings

ANSWER_S: Final = 10.0
"""Longest wait for Kafka to answer."""


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a group is behind in one partition."""

    partition: int
    next: int
    """Offset of the first event that is not done."""
    end: int
    """Offset that the next event to come will have."""
    lag: int
    """Number of events that are not done; markers of transactions between them count, too."""
    oldest_age_s: float | None
    """Since the first event that is not done was written; None where none waits, or where this user
    may not read the topic. Unit: s."""


@dataclass(frozen=True, slots=True)
class GroupLag:
    """How far a group is behind."""

    group: str
    topic: str
    members: int
    """Workers that are in the group now."""
    partitions: tuple[PartitionLag, ...]

    @property
    def lag(self) -> int:
        """Number of events that are not done."""
        return sum(partition.lag for partition in self.partitions)

    @property
    def oldest_age_s(self) -> float | None:
        """Since the oldest event that is not done was written; None for none. Unit: s."""
        ages = (partition.oldest_age_s for partition in self.partitions)
        return max((age for age in ages if age is not None), default=None)

    def figures(self, *, partitions: bool) -> dict[str, Any]:
        """Return the figures as JSON has them.

        Args:
            partitions: of each partition, too.
        """
        figures: dict[str, Any] = {
            "group": self.group,
            "topic": self.topic,
            "lag": self.lag,
            "oldest_age_s": _rounded(self.oldest_age_s),
            "members": self.members,
        }
        if partitions:
            figures["partitions"] = [
                {
                    "partition": each.partition,
                    "next": each.next,
                    "end": each.end,
                    "lag": each.lag,
                    "oldest_age_s": _rounded(each.oldest_age_s),
                }
                for each in self.partitions
            ]
        return figures


def groups(settings: Settings) -> tuple[tuple[str, Topic], ...]:
    """Return the workers' consumer groups, and what each reads; no `deliver` without a receiver."""
    delivered = settings.deliver_topics if settings.deliver_url else ()
    return (
        (settings.intake_consumer_group, CUSTOMS_MESSAGES),
        (settings.consumer_group, DECLARATIONS),
        (settings.explain_consumer_group, ALERTS),
        (settings.learn_consumer_group, INSPECTION_OUTCOMES),
        *((settings.deliver_consumer_group, TOPICS[name]) for name in delivered),
    )


def measure(settings: Settings, now: Callable[[], float] = time.time) -> list[GroupLag]:
    """Measure every group; joins none.

    Args:
        settings: of Kafka.
        now: the clock. Unit: s since 1970-01-01T00:00Z.

    Raises:
        NotDeployed: a topic is missing.
        NoAnswer: Kafka does not answer, or not about all.
    """
    named = groups(settings)
    try:
        members = _members(settings, [group for group, _ in named])
        return [
            GroupLag(group, topic.name, members[group], _partitions(settings, group, topic, now()))
            for group, topic in named
        ]
    except KafkaException as error:
        raise no_answer(error) from error


def _members(settings: Settings, names: Iterable[str]) -> dict[str, int]:
    admin = AdminClient(settings.confluent() | {"log_level": 0})
    admin.list_topics(timeout=ANSWER_S)  # tells sooner that nobody answers
    members = {}
    described = admin.describe_consumer_groups(list(names), request_timeout=ANSWER_S)
    for name, answer in described.items():
        try:
            members[name] = len(answer.result(timeout=2 * ANSWER_S).members)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise
            members[name] = 0  # no worker was ever in it
    return members


def _partitions(
    settings: Settings, group: str, topic: Topic, at: float
) -> tuple[PartitionLag, ...]:
    consumer = Consumer(
        settings.confluent()
        | {
            "group.id": group,  # asked about, not joined
            "enable.auto.commit": False,
            # Retention may remove the first event between the question and the fetch.
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        places = [
            TopicPartition(topic.name, number)
            for number in sorted(partitions_of(consumer, topic, ANSWER_S))
        ]
        nexts, ends = {}, {}
        for committed in consumer.committed(places, timeout=ANSWER_S):
            if committed.error is not None:
                raise KafkaException(committed.error)
            place = TopicPartition(topic.name, committed.partition)
            first, end = consumer.get_watermark_offsets(place, timeout=ANSWER_S)
            ends[committed.partition] = end
            nexts[committed.partition] = max(committed.offset, first)
        waiting = {number: nexts[number] for number in nexts if nexts[number] < ends[number]}
        written = _first_written(consumer, topic, waiting)
    finally:
        consumer.close()
    lags = []
    for number, first in nexts.items():
        since = written.get(number)
        # Nobody ever sees the markers at the end of transactions.
        only_markers = number in written and since is None
        lag = 0 if only_markers else ends[number] - first
        age = None if since is None else max(0.0, at - since)
        lags.append(PartitionLag(number, first, ends[number], lag, age))
    return tuple(lags)


def _first_written(
    consumer: Consumer, topic: Topic, waiting: Mapping[int, int]
) -> dict[int, float | None]:
    """Return when the first event from an offset on was written.

    Args:
        consumer: that is assigned nothing.
        topic: to be read.
        waiting: partition → offset.

    Returns:
        partition → time, None where there is no event; nothing where the user may not read.
        Unit: s since 1970-01-01T00:00Z.

    Raises:
        NoAnswer: a partition could not be read.
    """
    left = set(waiting)
    written: dict[int, float | None] = {}
    consumer.assign([TopicPartition(topic.name, *place) for place in waiting.items()])
    deadline = time.monotonic() + ANSWER_S
    while left:
        if time.monotonic() > deadline:
            raise NoAnswer(f"Kafka did not say what waits in {topic.name}.")
        message = consumer.poll(1.0)
        error = None if message is None else message.error()
        if message is None or (error is not None and error.code() in TRANSIENT):
            continue
        if error is not None and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            break
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
            raise KafkaException(error)
        partition = message.partition() or 0
        if partition in left:
            left.discard(partition)
            written[partition] = message.timestamp()[1] / 1000 if error is None else None
            consumer.pause([TopicPartition(topic.name, partition)])
    return written


def _rounded(age: float | None) -> float | None:
    return None if age is None else round(age, 1)
