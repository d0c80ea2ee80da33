"""The outbox → inspection-outcomes, in a thread: every decision once.

A decision is published with awaited delivery and then marked. If the process ends in between, the
next one cannot know; so what was tried before is first looked up on the topic. Whoever reads may
still keep ids: `outcome_id` and `ce_id` of a decision never change.
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
from streams.kafka.registry import Registry
from streams.settings import Settings

IDLE_S: Final = 0.2
RETRY_MS: Final = 2_000
MARGIN_MS: Final = 300_000
"""Clocks of console and broker may differ by so much."""
LOOK_UP_S: Final = 30.0
log = structlog.get_logger(__name__)


class Outbox:
    """Publishes decisions until it is stopped; also wakes what was snoozed."""

    def __init__(self, settings: Settings, work: CaseActions) -> None:
        """Connect.

        Raises:
            NotDeployed: the registry lacks the schema.
        """
        self._settings = settings
        self._work = work
        registry = Registry(settings.registry_url)
        self._schema_id = registry.schema_id(INSPECTION_OUTCOMES)
        self._writers = registry.writers(INSPECTION_OUTCOMES)
        self._delivery = Delivery(settings, INSPECTION_OUTCOMES)
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console-outbox", daemon=True)
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is under way."""
        self._stopping.set()
        self._hurry.set()
        if self._thread.is_alive():
            self._thread.join()

    def hurry(self) -> None:
        """Tell that there is something to publish."""
        self._hurry.set()

    @property
    def alive(self) -> bool:
        """Whether decisions are published."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if not with_retries(self._round):
                    self._hurry.wait(IDLE_S)
                    self._hurry.clear()
        except Exception as error:  # the server sees that the thread ended
            self.error = error
            log.exception("console outbox ended")

    def _round(self) -> bool:
        self._work.wake()
        return self.send_one()

    def send_one(self) -> bool:
        """Publish the oldest decision that waits; returns whether there was one.

        Raises:
            KafkaException: the broker will never take it from this producer.
        """
        # The lease outlasts the look-up and the delivery, so that no replica tries meanwhile.
        pending = self._work.claim(
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
            self._work.retry(outcome.outcome_id, RETRY_MS)
            return False
        self._work.sent(outcome.outcome_id)
        return True

    def _publish(self, outcome: InspectionOutcome) -> None:
        self._delivery.put(
            key=outcome.declaration_id.encode(),
            value=codec.encode(outcome, self._schema_id),
            headers=list(_headers(outcome)),
        )

    def _is_published(self, pending: Pending) -> bool:
        """Look for a decision on its topic, from shortly before the first attempt to the end."""
        consumer = Consumer(
            self._settings.confluent()
            | {
                "group.id": f"{self._settings.console_consumer_group}-outbox",  # none is joined
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
            }
        )
        try:
            deadline = time.monotonic() + LOOK_UP_S
            places = self._from(consumer, (pending.tried or 0) - MARGIN_MS, deadline)
            consumer.assign(places)
            waiting = {place.partition for place in places}
            while waiting:
                if time.monotonic() > deadline:
                    raise TimeoutError("inspection-outcomes could not be read to its end")
                for message in consumer.consume(500, timeout=IDLE_S):
                    error = message.error()
                    if error is None:
                        if self._is(message.value(), pending.outcome):
                            return True
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                        waiting.discard(message.partition())
                    else:
                        raise KafkaException(error)
            return False
        finally:
            consumer.close()

    @staticmethod
    def _from(consumer: Consumer, at: int, deadline: float) -> list[TopicPartition]:
        name = INSPECTION_OUTCOMES.name
        found = consumer.list_topics(name, timeout=LOOK_UP_S).topics[name]
        return list(
            consumer.offsets_for_times(
                [TopicPartition(name, number, at) for number in found.partitions],
                timeout=max(0.1, deadline - time.monotonic()),
            )
        )

    def _is(self, value: bytes | None, outcome: InspectionOutcome) -> bool:
        try:
            found = codec.decode(value, InspectionOutcome, self._writers)
        except Undecodable:
            return False
        return found.outcome_id == outcome.outcome_id


def _headers(outcome: InspectionOutcome) -> Headers:
    trace = uuid5(NAMESPACE, f"{outcome.outcome_id}|trace").hex
    return cloud_event(
        outcome.SCHEMA,
        id_=str(uuid5(NAMESPACE, f"{outcome.outcome_id}|event")),
        source="redlane/console",
        time=outcome.decided_at,
        traceparent=f"00-{trace}-{trace[:16]}-01",
    )
