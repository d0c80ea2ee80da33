"""A time span → its declarations, what they were screened with, and their results."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from models.progress import Say
from schemas.codec import Undecodable
from schemas.records import Alert, Assessment, ScreeningRecord
from schemas.topics import ALERTS, ASSESSMENTS, DECLARATIONS, SCREENING_RECORDS, Topic
from streams.kafka.events import Inbound, event_id, received
from streams.kafka.origin import PLACE, contents, no_answer, partitions_of
from streams.kafka.registry import Decoder
from streams.settings import Settings

ANSWER_S: Final = 20.0
"""Longest wait for Kafka to answer."""
GROUP: Final = "redlane-replay"
UNGROUPED: Final = {"group.id": GROUP, "log_level": 0}
"""Of a client that asks for offsets; a group is required, though it joins none."""
CLOCKS_APART: Final = timedelta(hours=1)
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
    gone: Mapping[str, str] = field(default_factory=dict)
    """Place → id, of declarations that are no longer kept though their records are."""


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
    with closing(Consumer(settings.confluent() | UNGROUPED)) as consumer:
        topics = _Topics(settings, consumer, say)
        declarations = []
        for message in topics.read(DECLARATIONS, begin, end):
            if not partitions or message.partition() in partitions:
                declarations.append(received(message))
            if len(declarations) > MOST:
                raise TooMany(
                    f"More than {MOST} declarations: choose a shorter span, or --partition."
                )
        places = {place_of(event) for event in declarations}
        since = begin - CLOCKS_APART
        records = defaultdict[str, list[ScreeningRecord]](list)
        gone = dict[str, str]()
        for record in _records(topics.read(SCREENING_RECORDS, since), decode):
            place = record.declaration_event
            if place in places and record not in records[place]:
                records[place].append(record)
            elif place not in places and _is_of(record, begin, end, partitions):
                gone[place] = record.declaration_id
        results = defaultdict[tuple[Topic, str], list[bytes]](list)
        ids = _result_ids(declarations, records)
        for topic in (ASSESSMENTS, ALERTS):
            for message in topics.read(topic, since):
                event = received(message)
                key = (topic, event.header("ce_id") or "")
                if key in ids and (event.value or b"") not in results[key]:
                    results[key].append(event.value or b"")
    return Span(declarations, dict(records), results, gone)


@dataclass(frozen=True, slots=True)
class _Topics:
    """Reads parts of topics."""

    settings: Settings
    consumer: Consumer
    say: Say

    def read(self, topic: Topic, begin: datetime, end: datetime | None = None) -> Iterator[Message]:
        """Yield the events of a topic from one time on, up to another or to its end."""
        begins = _offsets_at(self.consumer, topic, begin)
        ends = {} if end is None else _offsets_at(self.consumer, topic, end)
        lying = contents(self.settings, topic, within_s=ANSWER_S, begin=begins, end=ends)
        with closing(lying) as messages:
            for number, message in enumerate(messages):
                if number % SAY_EVERY == 0:
                    self.say(f"reading {topic.name}", number)
                yield message


def _records(messages: Iterable[Message], decode: Decoder) -> Iterator[ScreeningRecord]:
    """Yield records; what cannot be read is none."""
    for message in messages:
        try:
            yield decode(SCREENING_RECORDS, message.value(), ScreeningRecord)
        except Undecodable:
            continue


def _is_of(
    record: ScreeningRecord, begin: datetime, end: datetime, partitions: Collection[int]
) -> bool:
    """Whether the declaration of a record arrived in a span, in one of the partitions."""
    place = PLACE.fullmatch(record.declaration_event)
    return (
        begin.timestamp() <= record.read_at < end.timestamp()
        and place is not None
        and (not partitions or int(place["partition"]) in partitions)
    )


def _result_ids(
    declarations: Sequence[Inbound], records: Mapping[str, Sequence[ScreeningRecord]]
) -> set[tuple[Topic, str]]:
    return {
        (topic, event_id(event, record.bundle_id, schema))
        for event in declarations
        for record in records.get(place_of(event), ())
        for topic, schema in ((ASSESSMENTS, Assessment.SCHEMA), (ALERTS, Alert.SCHEMA))
    }


def _offsets_at(consumer: Consumer, topic: Topic, at: datetime) -> dict[int, int]:
    """Return partition → offset of the first event at or after a time; of those that have one.

    Raises:
        NotDeployed: the topic is missing.
        NoAnswer: Kafka does not answer.
    """
    at_ms = max(0, round(at.timestamp() * 1000))
    try:
        places = consumer.offsets_for_times(
            [
                TopicPartition(topic.name, number, at_ms)
                for number in partitions_of(consumer, topic, ANSWER_S)
            ],
            timeout=ANSWER_S,
        )
    except KafkaException as error:
        raise no_answer(error) from error
    return {place.partition: place.offset for place in places if place.offset >= 0}
