"""One event → its topic, with awaited delivery: what must be there before anything else is done."""

from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas.topics import Topic
from streams.settings import Settings

LASTING: Final = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
"""What does not pass by itself."""


class NotDelivered(Exception):  # noqa: N818 - says what happened
    """The broker did not take every event."""


def is_lasting(error: Exception) -> bool:
    """Tell whether it would be in vain to try again."""
    if not isinstance(error, KafkaException):
        return False
    told: KafkaError = error.args[0]
    return bool(told.fatal()) or told.code() in LASTING


class Delivery:
    """Delivers events to one topic, one at a time."""

    def __init__(self, settings: Settings, topic: Topic) -> None:
        """Connect."""
        self._topic = topic.name
        self._within_s = settings.delivery_timeout_s
        self._producer = Producer(
            settings.confluent()
            | {
                "enable.idempotence": True,
                "compression.type": "zstd",
                "partitioner": "murmur2_random",
                "message.max.bytes": topic.max_message_mb << 20,
                # After this nothing is on its way any more, so that a second attempt is safe.
                "delivery.timeout.ms": int(self._within_s * 1000),
            }
        )

    def put(self, **event: Any) -> None:
        """Publish an event and wait until the broker has it.

        Args:
            event: key, value, headers and timestamp, as `Producer.produce` takes them.

        Raises:
            KafkaException: it was refused; `is_lasting` tells whether for good.
            NotDelivered: the broker does not answer.
        """
        told: list[KafkaError | None] = []
        self._producer.produce(
            self._topic, on_delivery=lambda error, _message: told.append(error), **event
        )
        self._producer.flush(self._within_s + 10)
        if not told:
            raise NotDelivered("the broker does not answer")
        if told[0] is not None:
            raise KafkaException(told[0])
