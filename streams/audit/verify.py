"""The decision log, and the topics that it refers to → the first entry that is not as it was.

Each chain is read to its end, beside the events that it logs, as far as retention still has them.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from models.progress import Say
from schemas.records import DecisionLogEntry
from schemas.topics import Topic
from streams.audit.chain import Check, Problem
from streams.audit.log import ANSWER_S, UNGROUPED, Log
from streams.audit.sources import SOURCES, chain_of, log_partition
from streams.kafka.events import Inbound, received
from streams.kafka.origin import contents, no_answer, partitions_of
from streams.settings import Settings

SAY_EVERY: Final = 1000
"""Entries between two signs of progress."""


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What became of one chain."""

    chain: str
    begins: int
    """Number of the first entry that is still kept; 0 for an empty chain."""
    length: int
    """Number of the last entry up to which nothing is wrong."""
    hash: str
    """Of that entry."""
    repeated: int
    """Entries that are there more than once."""
    compared: int
    """Entries that were compared with their event."""
    waiting: int
    """Events that are not logged yet."""
    anchors: int
    """Anchors that agree with it."""
    problem: Problem | None


class Events(Protocol):
    """The events that are logged, as their topics hold them now."""

    def sources(self) -> Sequence[tuple[Topic, int]]:
        """Return every topic and partition that is logged."""

    def first(self, topic: Topic, partition: int) -> int:
        """Return the first offset that is still kept."""

    def read(self, topic: Topic, partition: int) -> Generator[Inbound]:
        """Yield what lies in a partition, in order; to be closed."""


class KafkaEvents:
    """The topics as they are now."""

    def __init__(self, settings: Settings) -> None:
        """Take the connection; nothing is read yet."""
        self._settings = settings
        self._consumer = Consumer(settings.confluent() | UNGROUPED)

    def sources(self) -> Sequence[tuple[Topic, int]]:
        """Return every topic and partition that is logged.

        Raises:
            NotDeployed: a topic is missing.
            NoAnswer: Kafka does not answer.
        """
        try:
            return [
                (topic, partition)
                for topic in SOURCES
                for partition in sorted(partitions_of(self._consumer, topic, ANSWER_S))
            ]
        except KafkaException as error:
            raise no_answer(error) from error

    def first(self, topic: Topic, partition: int) -> int:
        """Return the first offset that is still kept.

        Raises:
            NoAnswer: Kafka does not answer.
        """
        try:
            place = TopicPartition(topic.name, partition)
            return self._consumer.get_watermark_offsets(place, timeout=ANSWER_S)[0]
        except KafkaException as error:
            raise no_answer(error) from error

    def read(self, topic: Topic, partition: int) -> Generator[Inbound]:
        """Yield what lies in a partition, in order; to be closed.

        Raises:
            NotDelivered: Kafka does not answer, or stopped answering.
        """
        for message in contents(self._settings, topic, within_s=ANSWER_S, begin={partition: 0}):
            yield received(message)


def verify(
    log: Log,
    events: Events,
    logged: Callable[[Inbound], DecisionLogEntry],
    anchored: Mapping[str, Mapping[int, str]],
    say: Say = lambda *_: None,
) -> list[ChainReport]:
    """Check every chain, one after the other.

    Args:
        log: its chains.
        events: that they log.
        logged: what an entry says of an event; see `streams.audit.sources.logged`.
        anchored: chain → length → hash.
        say: told of the progress.

    Raises:
        NotDeployed: a topic or a schema is missing.
        NotDelivered: Kafka does not answer, or stopped answering.
        RegistryFailed: the registry does not answer.
    """
    return [
        _report(log, events, logged, topic, partition, anchored=anchored, say=say)
        for topic, partition in events.sources()
    ]


def _report(
    log: Log,
    events: Events,
    logged: Callable[[Inbound], DecisionLogEntry],
    topic: Topic,
    partition: int,
    *,
    anchored: Mapping[str, Mapping[int, str]],
    say: Say,
) -> ChainReport:
    chain = chain_of(topic.name, partition)
    check = Check(chain, anchored.get(chain, {}))
    with (
        closing(log.entries(log_partition(topic.name, partition))) as lying,
        closing(events.read(topic, partition)) as source,
    ):
        first = partial(events.first, topic, partition)
        comparison = _Comparison(topic, first, source, logged)
        for entry in check.entries(lying):
            if entry.sequence % SAY_EVERY == 1:
                say(chain, entry.sequence)
            check.problem = comparison.problem(entry, is_first=entry.sequence == check.begins)
            if check.problem is not None:
                break
        waiting = 0 if check.problem else comparison.left()
    return ChainReport(
        chain,
        check.begins,
        check.head.length,
        check.head.hash,
        check.repeated,
        comparison.compared,
        waiting,
        check.confirmed,
        check.problem,
    )


class _Comparison:
    """Walks along the events of a chain, entry by entry."""

    def __init__(
        self,
        topic: Topic,
        first: Callable[[], int],
        events: Iterator[Inbound],
        logged: Callable[[Inbound], DecisionLogEntry],
    ) -> None:
        self._topic = topic
        self._first = first
        self._events = events
        self._logged = logged
        self._next = next(events, None)
        self.compared = 0

    def problem(self, entry: DecisionLogEntry, *, is_first: bool) -> Problem | None:
        """Return how an entry and the events disagree.

        Events before the first entry that is kept need none: the topic may be older than the log,
        and retention removes the log's beginning.
        """
        event = self._next
        while event is not None and event.offset < entry.source_offset:
            if not is_first or entry.sequence == 1:
                return Problem(
                    "missing",
                    entry.chain,
                    entry.sequence,
                    f"The event at {entry.chain}/{event.offset} has none; this entry is of "
                    f"offset {entry.source_offset}.",
                )
            event = next(self._events, None)
        self._next = event
        if event is None or event.offset > entry.source_offset:
            return self._gone(entry)
        self._next = next(self._events, None)
        self.compared += 1
        return self._differs(entry, self._logged(event))

    def left(self) -> int:
        """Return how many events follow the last entry."""
        return sum(1 for _ in self._events) + (self._next is not None)

    def _gone(self, entry: DecisionLogEntry) -> Problem | None:
        """Return a problem where neither retention nor compaction explains that there is none."""
        if self._topic.compacted or entry.source_offset < self._first():
            return None
        return Problem(
            "altered",
            entry.chain,
            entry.sequence,
            f"The event at {entry.chain}/{entry.source_offset} is gone, before its time.",
        )

    @staticmethod
    def _differs(entry: DecisionLogEntry, event: DecisionLogEntry) -> Problem | None:
        names = ("value_sha256", "headers_sha256", "subject", "event_id", "source_time", "kind")
        differing = [name for name in names if getattr(entry, name) != getattr(event, name)]
        # One of both may be empty: the schema may not have been known then, or now.
        if entry.decision and event.decision and entry.decision != event.decision:
            differing.append("decision")
        if not differing:
            return None
        return Problem(
            "altered",
            entry.chain,
            entry.sequence,
            f"The event at {entry.chain}/{entry.source_offset} is not the one that was logged: "
            f"{', '.join(differing)} differ.",
        )
