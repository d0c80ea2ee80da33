"""A topic → every event that is on it now."""

import time
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.topics import Topic
from streams.kafka.delivery import NotDelivered
from streams.kafka.registry import NotDeployed
from streams.settings import Settings

TRANSIENT: Final = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT)  # noqa: SLF001 - their names
"""The client goes on trying."""


class NoAnswer(NotDelivered):
    """Kafka does not answer."""


def no_answer(error: KafkaException) -> NoAnswer:
    """Return what to say, and to do, where Kafka does not answer."""
    return NoAnswer(
        f"Kafka does not answer: {error.args[0].str()}. Check REDLANE_KAFKA_BOOTSTRAP_SERVERS, or "
        "start it on this machine with `redlane up`."
    )


def partitions_of(consumer: Consumer, topic: Topic, within_s: float) -> list[int]:
    """Return the partitions of a topic.

    Raises:
        NotDeployed: the topic is missing.
        KafkaException: Kafka does not answer.
    """
    described = consumer.list_topics(topic.name, timeout=within_s).topics[topic.name]
    if described.error is not None:
        raise NotDeployed(f"{described.error.str()}: {topic.name}. Run `redlane deploy` first.")
    return list(described.partitions)


def contents(settings: Settings, topic: Topic, *, within_s: float) -> Iterator[Message]:
    """Yield every event that lies on a topic now, partition by partition in order.

    Begins where retention has left something, and ends where Kafka says that a partition ends: the
    last offsets may belong to no event.

    Args:
        settings: of Kafka.
        topic: to be read.
        within_s: longest wait for Kafka's next answer.

    Raises:
        NotDeployed: the topic is missing.
        NoAnswer: the broker does not answer.
        NotDelivered: it stopped answering.
    """
    consumer = Consumer(
        settings.confluent()
        | {
            "group.id": "redlane-contents",  # required, though it joins no group
            "enable.auto.commit": False,
            # Retention may remove the first event between the question and the fetch.
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        ends = _assign(consumer, topic, within_s)
        deadline = time.monotonic() + within_s
        while ends:
            message = consumer.poll(min(within_s, 1.0))
            error = None if message is None else message.error()
            if message is None or (error is not None and error.code() in TRANSIENT):
                if time.monotonic() > deadline:
                    raise NotDelivered(f"The broker did not give the rest of {topic.name}.")
                continue
            deadline = time.monotonic() + within_s
            partition = message.partition() or 0
            if error is None and (message.offset() or 0) < ends.get(partition, 0):
                yield message
            elif error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                raise NotDelivered(f"{topic.name} cannot be read: {error.str()}")
            if error is not None or (message.offset() or 0) + 1 >= ends.get(partition, 0):
                ends.pop(partition, None)
    finally:
        consumer.close()


def _assign(consumer: Consumer, topic: Topic, within_s: float) -> dict[int, int]:
    """Assign the partitions that have events, from the first that is there; return their ends."""
    ends, places = {}, []
    try:
        for number in partitions_of(consumer, topic, within_s):
            place = TopicPartition(topic.name, number)
            low, high = consumer.get_watermark_offsets(place, timeout=within_s)
            if high > low:
                ends[number] = high
                places.append(TopicPartition(topic.name, number, low))
    except KafkaException as error:
        raise no_answer(error) from error
    consumer.assign(places)
    return ends
