"""Gaps between what a group is to read and what is there."""

import pytest

from schemas.topics import ALERTS, DECLARATIONS
from streams.kafka import unread
from streams.kafka.origin import NoAnswer
from streams.kafka.unread import Gap, Unread, UnreadOfAll
from streams.settings import Settings


@pytest.fixture
def gaps(monkeypatch):
    reported = []
    monkeypatch.setattr(unread, "report", lambda gap, _group: reported.append(gap))
    return reported


@pytest.fixture
def group(monkeypatch):
    """A group, and the committed and first offset of each partition, as a test sets them."""
    group = Unread(Settings(), group="g", topic=DECLARATIONS)
    group.places = {}
    monkeypatch.setattr(group, "_places", lambda _: group.places)
    return group


async def test_only_what_lies_before_the_first_event_is_a_gap(group, gaps):
    """Neither a group that committed nothing, nor one that is up to date."""
    group.places = {0: (-1001, 9), 1: (9, 9), 2: (12, 9), 3: (4, 9)}
    await group.assigned({0, 1, 2, 3})
    assert gaps == [Gap("declarations", 3, 4, 9)]
    assert gaps[0].count == 5
    assert str(gaps[0]).startswith("5 events of declarations, partition 3 (offsets 4 to 8)")


async def test_a_jump_is_a_gap_as_far_as_events_were_removed(group, gaps):
    """The rest of it are markers of transactions, which are no events."""
    for offset in (0, 1, 5, 6):
        group.received(0, offset)
    for offset in (0, 3):
        group.received(1, offset)
    group.places = {0: (0, 4), 1: (0, 0)}
    await group.check()
    assert gaps == [Gap("declarations", 0, 2, 4)]
    await group.check()
    assert len(gaps) == 1


async def test_a_jump_over_a_rebalance_is_none(group, gaps):
    """Another worker read what lies between."""
    group.received(0, 5)
    await group.assigned({0})
    group.received(0, 50)
    group.places = {0: (50, 50)}
    await group.check()
    assert gaps == []


async def test_a_broker_that_is_away_is_asked_again(group, gaps, monkeypatch):
    """The gap is told once it answers."""
    group.received(0, 0)
    group.received(0, 9)

    def away(_):
        raise NoAnswer("away")

    with monkeypatch.context() as patched:
        patched.setattr(group, "_places", away)
        await group.check()
        await group.assigned({1})
    group.places = {0: (0, 9)}
    await group.check()
    assert gaps == [Gap("declarations", 0, 1, 9)]


async def test_each_topic_of_a_worker_has_gaps_of_its_own(group, gaps, monkeypatch):
    """The same partition of another topic is another place."""
    other = Unread(Settings(), group="g", topic=ALERTS)
    monkeypatch.setattr(other, "_places", lambda asked: dict.fromkeys(asked, (4, 9)))
    both = UnreadOfAll((group, other))
    assert both.topics == ("declarations", "alerts")
    await both.assigned([("declarations", 0), ("alerts", 1)])
    assert gaps == [Gap("alerts", 1, 4, 9)]
    for topic, offset in (("declarations", 0), ("alerts", 5), ("alerts", 6), ("declarations", 3)):
        both.received(topic, 0, offset)
    group.places = {0: (0, 2)}
    await both.check()
    assert gaps[1:] == [Gap("declarations", 0, 1, 2)]
