"""The log beside the events that it logs: what of both was altered, removed or never logged."""

from dataclasses import replace
from functools import partial

import pytest

from schemas import codec
from schemas.records import (
    Assessment,
    DecisionLogEntry,
    InspectionOutcome,
    ModelRelease,
    RiskProfile,
    Selection,
)
from schemas.topics import ASSESSMENTS, INSPECTION_OUTCOMES, MODEL_RELEASES, RISK_PROFILES, TOPICS
from streams.audit.chain import Head, Placed
from streams.audit.sources import (
    SOURCES,
    TooFewPartitions,
    check_room,
    log_partition,
    logged,
    source_of,
)
from streams.audit.verify import verify
from streams.kafka.events import Inbound
from streams.kafka.registry import Decoder
from tests.fakes import NOW

decode = Decoder(lambda topic: {7: codec.schema(topic.schema)}, SOURCES)
said = partial(logged, decode=decode)


def event(record, offset, topic=ASSESSMENTS, **fields):
    """An event as its topic holds it."""
    given = {
        "key": f"D{offset}".encode(),
        "value": codec.encode(record, 7),
        "headers": (("ce_id", f"event-{offset}".encode()), ("ce_time", b"now")),
    }
    return Inbound(
        topic=topic.name, partition=0, offset=offset, timestamp=NOW.timestamp(), **given | fields
    )


def verdict(offset, lane="green"):
    return event(Assessment(lane=lane, selection=Selection(basis="risk")), offset)


class FakeTopics:
    """Events, and the log of some of them."""

    def __init__(self, events, topic=ASSESSMENTS, first=0):
        self.events = list(events)
        self.topic = topic
        self._first = first
        self.log = []

    def keep_log(self, events=None):
        head = Head()
        for each in events or self.events:
            self.log.append(head.next(said(each)))
            head = Head.of(self.log[-1])
        return self

    def sources(self):
        return [(self.topic, 0)]

    def first(self, topic, partition):
        return self._first

    def read(self, topic, partition):
        assert (topic, partition) == (self.topic, 0)
        return (each for each in self.events if each.offset >= self._first)

    def entries(self, partition):
        assert partition == log_partition(self.topic.name, 0)
        return (Placed(offset, entry) for offset, entry in enumerate(self.log))

    def report(self, anchored=None):
        (report,) = verify(self, self, said, {"assessments/0": anchored or {}})
        return report

    def problem(self):
        problem = self.report().problem
        return problem and (problem.kind, problem.sequence)


@pytest.fixture
def topics():
    """Offset 2 is a marker of a transaction."""
    return FakeTopics(verdict(offset) for offset in (0, 1, 3, 4, 5)).keep_log()


def test_a_log_that_agrees_with_its_events_has_no_problem(topics):
    """All are compared; a new event waits."""
    topics.events.append(verdict(6))
    report = topics.report({3: topics.log[2].hash})
    assert report.problem is None
    assert (report.begins, report.length, report.compared) == (1, 5, 5)
    assert (report.waiting, report.anchors, report.repeated) == (1, 1, 0)


@pytest.mark.parametrize(
    "change",
    [{"value": codec.encode(Assessment(lane="red"), 7)}, {"value": None}, {"key": b"other"}, {"headers": ()}, {"timestamp": 1.0}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_an_event_that_was_altered_is_named(topics, change):
    """The log says what it was."""
    topics.events[2] = replace(topics.events[2], **change)
    assert topics.problem() == ("altered", 3)
    assert "assessments/0/3" in topics.report().problem.detail


def test_an_event_that_is_gone_before_its_time_is_named(topics):
    """Retention removes the oldest ones only."""
    del topics.events[2]
    assert topics.problem() == ("altered", 3)


def test_an_entry_that_was_left_out_is_named():
    """Even where the rest was linked anew."""
    events = [verdict(offset) for offset in range(5)]
    topics = FakeTopics(events).keep_log([each for each in events if each.offset != 3])
    assert topics.problem() == ("missing", 4)
    assert "assessments/0/3" in topics.report().problem.detail
    assert FakeTopics(events).keep_log(events[1:]).problem() == ("missing", 1)


def test_what_retention_removed_is_no_problem(topics):
    """Of the events, and of the log, which may begin later than the events that are kept."""
    topics._first = 4
    assert topics.report().compared == 2
    assert topics.problem() is None
    topics._first = 0
    topics.log = topics.log[3:]
    report = topics.report()
    assert (report.problem, report.begins, report.compared) == (None, 4, 2)


def test_compaction_is_no_problem():
    """Older versions of a profile are gone, and the log still knows of them."""
    versions = [event(RiskProfile(version=n), n, RISK_PROFILES, key=b"P") for n in range(1, 4)]
    topics = FakeTopics(versions, RISK_PROFILES).keep_log()
    topics.events = versions[-1:]
    assert topics.problem() is None
    assert topics.report().compared == 1


@pytest.mark.parametrize(
    ("topic", "record", "decision"),
    [
        (ASSESSMENTS, Assessment(lane="red", selection=Selection(basis="profile")), "red by profile"),
        (ASSESSMENTS, Assessment(lane="Jane Doe"), "? by ?"),
        (INSPECTION_OUTCOMES, InspectionOutcome(result="irregular"), "irregular, 0 findings"),
        (INSPECTION_OUTCOMES, InspectionOutcome(result="Jane Doe", note="Jane Doe"), "?, 0 findings"),
        (RISK_PROFILES, RiskProfile(version=2, lane="red", author="a" * 32, approver="Jane Doe"), f"version 2, red, by {'a' * 32}, approved by ?"),
        (MODEL_RELEASES, ModelRelease(bundle_id="b" * 64), f"bundle {'b' * 64}"),
    ],
)  # fmt: skip
def test_an_entry_says_what_was_decided_and_repeats_no_name(topic, record, decision):
    """Texts from outside may hold anything."""
    entry = said(event(record, 1, topic))
    assert entry.decision == decision
    assert entry.kind == topic.schema
    assert "Jane" not in str(entry)


def test_what_cannot_be_read_is_logged_too():
    """A tombstone, no Avro, no headers, a long key."""
    entries = [
        said(event(Assessment(), 1, value=None)),
        said(event(Assessment(), 1, value=b"nonsense")),
        said(event(Assessment(), 1, headers=(), key=b"k" * 1000)),
    ]
    assert [entry.decision for entry in entries] == ["withdrawn", "", "? by ?"]
    assert entries[0].value_sha256 == ""
    assert entries[2].event_id == "assessments/0/1"
    assert len(entries[2].subject) == 71


def test_every_partition_has_a_chain_of_its_own():
    """Also once a topic has more partitions."""
    places = [(topic.name, number) for topic in SOURCES for number in range(topic.partitions)]
    logs = [log_partition(*place) for place in places]
    assert len(set(logs)) == len(places)
    assert max(logs) < TOPICS["decision-log"].partitions
    assert [(topic.name, number) for topic, number in map(source_of, logs)] == places
    check_room(24, "assessments", 5)
    with pytest.raises(TooFewPartitions, match="needs 25 partitions"):
        check_room(24, "assessments", 6)


def test_an_event_of_any_time_is_logged():
    """A sender may date what it sends: nobody who keeps the log may stop at that."""
    given = Inbound.bounded(
        topic=RISK_PROFILES.name, partition=0, offset=0, key=b"P", value=codec.encode(RiskProfile(), 7),
        timestamp=9.2e15, headers=(),
    )  # fmt: skip
    entry = Head().next(said(given))
    writers = {7: codec.schema(DecisionLogEntry.SCHEMA)}
    assert codec.decode(codec.encode(entry, 7), DecisionLogEntry, writers) == entry
