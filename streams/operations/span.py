"""A time span → its declarations, what they were screened with, and their results."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from models.progress import Say
from schemas.codec import Undecodable
from schemas.records import Alert, Assessment, ScreeningRecord
from schemas.topics import ALERTS, ASSESSMENTS, DECLARATIONS, SCREENING_RECORDS, Topic
from streams.kafka.events import Inbound, event_id, received
from streams.kafka.origin import contents, no_answer, partitions_of
from streams.kafka.registry import Decoder
from streams.settings import Settings

ANSWER_S: Final = 20.0
"""Longest wait for Kafka to answer."""
CLOCKS_APART_MS: Final = 3_600_000
"""So far the clocks of workers may be behind the broker's."""
MOST: Final = 50_000
"""Declarations: they are held in memory, with their results."""
SAY_EVERY: Final = 1000


class TooMany(Exception):  # noqa: N818 - says what it is
    """More declarations than are held in memory."""


@dataclass(frozen=True, slots=True)
class Span:
    """What lies on the topics of the declarations of a time span."""

    declarations: Sequence[Inbound]
    records: Mapping[str, Sequence[ScreeningRecord]]
    """Place of the declaration → the distinct records."""
    results: Mapping[tuple[Topic, str], Sequence[bytes]]
    """Topic and ce_id → the distinct values."""


def place_of(event: Inbound) -> str:
    """Return where an event lies: topic/partition/offset."""
    return f"{event.topic}/{event.partition}/{event.offset}"


def read_span(
    settings: Settings,
    decode: Decoder,
    begin: datetime,
    end: datetime,
    *,
    partitions: Collection[int] = (),
    say: Say = lambda *_: None,
) -> Span:
    """Read what lies on the topics of the declarations of a time span.

    Args:
        settings: of Kafka.
        decode: screening records.
        begin: Kafka's time of the first declaration.
        end: that of the first one after the span.
        partitions: of declarations; empty for all.
        say: told of the progress.

    Raises:
        NotDeployed: a topic is missing.
        NotDelivered: Kafka does not answer, or stopped answering.
        RegistryFailed: the registry does not answer.
        TooMany: the span is too long.
    """
    begin_ms, end_ms = (round(time.timestamp() * 1000) for time in (begin, end))
    consumer = Consumer(settings.confluent() | {"group.id": "redlane-replay", "log_level": 0})

    def read(
        topic: Topic, since_ms: int, step: str, until_ms: int | None = None
    ) -> Iterator[Message]:
        begins = _offsets_at(consumer, topic, since_ms)
        ends = {} if until_ms is None else _offsets_at(consumer, topic, until_ms)
        lying = contents(settings, topic, within_s=ANSWER_S, begin=begins, end=ends)
        with closing(lying) as messages:
            for number, message in enumerate(messages):
                if number % SAY_EVERY == 0:
                    say(step, number)
                yield message

    declarations = []
    for message in read(DECLARATIONS, begin_ms, "reading declarations", end_ms):
        if not partitions or message.partition() in partitions:
            declarations.append(received(message))
        if len(declarations) > MOST:
            raise TooMany(f"More than {MOST} declarations: choose a shorter span, or --partition.")
    since_ms = begin_ms - CLOCKS_APART_MS
    records = _records(
        read(SCREENING_RECORDS, since_ms, "reading what they were screened with"),
        decode,
        {place_of(event): event for event in declarations},
    )
    results = defaultdict[tuple[Topic, str], list[bytes]](list)
    ids = _result_ids(declarations, records)
    for topic in (ASSESSMENTS, ALERTS):
        for message in read(topic, since_ms, f"reading {topic.name}"):
            event = received(message)
            key = (topic, event.header("ce_id") or "")
            if key in ids and (event.value or b"") not in results[key]:
                results[key].append(event.value or b"")
    consumer.close()
    return Span(declarations, records, results)


def _records(
    messages: Iterator[Message], decode: Decoder, declarations: Mapping[str, Inbound]
) -> dict[str, list[ScreeningRecord]]:
    """Return the distinct records of each declaration; one that cannot be read is none."""
    records = defaultdict[str, list[ScreeningRecord]](list)
    for message in messages:
        try:
            record = decode(SCREENING_RECORDS, message.value(), ScreeningRecord)
        except Undecodable:
            continue
        place = record.declaration_event
        if place in declarations and record not in records[place]:
            records[place].append(record)
    return dict(records)


def _result_ids(
    declarations: Sequence[Inbound], records: Mapping[str, Sequence[ScreeningRecord]]
) -> set[tuple[Topic, str]]:
    return {
        (topic, event_id(event, record.bundle_id, schema))
        for event in declarations
        for record in records.get(place_of(event), ())
        for topic, schema in ((ASSESSMENTS, Assessment.SCHEMA), (ALERTS, Alert.SCHEMA))
    }


def _offsets_at(consumer: Consumer, topic: Topic, at_ms: int) -> dict[int, int]:
    """Return partition → offset of the first event at or after a time; of those that have one.

    Raises:
        NotDeployed: the topic is missing.
        NoAnswer: Kafka does not answer.
    """
    try:
        places = consumer.offsets_for_times(
            [
                TopicPartition(topic.name, number, max(0, at_ms))
                for number in partitions_of(consumer, topic, ANSWER_S)
            ],
            timeout=ANSWER_S,
        )
    except KafkaException as error:
        raise no_answer(error) from error
    return {place.partition: place.offset for place in places if place.offset >= 0}
