"""Events → their topics, with awaited delivery: one at a time, or many at once."""

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.topics import Topic
from streams.settings import Settings

LASTING: Final = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
"""Errors that do not pass by themselves."""


class NotDelivered(Exception):  # noqa: N818 - says what happened
    """The broker did not take every event."""


def is_lasting(error: Exception) -> bool:
    """Whether another attempt would fail too."""
    if not isinstance(error, KafkaException):
        return False
    cause: KafkaError = error.args[0]
    return bool(cause.fatal()) or cause.code() in LASTING


def producer(settings: Settings, *, max_message_mb: int = 1, **more: Any) -> Producer:
    """Return a producer whose events arrive once and in order.

    Args:
        settings: of Kafka.
        max_message_mb: of the largest event.
        more: further settings of librdkafka.
    """
    return Producer(
        settings.confluent()
        | {
            "enable.idempotence": True,
            "compression.type": settings.kafka_compression,
            "linger.ms": 5,
            "message.max.bytes": max_message_mb << 20,
            # As Kafka's own clients: a key goes to the same partition, whoever sends it.
            "partitioner": "murmur2_random",
        }
        | more
    )


class Deliveries:
    """Sends many events at once, and collects what the broker refuses."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._refused: list[str] = []

    def put(self, topic: str, *, then: Callable[[], None] = lambda: None, **event: Any) -> None:
        """Send an event without waiting for it, except where too many wait already.

        Args:
            topic: name of it.
            then: called once the broker has the event.
            event: key, value, headers and timestamp, as `Producer.produce` takes them.
        """

        def report(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                self._refused.append(error.str())
            else:
                then()

        while True:
            try:
                self._producer.produce(topic, on_delivery=report, **event)
            except BufferError:  # the client's queue is full: let it send
                self._producer.poll(0.1)
            except KafkaException as error:  # the client refuses it, as too large
                self._refused.append(error.args[0].str())
                return
            else:
                self._producer.poll(0)
                return

    def wait(self, within_s: float = 60.0) -> None:
        """Wait until the broker has every event.

        Raises:
            NotDelivered: an event was refused, or the broker does not answer.
        """
        waiting = self._producer.flush(within_s)
        if waiting or self._refused:
            raise NotDelivered(
                f"Kafka did not take every event: {waiting} wait, {len(self._refused)} were "
                f"refused {sorted(set(self._refused))[:3]}. Check REDLANE_KAFKA_BOOTSTRAP_SERVERS."
            )


class Delivery:
    """Delivers events to one topic, one at a time."""

    def __init__(self, settings: Settings, topic: Topic) -> None:
        """Connect."""
        self._topic = topic.name
        self._within_s = settings.delivery_timeout_s
        self._producer = producer(
            settings,
            max_message_mb=topic.max_message_mb,
            **{
                "linger.ms": 0,
                # After this time nothing is in flight any more, so that a second attempt is safe.
                "delivery.timeout.ms": int(self._within_s * 1000),
            },
        )

    def put(self, **event: Any) -> None:
        """Publish an event and wait until the broker has it.

        Args:
            event: key, value, headers and timestamp, as `Producer.produce` takes them.

        Raises:
            KafkaException: it was refused; see `is_lasting`.
            NotDelivered: the broker does not answer.
        """
        reports: list[KafkaError | None] = []
        self._producer.produce(
            self._topic, on_delivery=lambda error, _message: reports.append(error), **event
        )
        self._producer.flush(self._within_s + 10)
        if not reports:
            raise NotDelivered("the broker does not answer")
        if reports[0] is not None:
            raise KafkaException(reports[0])
