"""The outbox → inspection-outcomes, in a thread: every decision once.

A decision is published with awaited delivery and then marked as sent. If the process ends in
between, its successor cannot know what happened; so it first searches the topic for a decision that
was tried before. Readers may deduplicate as well: a decision keeps its `outcome_id` and `ce_id`.
"""

import threading
import time
from typing import Final
from uuid import uuid5

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas import codec
from schemas.codec import Undecodable
from schemas.records import InspectionOutcome
from schemas.topics import INSPECTION_OUTCOMES
from streams.console.state.actions import CaseActions, Pending
from streams.console.state.tables import with_retries
from streams.kafka.delivery import Delivery, NotDelivered, is_lasting
from streams.kafka.events import NAMESPACE, Headers, cloud_event
from streams.kafka.origin import no_answer
from streams.kafka.registry import Registry
from streams.settings import Settings

IDLE_S: Final = 0.2
RETRY_MS: Final = 2_000
MARGIN_MS: Final = 300_000
"""Largest difference allowed between the clocks of console and broker."""
LOOK_UP_S: Final = 30.0
log = structlog.get_logger(__name__)


class Outbox:
    """Publishes decisions until it is stopped; also brings back snoozed cases when they are due."""

    def __init__(self, settings: Settings, actions: CaseActions) -> None:
        """Connect.

        Raises:
            NotDeployed: the registry lacks the schema.
            RegistryFailed: the registry does not answer.
        """
        self._settings = settings
        self._actions = actions
        registry = Registry(settings.registry_url)
        self._schema_id = registry.schema_id(INSPECTION_OUTCOMES)
        self._writers = registry.writers(INSPECTION_OUTCOMES)
        self._delivery = Delivery(settings, INSPECTION_OUTCOMES)
        self._stopping = threading.Event()
        self._notified = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console-outbox", daemon=True)
        self.error: BaseException | None = None

    def start(self) -> None:
        """Start to publish."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the decision at hand."""
        self._stopping.set()
        self._notified.set()
        if self._thread.is_alive():
            self._thread.join()

    def notify(self) -> None:
        """Publish soon: a decision waits."""
        self._notified.set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if not with_retries(self._round):
                    self._notified.wait(IDLE_S)
                    self._notified.clear()
        except KafkaException as error:  # the server checks `alive`
            self.error = error
            log.error("console outbox ended", problem=str(no_answer(error)))  # noqa: TRY400 - no bug of ours
        except Exception as error:
            self.error = error
            log.exception("console outbox ended")

    def _round(self) -> bool:
        self._actions.wake()
        return self.send_one()

    def send_one(self) -> bool:
        """Publish the oldest waiting decision; returns whether one was published.

        Raises:
            KafkaException: the broker will never accept it from this producer.
        """
        # The claim outlasts look-up and delivery, so that no other replica tries meanwhile.
        pending = self._actions.claim(
            round((LOOK_UP_S + self._settings.delivery_timeout_s + 30) * 1000)
        )
        if pending is None:
            return False
        outcome = pending.outcome
        try:
            if pending.tried is not None and self._is_published(pending):
                log.info("decision was published before", outcome_id=outcome.outcome_id)
            else:
                self._publish(outcome)
                log.info("decision published", outcome_id=outcome.outcome_id)
        except (NotDelivered, KafkaException, TimeoutError) as error:
            if is_lasting(error):
                raise
            log.warning("decision not published yet", error=str(error)[:300])
            self._actions.retry(outcome.outcome_id, RETRY_MS)
            return False
        self._actions.sent(outcome.outcome_id)
        return True

    def _publish(self, outcome: InspectionOutcome) -> None:
        self._delivery.put(
            key=outcome.declaration_id.encode(),
            value=codec.encode(outcome, self._schema_id),
            headers=list(_headers(outcome)),
        )

    def _is_published(self, pending: Pending) -> bool:
        """Search the topic for a decision, from shortly before the first attempt to the end."""
        consumer = Consumer(
            self._settings.confluent()
            | {
                "group.id": f"{self._settings.console_consumer_group}-outbox",  # needed, not joined
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
            }
        )
        try:
            deadline = time.monotonic() + LOOK_UP_S
            starts = self._offsets_at(consumer, (pending.tried or 0) - MARGIN_MS, deadline)
            consumer.assign(starts)
            unread = {start.partition for start in starts}
            while unread:
                if time.monotonic() > deadline:
                    raise TimeoutError("inspection-outcomes could not be read to its end")
                for message in consumer.consume(500, timeout=IDLE_S):
                    error = message.error()
                    if error is None:
                        if self._is_outcome(message.value(), pending.outcome):
                            return True
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its documented name
                        unread.discard(message.partition())
                    else:
                        raise KafkaException(error)
            return False
        finally:
            consumer.close()

    @staticmethod
    def _offsets_at(consumer: Consumer, at_ms: int, deadline: float) -> list[TopicPartition]:
        """Return the first offset of each partition at or after a time."""
        name = INSPECTION_OUTCOMES.name
        topic = consumer.list_topics(name, timeout=LOOK_UP_S).topics[name]
        return list(
            consumer.offsets_for_times(
                [TopicPartition(name, number, at_ms) for number in topic.partitions],
                timeout=max(0.1, deadline - time.monotonic()),
            )
        )

    def _is_outcome(self, value: bytes | None, outcome: InspectionOutcome) -> bool:
        try:
            published = codec.decode(value, InspectionOutcome, self._writers)
        except Undecodable:
            return False
        return published.outcome_id == outcome.outcome_id


def _headers(outcome: InspectionOutcome) -> Headers:
    trace = uuid5(NAMESPACE, f"{outcome.outcome_id}|trace").hex
    return cloud_event(
        outcome.SCHEMA,
        id_=str(uuid5(NAMESPACE, f"{outcome.outcome_id}|event")),
        source="redlane/console",
        time=outcome.decided_at,
        traceparent=f"00-{trace}-{trace[:16]}-01",
    )
