"""The place of an event → the event: one record of Kafka, fetched by its offset."""

import re
import threading
import time
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.topics import DECLARATIONS
from streams.kafka.events import Inbound, received
from streams.settings import Settings

PLACE: Final = re.compile(
    r"(?P<topic>[\w.-]+)/(?P<partition>\d{1,9})/(?P<offset>\d{1,18})", re.ASCII
)
GONE: Final = (
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001 - its name
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - its name
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - its name
)
"""The record has expired, or the topic was created again."""


class Origins:
    """Fetches declarations, one at a time. Thread safe; joins no consumer group."""

    def __init__(self, settings: Settings, *, within_s: float = 10.0) -> None:
        """Connect; `within_s` is for one record."""
        self._within_s = within_s
        self._lock = threading.Lock()
        self._consumer = Consumer(
            settings.confluent()
            | {
                "group.id": "redlane-origin",  # required, though it joins no group
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                # A fetch waits behind the previous one, which asks for more records than there are.
                "fetch.wait.max.ms": 10,
                "queued.max.messages.kbytes": 1024,  # one record is needed, not those after it
            }
        )

    def __call__(self, origin: str) -> Inbound | None:
        """Return the declaration at topic/partition/offset; None where it is gone.

        Raises:
            KafkaException: Kafka does not answer.
            TimeoutError: Kafka does not send the record in time.
        """
        place = PLACE.fullmatch(origin)
        if place is None or place["topic"] != DECLARATIONS.name:
            return None
        with self._lock:
            try:
                return self._fetched(int(place["partition"]), int(place["offset"]))
            except KafkaException as error:
                if error.args[0].code() in GONE:
                    return None
                raise
            finally:
                self._consumer.unassign()

    def _fetched(self, partition: int, offset: int) -> Inbound | None:
        deadline = time.monotonic() + self._within_s
        at = TopicPartition(DECLARATIONS.name, partition, offset)
        low, high = self._consumer.get_watermark_offsets(at, timeout=self._within_s)
        if not low <= offset < high:
            return None
        self._consumer.assign([at])
        while time.monotonic() < deadline:
            message = self._consumer.poll(self._within_s)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            if message.offset() != offset:
                return None
            return received(message)
        raise TimeoutError(f"Kafka did not give a record within {self._within_s:g} s.")
