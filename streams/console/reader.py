"""alerts, assessments, explanations, inspection-outcomes → the store, in a thread.

A consumer group shares the partitions among replicas; where each begins is told by the store, not
by the group's commits, so that the store and the offsets never disagree. An event that cannot be
read is logged and skipped: its writer is ours to mend, and it still lies on the topic.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.codec import Undecodable
from schemas.records import Alert, Assessment, Explanation, InspectionOutcome
from schemas.topics import TOPICS
from streams.console.store import Event, Store
from streams.registry import Decoder, Registry
from streams.settings import Settings

KINDS: Final[Mapping[str, type[Event]]] = {
    "alerts": Alert,
    "assessments": Assessment,
    "explanations": Explanation,
    "inspection-outcomes": InspectionOutcome,
}
READ: Final = tuple(TOPICS[name] for name in KINDS)
"""The topics that the console reads."""
BATCH: Final = 500
POLL_S: Final = 0.2
SESSION_MS: Final = 10_000
FATAL: Final = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)
log = structlog.get_logger(__name__)


class Reader:
    """Follows the topics until it is stopped; `error` tells what ended it before."""

    def __init__(self, settings: Settings, store: Store) -> None:
        """Connect; nothing is read yet.

        Raises:
            NotDeployed: the registry lacks a schema.
        """
        self._decode = Decoder(Registry(settings.registry_url).writers, READ)
        self._store = store
        self._consumer = Consumer(
            settings.confluent()
            | {
                "group.id": settings.console_consumer_group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                # After a crash the next one begins so soon.
                "session.timeout.ms": SESSION_MS,
            }
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="console-reader", daemon=True)
        self.error: BaseException | None = None
        self.assigned = 0
        """Partitions that this replica reads."""

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch and leave the group."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the topics are followed."""
        return self._thread.is_alive()

    def _follow(self) -> None:
        try:
            self._consumer.subscribe(
                [topic.name for topic in READ],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_revoke,
            )
            while not self._stopping.is_set():
                self._take(self._consumer.consume(BATCH, timeout=POLL_S))
        except Exception as error:  # the server sees that the thread ended
            self.error = error
            log.exception("console reader ended")
        finally:
            self._consumer.close()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for place in partitions:
            known = self._store.position(place.topic, place.partition)
            place.offset = OFFSET_BEGINNING if known is None else known
        consumer.assign(partitions)
        self.assigned = len(partitions)
        log.info("console reads", partitions=len(partitions))

    def _on_revoke(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self.assigned = 0

    def _take(self, messages: list[Any]) -> None:
        events: list[Event] = []
        positions: dict[tuple[str, int], int] = {}
        for message in messages:
            if (error := message.error()) is not None:
                if error.fatal() or error.code() in FATAL:
                    raise KafkaException(error)
                continue  # the client goes on trying
            event = self._decoded(message.topic(), message.value(), message.offset())
            if event is not None:
                events.append(event)
            positions[message.topic(), message.partition()] = message.offset() + 1
        if positions:
            self._store.take(events, positions)

    def _decoded(self, topic: str, value: bytes | None, offset: int) -> Event | None:
        try:
            return self._decode(TOPICS[topic], value, KINDS[topic])
        except Undecodable as error:
            log.warning(
                "event skipped",
                topic=topic,
                offset=offset,
                reason=error.reason,
                detail=error.detail,
            )
            return None
