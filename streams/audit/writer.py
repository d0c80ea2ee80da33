"""assessments, inspection-outcomes, risk-profiles, model-releases → decision-log, in chains."""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from schemas.topics import DECISION_LOG
from streams import metrics
from streams.audit import anchors
from streams.audit.anchors import Anchor
from streams.audit.log import ANSWER_S, ChainWriter, KafkaLog
from streams.audit.sources import SOURCES, check_room, logged
from streams.kafka.delivery import NotDelivered, is_lasting
from streams.kafka.events import received
from streams.kafka.origin import no_answer, partitions_of
from streams.kafka.registry import Decoder, Registry
from streams.kafka.unread import Gap, report
from streams.object_storage import StorageFailed
from streams.settings import Settings

BATCH: Final = 500
"""Most events of a transaction."""
POLL_S: Final = 0.2
TAKEN_AT_ONCE: Final = 8
"""Chains: to take one over is to wait for Kafka some times."""
SESSION_MS: Final = 10_000
Place = tuple[str, int]
"""Topic and partition of events."""
log = structlog.get_logger(__name__)


class SourceRecreated(Exception):  # noqa: N818 - says what happened
    """The offsets of a topic begin anew, so events cannot be told from those logged before."""


class Writer:
    """Logs every event of the partitions that the group gives it, until it is stopped."""

    def __init__(self, settings: Settings) -> None:
        """Connect, without joining the group yet.

        Raises:
            NotDeployed: the registry lacks a schema, or Kafka a topic.
            RegistryFailed, NoAnswer: the registry or Kafka does not answer.
        """
        self._settings = settings
        registry = Registry(settings.registry_url)
        registry.wait(DECISION_LOG)
        self._schema_id = registry.schema_id(DECISION_LOG)
        decode = Decoder(registry.writers, (*SOURCES, DECISION_LOG))
        self._decode = decode
        self._log = KafkaLog(settings, decode)
        self._consumer = Consumer(
            settings.confluent()
            | {
                "group.id": settings.audit_consumer_group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": SESSION_MS,
            }
        )
        try:
            self._room = len(partitions_of(self._consumer, DECISION_LOG, ANSWER_S))
        except KafkaException as error:
            raise no_answer(error) from error
        self._chains: dict[Place, ChainWriter] = {}
        self._anchored: dict[str, int] = {}
        """Chain → its length at the last anchor."""
        self._error: Exception | None = None
        self._stopping = threading.Event()

    @property
    def assigned(self) -> int:
        """Partitions of sources that it logs."""
        return len(self._chains)

    def stop(self) -> None:
        """Finish the transaction at hand, and end."""
        self._stopping.set()

    def run(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Log until stopped.

        Raises:
            NotDelivered: another process logs, or Kafka does not answer; only a restart helps.
            LogDamaged, TooFewPartitions, SourceRecreated: see there.
        """
        anchored = clock()
        try:
            self._consumer.subscribe(
                [topic.name for topic in SOURCES],
                on_assign=self._on_assign,
                on_revoke=self._forget,
                on_lost=self._forget,
            )
            while not self._stopping.is_set():
                self._append(self._consumer.consume(BATCH, timeout=POLL_S))
                if self._error is not None:
                    raise self._error
                if clock() - anchored > self._settings.audit_anchor_s:
                    self.anchor()
                    anchored = clock()
            self.anchor()
        finally:
            self._consumer.close()

    def anchor(self) -> None:
        """Tell the ends of the chains that have grown; a storage that fails stops nothing."""
        now = datetime.now(UTC)
        grown = [
            Anchor.of(chain.chain, chain.head, now)
            for chain in self._chains.values()
            if chain.head.length > self._anchored.get(chain.chain, 0)
        ]
        for anchor in grown:
            log.info("anchor", chain=anchor.chain, length=anchor.length, hash=anchor.hash)
        if self._settings.audit_anchors_bucket and grown:
            try:
                anchors.store(self._settings, grown)
            except (StorageFailed, TimeoutError) as error:
                metrics.ANCHORS.labels("failed").inc(len(grown))
                log.error(  # noqa: TRY400 - the storage's fault, not a line of ours
                    "anchors not stored", error=str(error) or type(error).__name__
                )
                return
        metrics.ANCHORS.labels("told").inc(len(grown))
        self._anchored |= {anchor.chain: anchor.length for anchor in grown}

    def _append(self, messages: Iterable[Message]) -> None:
        """Log events: one transaction for each chain."""
        events = defaultdict[Place, list[Any]](list)
        for message in messages:
            if message.error() is not None:
                error = KafkaException(message.error())
                if is_lasting(error):
                    raise NotDelivered(
                        f"{message.topic()} cannot be read: {error.args[0].str()}."
                    ) from error
                continue  # the client tries again by itself
            event = received(message)
            events[event.topic, event.partition].append(event)
        for place, of_place in events.items():
            chain = self._chains.get(place)
            if chain is None:
                continue  # given back meanwhile: the next one to log it reads them again
            new = [event for event in of_place if event.offset > chain.head.source_offset]
            if new:
                chain.append([logged(event, self._decode) for event in new])
                metrics.DECISIONS_LOGGED.labels(place[0]).inc(len(new))
        # For whoever watches the lag: where a chain goes on, it says itself.
        if ends := [
            TopicPartition(*place, some[-1].offset + 1)
            for place, some in events.items()
            if place in self._chains
        ]:
            with contextlib.suppress(KafkaException):  # told by the client's own log
                self._consumer.commit(offsets=ends, asynchronous=True)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Take chains over; an error is kept, because the client swallows what is raised here."""
        try:
            for place in partitions:
                check_room(self._room, place.topic, place.partition)
            with ThreadPoolExecutor(TAKEN_AT_ONCE) as threads:
                chains = list(threads.map(self._taken_over, partitions))
            for place, chain in zip(partitions, chains, strict=True):
                place.offset = self._next_offset(consumer, chain, place)
            self._chains |= {
                (place.topic, place.partition): chain
                for place, chain in zip(partitions, chains, strict=True)
            }
            consumer.assign(partitions)
            log.info("decisions are logged", partitions=len(partitions))
        except Exception as error:  # noqa: BLE001 - `run` raises it
            self._error = error

    def _taken_over(self, place: TopicPartition) -> ChainWriter:
        return ChainWriter(self._settings, self._log, place.topic, place.partition, self._schema_id)

    def _forget(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for place in partitions:
            self._chains.pop((place.topic, place.partition), None)

    @staticmethod
    def _next_offset(consumer: Consumer, chain: ChainWriter, place: TopicPartition) -> int:
        """Return where to read on; tell of events that were removed before they were logged.

        Raises:
            SourceRecreated: the events are not those that were logged before.
        """
        following = chain.head.source_offset + 1
        if following == 0:
            return OFFSET_BEGINNING
        first, end = consumer.get_watermark_offsets(place, timeout=ANSWER_S)
        if following > end:
            raise SourceRecreated(
                f"{chain.chain} ends before what was logged of it: the topic was created again. "
                f"Keep {DECISION_LOG.name} as it is, elsewhere, and create it again too."
            )
        if first > following:
            report(Gap(place.topic, place.partition, following, first), "audit")
        return following
