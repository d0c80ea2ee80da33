"""The topic decision-log: its chains read, and appended to by one writer each.

A transactional producer for each chain: who takes a chain over fences off whoever had it before
(a process that was frozen, say), and what that one had not committed is gone. Only then the end of
the chain is read, so it cannot move any more. It says where the chain goes on and which event was
logged last: no offset of a consumer group has to agree with it.
"""

from collections.abc import Generator, Sequence
from typing import Any, Final, Protocol
from uuid import uuid5

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from schemas import codec
from schemas.codec import Undecodable
from schemas.records import DecisionLogEntry
from schemas.topics import DECISION_LOG
from streams.audit.chain import Head, Placed
from streams.audit.sources import chain_of, log_partition
from streams.kafka.delivery import NotDelivered, producer
from streams.kafka.events import NAMESPACE, cloud_event
from streams.kafka.origin import contents, no_answer
from streams.kafka.registry import Decoder
from streams.settings import Settings

ANSWER_S: Final = 20.0
"""Longest wait for Kafka to answer."""
TRANSACTIONS: Final = "redlane-audit"
"""First part of the transactional ids: whoever has one writes the log, in whichever group."""
GROUP: Final = "redlane-log-ends"
UNGROUPED: Final = {"group.id": GROUP, "log_level": 0}
"""Of a client that asks for ends; a group is required, though it joins none."""
TAIL: Final = 64
"""Offsets from the end in which the last entry is searched first; markers lie between entries."""


def transactional_id(partition: int) -> str:
    """Return the id under which a partition of the log is written."""
    return f"{TRANSACTIONS}-{partition}"


def transactional_ids() -> list[str]:
    """Return those of the whole log."""
    return [transactional_id(partition) for partition in range(DECISION_LOG.partitions)]


class LogDamaged(Exception):  # noqa: N818 - says what happened
    """The end of a chain cannot be read, so nothing can be appended."""


class Log(Protocol):
    """The chains as they lie on their topic."""

    def entries(self, partition: int) -> Generator[Placed]:
        """Yield what lies in a partition, in order; to be closed."""


class KafkaLog:
    """The topic as it is now."""

    def __init__(self, settings: Settings, decode: Decoder) -> None:
        """Take what decodes entries; nothing is read yet."""
        self._settings = settings
        self._decode = decode
        self._consumer = Consumer(settings.confluent() | UNGROUPED)

    def entries(self, partition: int) -> Generator[Placed]:
        """Yield what lies in a partition, in order; to be closed.

        Raises:
            NotDeployed: the topic is missing.
            NotDelivered: Kafka does not answer, or stopped answering.
        """
        return self._read(partition, 0)

    def head(self, partition: int) -> Head:
        """Return the end of a chain.

        Raises:
            NotDeployed: the topic is missing.
            NotDelivered: Kafka does not answer, or stopped answering.
            LogDamaged: what lies at the end is no entry.
        """
        last: Placed | None = None
        low, high = self._watermarks(partition)
        back = TAIL
        while last is None and high > low:
            for last in self._read(partition, high - back):  # noqa: B007 - the last one counts
                pass
            if high - back <= low:
                break
            back *= 16
        if last is None:
            return Head()
        if last.entry is None:
            raise LogDamaged(
                f"{DECISION_LOG.name}, partition {partition}, offset {last.offset} holds no entry: "
                "somebody else wrote there. Find out who with `redlane audit verify`."
            )
        return Head.of(last.entry)

    def _watermarks(self, partition: int) -> tuple[int, int]:
        try:
            place = TopicPartition(DECISION_LOG.name, partition)
            return self._consumer.get_watermark_offsets(place, timeout=ANSWER_S)
        except KafkaException as error:
            raise no_answer(error) from error

    def _read(self, partition: int, begin: int) -> Generator[Placed]:
        begins = {partition: max(0, begin)}
        for message in contents(self._settings, DECISION_LOG, within_s=ANSWER_S, begin=begins):
            yield Placed(message.offset() or 0, self._entry(message))

    def _entry(self, message: Message) -> DecisionLogEntry | None:
        try:
            return self._decode(DECISION_LOG, message.value(), DecisionLogEntry)
        except Undecodable:
            return None


class ChainWriter:
    """The one writer of a chain, until another takes it over."""

    def __init__(
        self, settings: Settings, log: KafkaLog, topic: str, partition: int, schema_id: int
    ) -> None:
        """Fence off any other writer, then read where the chain ends.

        Args:
            settings: of Kafka.
            log: that is written.
            topic: of the events.
            partition: of theirs.
            schema_id: of entries.

        Raises:
            NotDelivered: Kafka does not answer.
            NotDeployed: the log is missing.
            LogDamaged: what lies at the end is no entry.
        """
        self.chain = chain_of(topic, partition)
        self._partition = log_partition(topic, partition)
        self._schema_id = schema_id
        self._within_s = settings.delivery_timeout_s
        transactional: dict[str, Any] = {
            "transactional.id": transactional_id(self._partition),
            "transaction.timeout.ms": round(self._within_s * 1000),
        }
        self._producer = producer(settings, **transactional)
        try:
            self._producer.init_transactions(max(self._within_s, ANSWER_S))
        except KafkaException as error:
            raise NotDelivered(
                f"{self.chain} cannot be taken over: {error.args[0].str()}. Check that Kafka "
                f"answers, and the rights to the transactional ids {TRANSACTIONS}-…"
            ) from error
        self.head = log.head(self._partition)

    def append(self, events: Sequence[DecisionLogEntry]) -> None:
        """Append the entries of events, all of them or none.

        Raises:
            NotDelivered: they were not; another writer has the chain, or Kafka does not answer.
        """
        head = self.head
        try:
            self._producer.begin_transaction()
            for event in events:
                entry = head.next(event)
                self._produce(entry)
                head = Head.of(entry)
            self._producer.commit_transaction(self._within_s)
        except KafkaException as error:
            raise NotDelivered(
                f"{self.chain} could not be logged: {error.args[0].str()}. Another process may log "
                "it now; else check Kafka, and start this again."
            ) from error
        self.head = head

    def _produce(self, entry: DecisionLogEntry) -> None:
        headers = cloud_event(
            entry.SCHEMA,
            id_=str(uuid5(NAMESPACE, f"{entry.chain}|{entry.sequence}|{entry.hash}")),
            source="redlane/audit",
            time=entry.source_time,
            traceparent=None,
        )
        event: dict[str, Any] = {
            "key": entry.chain.encode(),
            "value": codec.encode(entry, self._schema_id),
            "headers": list(headers),
            "partition": self._partition,
        }
        while True:
            try:
                self._producer.produce(DECISION_LOG.name, **event)
            except BufferError:  # the client's queue is full: let it send
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return
