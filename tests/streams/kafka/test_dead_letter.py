"""A dead letter can always be published, and says what it answers."""

import pytest

from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.topics import DEAD_LETTERS
from streams.kafka.dead_letter import (
    FAULTS,
    MOST_COUNTED,
    count,
    dead_letter,
    is_complete,
    is_fault,
    original_headers,
    without_value,
)
from streams.kafka.events import fate_of
from tests.fakes import inbound

ERROR = Undecodable(Reason.VALUE_EMPTY, "no bytes")


def letter(event):
    return dead_letter(event, ERROR, stage="test", bundle_id="b")


def test_it_has_the_fate_id_of_its_event():
    """So has an assessment of the same event; one that the sender made up does not count."""
    event = inbound(value=b"x", headers=(("ce_id", b"e1"), ("redlane_fate", b"made up")))
    (fate,) = [value for name, value in letter(event).headers if name == "redlane_fate"]
    assert fate == fate_of(event)[1].encode()
    assert original_headers(letter(event).headers) == (("ce_id", b"e1"),)


def test_an_event_of_nothing_has_one():
    """Neither key nor value: a producer would refuse it."""
    assert (letter(inbound(value=None, key=None)).key, letter(inbound(value=None, key=None)).value) == (None, b"")  # fmt: skip
    assert letter(inbound(value=None, key=b"k")).value is None


@pytest.mark.parametrize("fields", [{"value": bytes(40 << 20)}, {"key": bytes(40 << 20), "value": b"x"}])  # fmt: skip
def test_an_event_that_is_larger_than_its_topic_is_kept_without_value(fields):
    """A compressed one may be: its size, hash and place are told, and it cannot be sent again."""
    event = inbound(**fields)
    kept = letter(event)
    headers = dict(kept.headers)
    assert kept.fits
    assert kept.value == b""
    assert kept.key == event.key[:1024]
    assert headers["x_dlq.value_bytes"] == str(len(event.value)).encode()
    assert len(headers["x_dlq.value_sha256"]) == 64
    assert not is_complete(kept.headers)
    assert is_complete(letter(inbound(value=b"x")).headers)


def test_what_fits_is_kept_as_it_was_received():
    """Up to the size of its topic, headers included."""
    room = (DEAD_LETTERS.max_message_mb << 20) - 16_384
    assert letter(inbound(value=bytes(room))).value == bytes(room)
    assert without_value(letter(inbound(value=None, key=None))).fits


def headers_of(error=ERROR, **event):
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


def test_numbers_end_somewhere():
    """A sender may begin with the largest: it does not become none."""
    most = str(MOST_COUNTED).encode()
    repeated = (("x_dlq.attempt", most), ("x_dlq.replays", most))
    headers = dict(headers_of(headers=repeated))
    assert (headers["x_dlq.attempt"], headers["x_dlq.replays"]) == (most, most)
    assert count(repeated, "x_dlq.replays") == MOST_COUNTED


@pytest.mark.parametrize("reason", [one for one in Reason if one not in FAULTS])
def test_no_bad_datum_counts_as_a_fault_of_ours(reason):
    """Whatever its reason, however many in a row: one sender must not stop the others."""
    event = inbound(value=b"<a>")
    bad = dead_letter(event, Undecodable(reason, ""), stage="intake", bundle_id="")
    assert not is_fault(bad)
    assert is_fault(dead_letter(event, ValueError(), stage="intake", bundle_id=""))


def test_many_that_case_management_refuses_stop_the_worker():
    """Its address or its program is probably wrong: they must not all become dead letters."""
    error = Undecodable(Reason.DELIVERY_REFUSED, "")
    assert is_fault(dead_letter(inbound(value=b"x"), error, stage="deliver", bundle_id=""))
