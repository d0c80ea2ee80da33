"""What lies on the topics, and whether it keeps the promises.

It knows nothing of workers: it reads the topics from outside, as a consumer would, and compares.
Only the ids of events are computed as the product defines them (streams/kafka/events.py).
"""

import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.codec import decode
from schemas.records import Alert, Assessment, InspectionOutcome
from schemas.topics import (
    ALERTS,
    ASSESSMENTS,
    DEAD_LETTERS,
    DECLARATIONS,
    EXPLANATIONS,
    INSPECTION_OUTCOMES,
)
from streams.kafka.events import FATE, fate_of, received
from streams.kafka.registry import Registry

RECORDS: Final = {
    ASSESSMENTS.name: Assessment,
    ALERTS.name: Alert,
    INSPECTION_OUTCOMES.name: InspectionOutcome,
}
"""Topics whose values say which other events there have to be."""
REASONS: Final = {
    "not Avro": "value_not_avro",
    "unknown schema id": "schema_unknown",
    "truncated": "value_not_avro",
    "10 MB": "value_too_large",
    "no goods items": "declaration_invalid",
    "no value": "value_empty",
}
"""How streams/synthetic/irregularities.py damages an event → the reason of its dead letter."""
SHOWN: Final = 5
"""Examples of each broken promise in a message."""


class Input(NamedTuple):
    """An event that is to be answered: a declaration, or an alert that is to be explained."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    fate: str


class Answer(NamedTuple):
    """An event that answers another one."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    id: str
    fate: str
    """What it shares with every answer to the same event."""
    of: str
    """Topic of the event that it answers."""
    value: bytes
    record: Any = None
    """What it says, of topics in `RECORDS`."""


@dataclass
class Seen:
    """Everything on the topics, from their beginning or from a mark on."""

    inputs: list[Input] = field(default_factory=list)
    """Every declaration event."""
    alerted: list[Input] = field(default_factory=list)
    """Every alert, as what is to be explained."""
    answers: list[Answer] = field(default_factory=list)
    """Assessments, alerts, explanations and dead letters, each topic in the order of offsets."""
    outcomes: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """Outcome id → every value under it."""
    reasons: dict[bytes, str] = field(default_factory=dict)
    """Key → reason of its dead letter."""

    def on(self, topic):
        """Return the answers on a topic."""
        return [answer for answer in self.answers if answer.topic == topic.name]

    @property
    def decided(self):
        """Assessments and dead letters of declarations: what is a fate."""
        return [
            answer
            for answer in self.answers
            if answer.of == DECLARATIONS.name and answer.topic in {ASSESSMENTS.name, DEAD_LETTERS.name}
        ]  # fmt: skip

    @property
    def fates(self):
        """Key → the distinct ids of its assessments and dead letters."""
        return _grouped((answer.key, answer.id) for answer in self.decided)

    @property
    def verdicts(self):
        """Event id → the distinct values under it, of all but dead letters."""
        return _grouped(
            (answer.id, answer.value)
            for answer in self.answers
            if answer.topic != DEAD_LETTERS.name
        )

    @property
    def duplicates(self):
        """Answers that were delivered more than once, before readers drop what they know."""
        return len(self.answers) - len({(answer.topic, answer.id) for answer in self.answers})


def read_all(settings, topics=(DECLARATIONS, ASSESSMENTS, ALERTS, DEAD_LETTERS), since=None):
    """Read the topics to their end, committed events only.

    Args:
        settings: of the services.
        topics: to be read.
        since: see `ends`; from the beginning without it.
    """
    registry = Registry(settings.registry_url)
    writers = {topic.name: registry.writers(topic) for topic in topics if topic.name in RECORDS}
    consumer = Consumer(
        settings.confluent()
        | {
            "group.id": "verifier",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",  # where retention passed the mark
        }
    )
    begin = dict.fromkeys(ends(settings, topics), 0) | dict(since or {})
    places = {place: offset for place, offset in begin.items() if place[0] in {t.name for t in topics}}  # fmt: skip
    consumer.assign([TopicPartition(*place, offset) for place, offset in places.items()])
    seen, left = Seen(), set(places)
    while left:
        message = consumer.poll(20)
        assert message is not None, f"nothing more came of {sorted(left)}"
        if message.error() is None:
            _take(seen, message, writers)
        elif message.error().code() == KafkaError._PARTITION_EOF:
            left.discard((message.topic(), message.partition()))
        else:
            assert message.error().retriable(), message.error()
    consumer.close()
    return seen


def _take(seen, message, writers):
    event, headers = received(message), dict(message.headers() or ())
    place = event.topic, event.partition, event.offset, event.key
    if event.topic == DECLARATIONS.name:
        seen.inputs.append(Input(*place, fate_of(event)[1]))
        return
    if event.topic == DEAD_LETTERS.name:
        of = headers["__streams.errors.topic"].decode()
        ids = headers["x_dlq.id"].decode(), headers[FATE].decode()
        seen.answers.append(Answer(*place, *ids, of, event.value or b""))
        seen.reasons[event.key] = headers["x_dlq.reason"].decode()
        return
    kind = RECORDS.get(event.topic)
    record = kind and decode(event.value, kind, writers[event.topic])
    if event.topic == INSPECTION_OUTCOMES.name:
        seen.outcomes[record.outcome_id].append(event.value)
        return
    if event.topic == ALERTS.name:
        seen.alerted.append(Input(*place, fate_of(event)[1]))
    of = ALERTS.name if event.topic == EXPLANATIONS.name else DECLARATIONS.name
    ids = headers["ce_id"].decode(), headers[FATE].decode()
    seen.answers.append(Answer(*place, *ids, of, event.value, record))


@dataclass
class Findings:
    """What breaks a promise: under the promise's name, what was found."""

    lost: list = field(default_factory=list)
    """Events without a fate."""
    conflicting: list = field(default_factory=list)
    """Event ids with more than one value under them."""
    two_fated: list = field(default_factory=list)
    """Events with more than one fate."""
    answers_to_nothing: list = field(default_factory=list)
    """Fates of events that nobody sent, or whose transaction was aborted."""
    disordered: list = field(default_factory=list)
    """Answers that do not stand in the order of their key's events."""
    refused: list = field(default_factory=list)
    """Malformed events that are not refused with the right reason, and others that are refused."""
    alerts: list = field(default_factory=list)
    """Yellow and red assessments without exactly one alert, alerts without their assessment."""
    explanations: list = field(default_factory=list)
    """Alerts without exactly one explanation or dead letter, explanations without their alert."""
    outcomes: list = field(default_factory=list)
    """Outcome ids that were published more than once."""

    @property
    def broken(self):
        """The promises that are broken, by name."""
        return {name: found for name, found in vars(self).items() if found}

    def __str__(self):
        """Name what is wrong, with examples."""
        return "\n".join(
            f"{name}: {len(found)}, such as {found[:SHOWN]}" for name, found in self.broken.items()
        )


def examine(seen, *, identical=True, expired=frozenset(), malformed=None, explained=False):
    """Compare what lies on the topics with what was promised.

    Args:
        seen: see `read_all`.
        identical: whether each id must have one byte-identical value. Where Redis was lost the
            signals that a declaration was judged by are too: redelivered, it may be judged
            otherwise, under the same id (docs/decisions/0009).
        expired: fate ids of events that retention removed before they could be read.
        malformed: keys of events that are no declarations → reasons of their dead letters; None
            where it is not known which are.
        explained: whether the explaining worker ran to the end, and EXPLANATIONS were read.
    """
    findings = Findings()
    inputs = {event.fate: event for event in seen.inputs}
    answers = _grouped((answer.fate, (answer.topic, answer.id)) for answer in seen.decided)
    findings.lost = [inputs[fate] for fate in inputs.keys() - answers.keys() - set(expired)]
    findings.two_fated = [sorted(ids) for ids in answers.values() if len(ids) > 1]
    findings.answers_to_nothing = [answers[fate] for fate in answers.keys() - inputs.keys()]
    findings.disordered = _disordered(seen)
    if identical:
        findings.conflicting = [id_ for id_, values in seen.verdicts.items() if len(values) > 1]
    if malformed is not None:
        findings.refused = _wrongly_refused(seen, malformed)
    findings.alerts = _unmatched_alerts(seen)
    findings.explanations = _unmatched_explanations(seen, complete=explained)
    findings.outcomes = [id_ for id_, values in seen.outcomes.items() if len(values) > 1]
    return findings


def _disordered(seen):
    """Return the answers that come before one to an earlier event of the same key.

    The order is that of first appearances, since a redelivery answers again. It holds for the
    events of a key within a partition, on each topic of answers by itself.
    """
    numbers = {}
    for number, event in enumerate(sorted(seen.inputs, key=lambda event: event[:3])):
        numbers.setdefault(event.fate, (event.key, event.partition, number))
    last, known, disordered = {}, set(), []
    for answer in sorted(seen.answers, key=lambda answer: answer[:3]):
        if answer.fate not in numbers or (answer.topic, answer.fate) in known:
            continue
        known.add((answer.topic, answer.fate))
        key, partition, number = numbers[answer.fate]
        line = answer.topic, key, partition
        if number < last.get(line, -1):
            disordered.append((answer.topic, key, answer.offset))
        last[line] = max(number, last.get(line, -1))
    return disordered


def _wrongly_refused(seen, malformed):
    """Return key, reason and right reason of events that were wrongly refused, or accepted."""
    sent = {event.key for event in seen.inputs}
    answered = {answer.key for answer in seen.decided}
    refused = {
        answer.key: seen.reasons[answer.key]
        for answer in seen.decided
        if answer.topic == DEAD_LETTERS.name
    }
    return [
        (key, refused.get(key, ""), malformed.get(key, ""))
        for key in sent & answered
        if refused.get(key, "") != malformed.get(key, "")
    ]


def _unmatched_alerts(seen):
    assessments = {answer.id: answer.record for answer in seen.on(ASSESSMENTS)}
    alerts = _grouped((answer.record.assessment_id, answer.id) for answer in seen.on(ALERTS))
    to_alert = {id_ for id_, record in assessments.items() if record.lane != "green"}
    return [
        *(("no alert", id_) for id_ in to_alert - alerts.keys()),
        *(("no assessment", id_) for id_ in alerts.keys() - to_alert),
        *(("two alerts", id_) for id_, ids in alerts.items() if len(ids) > 1),
    ]


def _unmatched_explanations(seen, *, complete):
    alerts = {event.fate for event in seen.alerted}
    answers = _grouped(
        (answer.fate, (answer.topic, answer.id))
        for answer in seen.answers
        if answer.of == ALERTS.name
    )
    return [
        *(("no explanation", fate) for fate in (alerts - answers.keys() if complete else ())),
        *(("no alert", fate) for fate in answers.keys() - alerts),
        *(("two explanations", fate) for fate, ids in answers.items() if len(ids) > 1),
    ]


def assert_exactly_one_fate(seen, *, figures=None, **options):
    """Assert that every promise was kept; see `examine`.

    Args:
        seen: see `read_all`.
        figures: of the test, which get the counts.
        options: of `examine`.
    """
    findings = examine(seen, **options)
    if figures is not None:
        figures.records = len(seen.inputs)
        figures.lost += len(findings.lost)
        figures.conflicting += len(findings.conflicting)
        figures.two_fated += len(findings.two_fated)
        figures.duplicates += seen.duplicates
    assert not findings.broken, f"the topics break promises\n{findings}"


def unfinished(seen, offsets: Mapping[int, int], expired: Collection[str] = frozenset()):
    """Return the declaration events below the committed offsets that have no fate yet.

    While no worker of the group runs there must be none: nobody would ever read them again.
    """
    answered = {answer.fate for answer in seen.decided} | set(expired)
    return [
        event
        for event in seen.inputs
        if event.offset < offsets.get(event.partition, 0) and event.fate not in answered
    ]


PASSING: Final = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
}
"""What a fresh broker answers while it elects coordinators and leaders: ask again."""


def asked(question, *, within_s=30):
    """Return the answer of the brokers, asked again while they elect."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return question()
        except KafkaException as error:
            if error.args[0].code() not in PASSING or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def ends(settings, topics):
    """Return topic's name and partition → the offset of the next event: a mark for `read_all`."""
    consumer = Consumer(settings.confluent() | {"group.id": "verifier", "log_level": 0})
    offsets = {}
    for topic in topics:
        for partition in range(_partitions(consumer, topic)):
            place = TopicPartition(topic.name, partition)
            _, end = asked(partial(consumer.get_watermark_offsets, place, 10))
            offsets[topic.name, partition] = end
    consumer.close()
    return offsets


def committed(settings, group, topic=DECLARATIONS):
    """Return the group's committed offset of each partition; 0 where there is none."""
    consumer = Consumer(settings.confluent() | {"group.id": group, "log_level": 0})
    try:
        places = [TopicPartition(topic.name, n) for n in range(_partitions(consumer, topic))]
        offsets = asked(lambda: consumer.committed(places, timeout=10))
        return {place.partition: max(place.offset, 0) for place in offsets}
    finally:
        consumer.close()


def _partitions(consumer, topic):
    """Return how many partitions the topic has by now."""
    answer = asked(lambda: consumer.list_topics(topic.name, timeout=10))
    return len(answer.topics[topic.name].partitions)


def _grouped(pairs):
    groups = defaultdict(set)
    for name, value in pairs:
        groups[name].add(value)
    return groups
