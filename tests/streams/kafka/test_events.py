"""What comes from outside is bounded at the border; the ids of events are deterministic."""

from dataclasses import replace

import pytest

from streams.kafka.events import (
    MAX_HEADER_BYTES,
    MAX_HEADERS_BYTES,
    ORIGIN,
    Inbound,
    bounded_headers,
    event_id,
    fate_of,
    headers_of,
)
from tests.fakes import inbound

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ce_id", b"e-1", b"e-1"),
        ("ce_id", "déclaration 1".encode(), "déclaration 1".encode()),
        ("ce_id", None, b""),
        ("ce_id", b"x" * 256, b"x" * 256),
        ("traceparent", TRACE, TRACE),
        ("traceparent", None, b""),
        ("traceparent", b"0" * MEGABYTE, b""),
        ("traceparent", TRACE + b"\n", b""),
        ("traceparent", TRACE.upper(), b""),
        ("traceparent", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01", b""),
        (ORIGIN, b"declarations/0/1", b"declarations/0/1"),
        ("other", b"x" * MEGABYTE, b"x" * MAX_HEADER_BYTES),
        ("other", None, b""),
        ("other", "text", b"text"),
    ],
)
def test_a_header_is_bounded(name, value, expected):
    """A null value, megabytes, what is no trace: results may repeat what is left."""
    assert bounded_headers([(name, value)]) == ((name, expected),)


@pytest.mark.parametrize("value", [b"x" * 257, b"x" * MEGABYTE, b"\xff\xfe", b"a\0b", b"a\nb"])
def test_an_unusual_ce_id_is_replaced_by_its_hash(value):
    """It still tells events apart, and is the same after a replay of the dead letter."""
    ((_, hashed),) = bounded_headers([("ce_id", value)])
    assert hashed.startswith(b"sha256:")
    assert len(hashed) == 71
    assert bounded_headers([("ce_id", hashed)]) == (("ce_id", hashed),)
    assert bounded_headers([("ce_id", value + b"x")]) != bounded_headers([("ce_id", value)])


def test_of_too_many_headers_those_that_stages_read_are_kept():
    """Whatever their number, order and names, all together stay small."""
    headers = [(f"h{n}", b"x" * 100) for n in range(100_000)]
    headers += [("n" * MEGABYTE, b""), *[("ce_id", b"e%d" % n) for n in range(50_000)]]
    headers += [("traceparent", TRACE)]
    kept = bounded_headers(headers)
    assert kept[0] == ("h0", b"x" * 100)
    assert dict(reversed(kept))["ce_id"] == b"e0"
    assert dict(kept)["traceparent"] == TRACE
    assert sum(len(name) + len(value) for name, value in kept) <= MAX_HEADERS_BYTES
    assert bounded_headers(kept) == kept


def test_headers_that_the_client_cannot_read_are_none():
    """A name that is no UTF-8 stops nothing: confluent-kafka raises this for it."""

    class Unreadable:
        def headers(self):
            raise SystemError

    assert headers_of(Unreadable()) == ()


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [(None, 0.0), (-0.001, 0.0), (5.0, 5.0), (9.2e15, 253_402_300_799.0)],
)
def test_the_time_of_an_event_is_one_that_a_calendar_has(timestamp, expected):
    """Kafka knows events without a timestamp, and those of any time that 64 bits hold."""
    fields = {"topic": "t", "partition": 0, "offset": 0, "key": None, "value": None}
    assert Inbound.bounded(timestamp=timestamp, headers=(), **fields).timestamp == expected


def test_all_answers_to_an_event_share_one_fate_id():
    """It depends on the event alone; ids of results also depend on the bundle."""
    event = inbound(value=b"x", offset=3)
    again = replace(event, offset=99, timestamp=0.0)
    assert fate_of(event) == fate_of(again)
    assert fate_of(event)[0] == "redlane_fate"
    assert fate_of(event) != fate_of(replace(event, value=b"y"))
    assert fate_of(event)[1] != event_id(event, "bundle", "assessment")
