"""What lies on the topics, and whether it keeps the promises."""

import time
from collections import defaultdict
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS


@dataclass
class Seen:
    """Everything on the topics, from their beginning."""

    inputs: list = field(default_factory=list)
    """(partition, offset, key) of every declaration event."""
    verdicts: dict = field(default_factory=lambda: defaultdict(set))
    """Event id → the distinct values under it, of assessments and alerts."""
    fates: dict = field(default_factory=lambda: defaultdict(set))
    """Key → the distinct ids of its assessments and dead letters."""
    reasons: dict = field(default_factory=dict)
    """Key → reason of its dead letter."""
    duplicates: int = 0
    """Events that were delivered more than once."""


def read_all(settings, topics=(DECLARATIONS, ASSESSMENTS, ALERTS, DEAD_LETTERS)):
    """Read the topics to their end."""
    consumer = Consumer(settings.confluent() | {"group.id": "oracle", "enable.auto.commit": False})
    seen = Seen()
    left = {}
    for topic in topics:
        for partition in range(topic.partitions):
            _, high = consumer.get_watermark_offsets(TopicPartition(topic.name, partition))
            if high:
                left[topic.name, partition] = high
    consumer.assign([TopicPartition(name, partition, 0) for name, partition in left])
    while left:
        message = consumer.poll(10)
        assert message is not None, f"nothing more came of {left}"
        assert message.error() is None
        _take(seen, message)
        place = message.topic(), message.partition()
        if message.offset() + 1 >= left[place]:
            del left[place]
    consumer.close()
    return seen


def _take(seen, message):
    headers = dict(message.headers() or ())
    key = message.key()
    if message.topic() == DECLARATIONS.name:
        seen.inputs.append((message.partition(), message.offset(), key))
        return
    if message.topic() == DEAD_LETTERS.name:
        id_ = headers["x_dlq.id"]
        seen.duplicates += id_ in seen.fates[key]
        seen.fates[key].add(id_)
        seen.reasons[key] = headers["x_dlq.reason"].decode()
        return
    id_ = headers["ce_id"]
    seen.duplicates += id_ in seen.verdicts
    seen.verdicts[id_].add(message.value())
    if message.topic() == ASSESSMENTS.name:
        seen.fates[key].add(id_)


def assert_exactly_one_fate(seen, *, identical=True):
    """Input ids = assessment ids ∪ dead-letter ids after dedupe; each id one byte-identical verdict.

    Where Redis was lost the signals that a declaration was judged by are too: redelivered, it may be
    judged otherwise, under the same id (docs/decisions/0009). Then `identical` is not asked.
    """
    assert {key for _, _, key in seen.inputs} == set(seen.fates)
    assert [key for key, ids in seen.fates.items() if len(ids) != 1] == []
    if identical:
        assert [id_ for id_, values in seen.verdicts.items() if len(values) != 1] == []


ELECTING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
"""What a fresh broker answers while it elects the group's coordinator: ask again."""


def committed(settings, group, *, within_s=20):
    """Return the group's committed offset of each partition."""
    consumer = Consumer(settings.confluent() | {"group.id": group})
    partitions = [TopicPartition(DECLARATIONS.name, n) for n in range(DECLARATIONS.partitions)]
    deadline = time.monotonic() + within_s
    try:
        while True:
            try:
                offsets = consumer.committed(partitions, timeout=within_s)
            except KafkaException as error:
                if error.args[0].code() not in ELECTING or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return {place.partition: max(place.offset, 0) for place in offsets}
    finally:
        consumer.close()
