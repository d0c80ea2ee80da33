"""Events that the console cannot show → dead-letters, each delivered before it counts as read."""

from typing import Any, Final, cast

from confluent_kafka import Message, Producer

from schemas.codec import Undecodable
from schemas.topics import DEAD_LETTERS
from streams.dead_letter import dead_letter
from streams.events import Inbound
from streams.send import deliver
from streams.settings import Settings

STAGE: Final = "console"


class Letters:
    """Publishes dead letters."""

    def __init__(self, settings: Settings) -> None:
        """Connect."""
        self._delivery_s = settings.delivery_timeout_s
        self._producer = Producer(
            settings.confluent()
            | {
                "enable.idempotence": True,
                "compression.type": "zstd",
                "partitioner": "murmur2_random",
                "message.max.bytes": DEAD_LETTERS.max_message_mb << 20,
                "delivery.timeout.ms": int(self._delivery_s * 1000),
            }
        )

    def put(self, message: Message, error: Undecodable) -> None:
        """Publish the dead letter of an event, and wait for it.

        Raises:
            KafkaException: it was refused.
            NotDelivered: the broker does not answer.
        """
        letter = dead_letter(_inbound(message), error, stage=STAGE, bundle_id=STAGE)
        deliver(
            self._producer,
            letter.topic,
            self._delivery_s,
            key=letter.key,
            value=letter.value,
            headers=list(letter.headers),
            timestamp=round((letter.timestamp or 0) * 1000),
        )


def _inbound(message: Message) -> Inbound:
    # The client's types allow None of a message that is an error, and a mapping of headers.
    found: Any = message
    pairs = cast(list[tuple[str, bytes | None]], message.headers() or [])
    return Inbound(
        topic=found.topic(),
        partition=found.partition(),
        offset=found.offset(),
        key=found.key(),
        value=found.value(),
        timestamp=found.timestamp()[1] / 1000,
        headers=tuple((name, value or b"") for name, value in pairs),
    )
