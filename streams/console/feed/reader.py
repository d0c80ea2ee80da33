"""alerts, assessments, explanations, inspection-outcomes → the database, in a thread.

A consumer group shares the partitions among replicas. Each partition starts at the offset in the
database, not at the group's commit, so that tables and offsets never disagree. An event that cannot
be decoded becomes a dead letter. While no broker answers, the pages stay and say so: see
docs/decisions/0010-console.md.
"""

import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from schemas import rules
from schemas.codec import Undecodable
from schemas.records import Alert, Assessment, Explanation, InspectionOutcome
from schemas.topics import DEAD_LETTERS, TOPICS
from streams.console.state.ingest import Event, ingest, position
from streams.console.state.tables import Database, with_retries
from streams.kafka.dead_letter import DeadLetterLimit, dead_letter
from streams.kafka.delivery import Delivery, NotDelivered, is_lasting
from streams.kafka.events import received
from streams.kafka.origin import no_answer
from streams.kafka.registry import Decoder, Registry
from streams.kafka.unread import Gap, report
from streams.settings import Settings

KINDS: Final[Mapping[str, type[Event]]] = {
    "alerts": Alert,
    "assessments": Assessment,
    "explanations": Explanation,
    "inspection-outcomes": InspectionOutcome,
}
READ: Final = tuple(TOPICS[name] for name in KINDS)
"""The topics that the console reads."""
STAGE: Final = "console"
BATCH: Final = 500
POLL_S: Final = 0.2
SESSION_MS: Final = 10_000
PROBE_S: Final = 5.0
log = structlog.get_logger(__name__)


class Reader:
    """Follows the topics until it is stopped; `error` is what ended it before."""

    def __init__(self, settings: Settings, database: Database) -> None:
        """Connect, without reading yet.

        Raises:
            NotDeployed: the registry lacks a schema.
            RegistryFailed: the registry does not answer.
        """
        registry = Registry(settings.registry_url)
        registry.wait(READ[0])
        self._decode = Decoder(registry.writers, READ)
        self._database = database
        self._letters = Delivery(settings, DEAD_LETTERS)
        self._limit = DeadLetterLimit(
            in_a_row=settings.dead_letters_in_a_row, share=settings.dead_letter_share
        )
        self._group = settings.console_consumer_group
        self._consumer = Consumer(
            settings.confluent()
            | {
                "group.id": self._group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                # So soon a successor starts after a crash.
                "session.timeout.ms": SESSION_MS,
                "error_cb": self._on_error,
            }
        )
        self._probed = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="console-reader", daemon=True)
        self.error: BaseException | None = None
        self.begun = False
        """Whether partitions were ever assigned."""
        self.cut_off = False
        """Whether no broker answers: the pages may be out of date."""

    def start(self) -> None:
        """Start to read."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch and leave the group."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _follow(self) -> None:
        try:
            self._consumer.subscribe([topic.name for topic in READ], on_assign=self._on_assign)
            while not self._stopping.is_set():
                self._process(self._consumer.consume(BATCH, timeout=POLL_S))
                self._probe()
        except KafkaException as error:  # the server checks `alive`
            self.error = error
            log.error("console reader ended", problem=str(no_answer(error)))  # noqa: TRY400 - no bug of ours
        except Exception as error:
            self.error = error
            log.exception("console reader ended")
        finally:
            self._consumer.close()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            offset = with_retries(position, self._database, partition.topic, partition.partition)
            partition.offset = OFFSET_BEGINNING if offset is None else offset
            if offset is not None:
                self._tell_of_gap(partition)
        consumer.assign(partitions)
        self.begun = True
        log.info("console reads", partitions=len(partitions))

    def _tell_of_gap(self, partition: TopicPartition) -> None:
        """Tell of events that were removed before they were read."""
        try:
            first, _ = self._consumer.get_watermark_offsets(partition, timeout=PROBE_S)
        except KafkaException as error:
            log.warning("not known whether events were removed unread", error=str(error))
            return
        if first > partition.offset:
            gap = Gap(partition.topic, partition.partition, partition.offset, first)
            report(gap, self._group)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self.cut_off:  # noqa: SLF001 - its documented name
            self.cut_off = True
            log.error("no broker answers: no new alerts", error=error.str())

    def _probe(self) -> None:
        """While cut off, check every PROBE_S whether a broker answers again."""
        if not self.cut_off or time.monotonic() < self._probed + PROBE_S:
            return
        try:
            self._consumer.list_topics(READ[0].name, timeout=POLL_S)
        except KafkaException:
            self._probed = time.monotonic()
        else:
            self.cut_off = False
            log.info("a broker answers again")

    def _process(self, messages: list[Any]) -> None:
        events: list[Event] = []
        dead: list[bool] = []
        positions: dict[tuple[str, int], int] = {}
        for message in messages:
            if message.error() is not None:
                error = KafkaException(message.error())
                if is_lasting(error):
                    raise error
                continue  # the client tries again by itself
            try:
                events.append(self._decode_event(message))
            except Undecodable as undecodable:
                if not self._dead_letter(message, undecodable):
                    return  # stopping: the whole batch is read again
                dead.append(True)
            else:
                dead.append(False)
            positions[message.topic(), message.partition()] = message.offset() + 1
        if positions:
            with_retries(ingest, self._database, events, positions)
        for is_dead in dead:
            self._limit.count(dead=is_dead)

    def _decode_event(self, message: Any) -> Event:
        topic = message.topic()
        event = self._decode(TOPICS[topic], message.value(), KINDS[topic])
        if isinstance(event, InspectionOutcome):
            rules.check_outcome(event, message.key())
        return event

    def _dead_letter(self, message: Any, error: Undecodable) -> bool:
        """Publish a dead letter, however long that takes; returns False if stopped before.

        Raises:
            KafkaException: no broker will ever accept it.
        """
        letter = dead_letter(received(message), error, stage=STAGE, bundle_id=STAGE)
        log.warning(
            "dead letter", topic=message.topic(), offset=message.offset(), reason=error.reason
        )
        while not self._stopping.is_set():
            try:
                self._letters.put(key=letter.key, value=letter.value, headers=list(letter.headers))
            except (NotDelivered, KafkaException) as problem:
                if is_lasting(problem):
                    raise
                self.cut_off = True
                log.warning("dead letter not published yet", error=str(problem)[:300])
            else:
                return True
        return False
