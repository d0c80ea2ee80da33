"""Where a chain is gone on with, and what is told where its events are not those of before."""

from types import SimpleNamespace

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from streams import metrics
from streams.audit.chain import Head
from streams.audit.writer import SourceRecreated, Writer
from streams.local.process import LOOPBACK, free_port
from streams.settings import Settings

PLACE = TopicPartition("assessments", 2)


def next_offset(logged, first, end):
    consumer = SimpleNamespace(get_watermark_offsets=lambda *_, **__: (first, end))
    chain = SimpleNamespace(chain="assessments/2", head=Head(5, "", logged))
    return Writer._next_offset(consumer, chain, PLACE)


def expired():
    return metrics.EXPIRED.labels("assessments", "2")._value.get()


def test_a_new_chain_begins_with_the_first_event():
    """Whatever retention has left of the topic."""
    assert next_offset(-1, 40, 90) == OFFSET_BEGINNING


def test_a_chain_goes_on_behind_the_last_event_that_it_has():
    """Also where that was the last one."""
    before = expired()
    assert (next_offset(57, 0, 90), next_offset(89, 90, 90)) == (58, 90)
    assert expired() == before


def test_events_that_were_removed_before_they_were_logged_are_told():
    """The chain goes on with the first that is left."""
    before = expired()
    next_offset(57, 70, 90)
    assert expired() == before + 12


def test_a_topic_that_was_created_again_stops_the_log():
    """Its offsets begin anew: the log would leave out its events in silence."""
    with pytest.raises(SourceRecreated, match="assessments/2"):
        next_offset(57, 0, 10)


def test_a_storage_that_fails_stops_no_log_and_is_asked_again():
    """The anchors are told in the log of the process all the same."""
    writer = Writer.__new__(Writer)
    endpoint = f"http://{LOOPBACK}:{free_port()}"
    writer._settings = Settings(
        audit_anchors_bucket="anchors", s3_endpoint=endpoint, photo_deadline_s=0.5
    )
    writer._chains = {("assessments", 2): SimpleNamespace(chain="assessments/2", head=Head(3, "f" * 64, 2))}  # fmt: skip
    writer._anchored = {}
    failed = metrics.ANCHORS.labels("failed")._value.get()
    writer.anchor()
    writer.anchor()
    assert metrics.ANCHORS.labels("failed")._value.get() == failed + 2
    writer._settings = Settings()
    writer.anchor()
    writer.anchor()
    assert writer._anchored == {"assessments/2": 3}
