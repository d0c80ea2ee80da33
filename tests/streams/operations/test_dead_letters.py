"""Dead letters on a real broker: listed and sent again, once each, whatever retention removed."""

import time
import uuid
from dataclasses import replace

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from schemas import codec
from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.records import DeadLetterReplay
from schemas.topics import DEAD_LETTER_REPLAYS, DEAD_LETTERS, TOPICS, Topic
from streams.kafka import dead_letter as letters_of_stages
from streams.kafka.delivery import Deliveries, NotDelivered, producer
from streams.kafka.events import Inbound, bounded_headers, headers_of, received
from streams.kafka.origin import contents
from streams.kafka.registry import Decoder
from streams.operations import dead_letters
from streams.operations.dead_letters import Choice, Letter, dead_events, read_letters, replay
from streams.operations.deploy import deploy
from tests.fakes import inbound

ERROR = Undecodable(Reason.SCHEMA_UNKNOWN, "id 9")


class Site:
    """A topic of dead letters and the topic that their events came from, both empty at first."""

    def __init__(self, settings, monkeypatch):
        self.settings = settings
        name = uuid.uuid4().hex
        self.letters = replace(DEAD_LETTERS, name=f"dead-letters-{name}", partitions=2)
        self.source = Topic(
            name=f"source-{name}", key="id", partitions=1, retention_days=14, max_message_mb=16,
            writers=("a test",), readers=("a test",), why="a test",
        )  # fmt: skip
        deploy(settings, [self.letters, self.source], say=lambda _: None)
        monkeypatch.setattr(dead_letters, "DEAD_LETTERS", self.letters)
        monkeypatch.setitem(TOPICS, self.source.name, self.source)

    def fail(self, *causes, error=ERROR, bundle_id="b", **event):
        """Put the dead letters of events."""
        deliveries = Deliveries(producer(self.settings, max_message_mb=17))
        for cause in causes:
            of = replace(cause, topic=self.source.name)
            letter = letters_of_stages.dead_letter(of, error, stage="x", bundle_id=bundle_id)
            deliveries.put(
                self.letters.name, key=letter.key, value=letter.value, headers=list(letter.headers),
                **event,
            )  # fmt: skip
        deliveries.wait()

    def sent(self):
        """Return the events that were sent again."""
        return [received(m) for m in contents(self.settings, self.source, within_s=10)]

    def remove(self, topic, before):
        """Remove what lies before an offset of each partition, as retention does."""
        admin = AdminClient(self.settings.confluent())
        places = [TopicPartition(topic.name, n, before) for n in range(topic.partitions)]
        for removal in admin.delete_records(places).values():
            removal.result()

    def events(self):
        return dead_events(read_letters(self.settings))


@pytest.fixture
def site(stack, monkeypatch):
    return Site(stack.settings(), monkeypatch)


def events(count, **fields):
    return [inbound(value=b"v%d" % n, offset=n, key=b"k%d" % n, **fields) for n in range(count)]


def test_each_letter_is_sent_once_however_often_it_is_asked_for(site):
    """Key, value and headers as received, those of other reasons left alone."""
    some = events(5)
    site.fail(*some)
    site.fail(inbound(value=b"x", key=b"x", offset=9), error=RuntimeError())
    choice = Choice(reason="schema_unknown")
    assert replay(site.settings, choice, dry_run=True).sent == 5
    assert site.sent() == []
    steps = []
    done = replay(site.settings, choice, say=lambda *step: steps.append(step))
    assert (done.sent, done.sent_before) == (5, 0)
    assert steps[-1] == ("sending again", 5, 5)
    done = replay(site.settings, choice)
    assert (done.sent, done.sent_before) == (0, 5)
    sent = site.sent()
    assert sorted((e.key, e.value) for e in sent) == [(e.key, e.value) for e in some]
    assert {e.header("ce_id") for e in sent} == {e.header("ce_id") for e in some}
    assert {e.header("x_dlq.replays") for e in sent} == {"1"}
    assert not any(name.startswith("__streams") for e in sent for name, _ in e.headers)


def test_letters_without_an_id_do_not_multiply(site):
    """An event that comes back is the same event, whatever bundle fails on it; it counts attempts."""
    site.fail(*events(3, headers=()))
    for turn in range(1, 4):
        done = replay(site.settings, Choice(topic=site.source.name), again=turn > 1)
        assert done.sent == 3
        assert replay(site.settings, Choice(topic=site.source.name), again=True).sent == 0
        site.fail(*site.sent()[-3:], bundle_id=f"bundle {turn}")
        assert len(site.events()) == 3
        assert {e.letter.replays for e in site.events()} == {turn}
        assert {e.letter.attempts for e in site.events()} == {turn + 1}
    done = replay(site.settings, Choice(topic=site.source.name))
    assert (done.sent, done.came_back) == (0, 3)
    assert len({event.header("ce_id") for event in site.sent()}) == 3


def test_retention_may_have_removed_any_letter(site):
    """Only what is there is listed and sent again; a topic without any left is empty."""
    site.fail(*events(40))
    site.remove(site.letters, 10)
    there = site.events()
    assert 0 < len(there) < 40
    assert replay(site.settings, Choice(topic=site.source.name)).sent == len(there)
    assert len(site.sent()) == len(there)
    site.remove(site.letters, -1)
    assert site.events() == []


def test_a_replay_is_restricted_by_id_and_number(site):
    """What is left is sent the next time."""
    site.fail(*events(6))
    first, second, *_ = site.events()
    ids = first.ids | second.ids
    assert replay(site.settings, Choice(ids=ids)).sent == 2
    done = replay(site.settings, Choice(reason="schema_unknown"), limit=3)
    assert (done.sent, done.sent_before, done.beyond_limit) == (3, 2, 1)
    assert replay(site.settings, Choice(reason="schema_unknown"), limit=3).sent == 1
    assert len({event.key for event in site.sent()}) == len(site.sent()) == 6


def test_a_replay_that_is_cut_short_goes_on_where_it_ended(site, monkeypatch):
    """What the broker took is marked, also where it refuses another event of the chunk."""
    monkeypatch.setattr(dead_letters, "CHUNK", 4)
    too_large = inbound(value=bytes(17 << 20), key=b"large", offset=99)
    site.fail(*events(6))
    monkeypatch.setattr(dead_letters, "producer", lambda s, **_: producer(s, max_message_mb=1))
    site.fail(replace(too_large, value=bytes(3 << 20)))
    with pytest.raises(NotDelivered, match="refused"):
        replay(site.settings, Choice(topic=site.source.name))
    with pytest.raises(NotDelivered, match="refused"):
        replay(site.settings, Choice(topic=site.source.name))
    sent = [event.key for event in site.sent()]
    assert len(sent) == len(set(sent))
    assert replay(site.settings, Choice(topic=site.source.name), dry_run=True).sent_before == len(
        sent
    )


def test_a_letter_is_kept_from_its_arrival(site):
    """Retention goes by the letter's own time, not the event's: an old event's letter stays."""
    old = replace(inbound(value=b"v"), timestamp=time.time() - 200 * 86_400)
    site.fail(old)
    site.fail(replace(old, offset=1, headers=()), timestamp=1)  # whatever a sender says
    for message in contents(site.settings, site.letters, within_s=10):
        assert abs(message.timestamp()[1] / 1000 - time.time()) < 60
        kept = dict(headers_of(message))["x_dlq.timestamp"]
        assert kept == str(round(old.timestamp * 1000)).encode()


def test_a_mark_that_is_none_is_skipped():
    """A tombstone, garbage and an unknown schema lie on a compacted topic for ever."""
    mark = DeadLetterReplay(replayed_event="one", replays=2)
    decode = Decoder(lambda topic: {1: codec.schema(topic.schema)}, [DEAD_LETTER_REPLAYS])
    values = [None, b"", b"garbage", codec.encode(mark, 9), codec.encode(mark, 1)]
    with capture_logs() as logs:
        marks = dead_letters.replays_of(
            values, lambda value: decode(DEAD_LETTER_REPLAYS, value, DeadLetterReplay)
        )
    assert marks == {"one": 2}
    assert [log["reason"] for log in logs] == ["value_empty", "value_empty", "value_not_avro", "schema_unknown"]  # fmt: skip


def test_an_event_with_many_headers_keeps_its_numbers_when_it_is_sent_again():
    """Of too many headers the last are left out: not those that count."""
    many = tuple((f"h{number}", b"x" * 4000) for number in range(100))
    event = Inbound.bounded(
        topic="declarations",
        partition=0,
        offset=1,
        key=b"D",
        value=b"x",
        timestamp=1.0,
        headers=many,
    )
    dead = letters_of_stages.dead_letter(event, Undecodable(Reason.VALUE_EMPTY, ""), stage="screen", bundle_id="b")  # fmt: skip
    letter = Letter("id", "declarations/0/1", "declarations", "value_empty", "", b"D", b"x", dead.headers)  # fmt: skip
    sent = bounded_headers(dead_letters._headers(letter))
    assert letters_of_stages.count(sent, "x_dlq.replays") == 1
    assert letters_of_stages.count(sent, "x_dlq.attempt") == 1
