"""dead-letters → a list for a person, or back to the topics they came from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from schemas.topics import DEAD_LETTERS, TOPICS
from streams.kafka.dead_letter import ERRORS, OURS, is_complete, original_headers
from streams.kafka.delivery import Deliveries, NotDelivered, producer
from streams.kafka.events import Headers, headers_of
from streams.settings import Settings

ANSWER_S: Final = 10.0
"""Longest wait for Kafka to answer."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it lies on its topic."""

    id: str
    origin: str
    """topic/partition/offset of the event."""
    topic: str
    reason: str
    message: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def key_text(self) -> str:
        """The key for a person."""
        return (self.key or b"").decode(errors="replace")


def read_letters(settings: Settings) -> Iterator[Letter]:
    """Yield every dead letter that lies on the topic now, each id once.

    Raises:
        NotDelivered: the broker does not answer, or stopped answering.
    """
    consumer = Consumer(settings.confluent() | {"group.id": "redlane-replay", "log_level": 0})
    try:
        ends = _ends(consumer)
    except KafkaException as error:
        raise NotDelivered(
            f"Kafka does not answer: {error.args[0].str()}. Check REDLANE_KAFKA_BOOTSTRAP_SERVERS, "
            "or start it on this machine with `redlane up`."
        ) from error
    consumer.assign([TopicPartition(DEAD_LETTERS.name, partition, 0) for partition in ends])
    seen_ids = set()
    try:
        while ends:
            message = consumer.poll(10)
            if message is None or message.error() is not None:
                raise NotDelivered("The broker did not deliver the rest of the dead letters.")
            letter = _letter(message)
            if letter.id not in seen_ids:
                seen_ids.add(letter.id)
                yield letter
            if (message.offset() or 0) + 1 >= ends[message.partition() or 0]:
                del ends[message.partition() or 0]
    finally:
        consumer.close()


def _ends(consumer: Consumer) -> dict[int, int]:
    """Return the end of each partition that has dead letters."""
    ends = {}
    topic = consumer.list_topics(DEAD_LETTERS.name, timeout=ANSWER_S).topics[DEAD_LETTERS.name]
    for partition in topic.partitions:
        place = TopicPartition(DEAD_LETTERS.name, partition)
        low, high = consumer.get_watermark_offsets(place, timeout=ANSWER_S)
        if high > low:
            ends[partition] = high
    return ends


def _letter(message: Message) -> Letter:
    headers = headers_of(message)
    texts = {name: value.decode(errors="replace") for name, value in headers}
    names = (f"{ERRORS}topic", f"{ERRORS}partition", f"{ERRORS}offset")
    return Letter(
        id=texts.get(f"{OURS}id", ""),
        origin="/".join(texts.get(name, "?") for name in names),
        topic=texts.get(names[0], ""),
        reason=texts.get(f"{OURS}reason", ""),
        message=texts.get(f"{ERRORS}message", ""),
        key=message.key(),
        value=message.value(),
        headers=headers,
    )


def replay(settings: Settings, reason: str, *, dry_run: bool) -> int:
    """Send the dead letters with this reason code back to their topics; returns how many.

    Raises:
        NotDelivered: the broker did not take every event.
    """
    chosen = [
        letter
        for letter in read_letters(settings)
        if letter.reason == reason and letter.topic in TOPICS and is_complete(letter.headers)
    ]
    if dry_run or not chosen:
        return len(chosen)
    deliveries = Deliveries(producer(settings, max_message_mb=DEAD_LETTERS.max_message_mb))
    for letter in chosen:
        deliveries.put(
            letter.topic,
            key=letter.key,
            value=letter.value,
            headers=list(original_headers(letter.headers)),
        )
    deliveries.wait()
    return len(chosen)
