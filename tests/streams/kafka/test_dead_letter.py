"""Dead letters: what they keep of the event, and how attempts are counted."""

import pytest

from schemas.codec import Undecodable
from schemas.reasons import Reason
from streams.kafka.dead_letter import dead_letter
from tests.fakes import inbound

BAD = Undecodable(Reason.VALUE_NOT_AVRO, "no Avro")


def headers_of(error=BAD, **event):
    letter = dead_letter(inbound(value=b"v", **event), error, stage="screen", bundle_id="b")
    return letter.headers


def test_attempts_go_on_where_an_event_was_sent_again():
    """The letter of an event that came back replaces nothing of the first one's numbers."""
    first = dict(headers_of())
    assert (first["x_dlq.attempt"], first["x_dlq.replays"]) == (b"1", b"0")
    sent_again = (("ce_id", b"e1"), ("x_dlq.attempt", b"1"), ("x_dlq.replays", b"1"))
    second = headers_of(RuntimeError(), headers=sent_again)
    assert [name for name, _ in second].count("x_dlq.attempt") == 1
    assert (dict(second)["x_dlq.attempt"], dict(second)["x_dlq.replays"]) == (b"3", b"1")


@pytest.mark.parametrize("number", [b"", b"-1", b"1e3", b"9" * 5000, b"\xff", "¹".encode()])
def test_a_number_that_a_sender_made_up_counts_as_none(number):
    """Headers come from outside."""
    letter = dict(headers_of(headers=(("x_dlq.attempt", number), ("x_dlq.replays", number))))
    assert (letter["x_dlq.attempt"], letter["x_dlq.replays"]) == (b"1", b"0")
