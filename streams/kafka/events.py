"""Kafka records as a stage receives and returns them, and their deterministic ids."""

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self
from uuid import UUID, uuid5

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from schemas.topics import Topic

Headers = tuple[tuple[str, bytes], ...]

ORIGIN: Final = "redlane_origin"
"""Header of an alert with the place of its declaration: topic/partition/offset."""
FATE: Final = "redlane_fate"
"""Header of every result and dead letter: what it shares with all other answers to its event."""
TIMINGS: Final = "redlane_timings"
"""Header with the milliseconds of each step; not in the value, because its bytes must not vary."""

READ: Final = ("ce_id", "traceparent", ORIGIN)
"""Headers that stages read."""
MAX_ID_BYTES: Final = 256
MAX_HEADER_BYTES: Final = 4096
MAX_HEADERS_BYTES: Final = 65_536
"""Of all headers of an event together, their names included."""
TRACEPARENT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

LATEST_S: Final = 253_402_300_799.0
"""The last second that a calendar has. Unit: s since 1970-01-01T00:00Z."""
CLOCKS_APART_S: Final = 3600.0
"""So far the broker's clock may be ahead of ours. Unit: s."""
NAMESPACE: Final = UUID("6f2f36c3-1c1e-5a39-9d1b-6b1b7c6d7a10")
"""Of every event id that Redlane gives; changing it makes every id new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """A Kafka record as received, not decoded."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: float
    """Seconds since 1970-01-01T00:00Z, as the sender or broker set it."""
    timestamp_by_broker: bool = False
    """The broker set it when it took the event (LogAppendTime), whatever the sender said."""
    headers: Headers = ()

    @classmethod
    def bounded(
        cls,
        *,
        timestamp: float | None,
        headers: Iterable[tuple[str, str | bytes | None]],
        **fields: Any,
    ) -> Self:
        """Return an event from outside: whatever its headers hold, results can repeat them.

        Args:
            timestamp: in seconds; missing or negative ones count as 0, those after the year 9999 as
                its end.
            headers: as received; see `bounded_headers`.
            fields: of the event, as received.
        """
        at = min(max(0.0, timestamp or 0.0), LATEST_S)
        return cls(timestamp=at, headers=bounded_headers(headers), **fields)

    def arrived(self, now: datetime) -> float:
        """Return when the event arrived. Unit: s since 1970-01-01T00:00Z.

        A time that the sender may have chosen does not count, nor one to come: then it arrives as
        it is read.

        Args:
            now: our clock, which goes on between two deliveries; `streams.evidence.signals` keeps
                the first.
        """
        ours = now.timestamp()
        by_broker = self.timestamp_by_broker and 0 < self.timestamp < ours + CLOCKS_APART_S
        return self.timestamp if by_broker else ours

    def header(self, name: str) -> str | None:
        """Return the first header of that name as text; bytes that are no UTF-8 are replaced."""
        return next(
            (value.decode(errors="replace") for key, value in self.headers if key == name), None
        )

    @property
    def source_id(self) -> str:
        """Identification of the event: its ce_id, or its place if it has none."""
        return self.header("ce_id") or f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """A Kafka record to be published."""

    topic: Topic
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def fits(self) -> bool:
        """Whether its topic takes it, as `redlane deploy` creates it, and readers decode it."""
        if self.topic.schema and len(self.value or b"") > self.topic.max_value_mb << 20:
            return False
        size = len(self.key or b"") + len(self.value or b"") + RECORD_BYTES
        size += sum(len(name.encode()) + len(value) + RECORD_BYTES for name, value in self.headers)
        return size <= self.topic.max_message_mb << 20


RECORD_BYTES: Final = 128
"""Room for what Kafka's format adds to a record, and more than it adds to a header."""


def received(message: Message) -> Inbound:
    """Return what a consumer of confluent-kafka received; `message` is no error."""
    # The client's types allow None where a message is an error.
    record: Any = message
    return Inbound.bounded(
        topic=record.topic(),
        partition=record.partition(),
        offset=record.offset(),
        key=record.key(),
        value=record.value(),
        timestamp=record.timestamp()[1] / 1000,
        timestamp_by_broker=record.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME,
        headers=headers_of(message),
    )


def headers_of(message: Message) -> Headers:
    """Return the headers of a message; one without a value has an empty one.

    There are none where the name of one is no UTF-8: the client cannot read them.
    """
    try:
        headers = message.headers() or []
    except SystemError:  # from a UnicodeDecodeError
        return ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    return tuple((name, _bytes(value)) for name, value in pairs)


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def bounded_headers(headers: Iterable[tuple[str, str | bytes | None]]) -> Headers:
    """Return the headers of an event from outside, so that results can repeat them.

    A value that is missing is empty, and a long one is cut off. In place of a long or unprintable
    ce_id stands its hash, which is as good to recognise duplicates by; a traceparent that is none
    is empty. Of too many headers, those that stages read are kept, and the first of the others.
    Bounded once more, the headers stay as they are.
    """
    kept: list[tuple[str, bytes]] = []
    seen: set[str] = set()
    left = MAX_HEADERS_BYTES - len(READ) * MAX_HEADER_BYTES
    for name, received_value in headers:
        value = _bounded_value(name, _bytes(received_value))
        if name in READ and name not in seen:
            seen.add(name)
            kept.append((name, value))
            continue
        size = len(name.encode()) + len(value)
        if size <= left:
            left -= size
            kept.append((name, value))
    return tuple(kept)


def _bounded_value(name: str, value: bytes) -> bytes:
    if name == "ce_id":
        # U+FFFD stands for bytes that are no UTF-8, and is printable.
        text = value[: MAX_ID_BYTES + 1].decode(errors="replace")
        if len(value) <= MAX_ID_BYTES and text.isprintable() and "\ufffd" not in text:
            return value
        return f"sha256:{hashlib.sha256(value).hexdigest()}".encode()
    if name == "traceparent":
        return value if TRACEPARENT.fullmatch(value) else b""
    return value[:MAX_HEADER_BYTES]


def event_id(cause: Inbound, bundle_id: str, event: str) -> str:
    """Return the id of the event that `cause` leads to: equal whenever it is delivered again.

    It depends on key and value too, so that two declarations that wrongly share a ce_id both
    survive in a reader who keeps ids.

    Args:
        cause: the event that leads to it.
        bundle_id: of the model bundle that judged.
        event: name of the schema, or of the topic where there is none.
    """
    value = hashlib.sha256(cause.value or b"").hexdigest()
    key = (cause.key or b"").hex()
    return str(uuid5(NAMESPACE, f"{cause.source_id}|{key}|{value}|{bundle_id}|{event}"))


def fate_of(cause: Inbound) -> tuple[str, str]:
    """Return the header that says which event a result or dead letter answers.

    It depends on nothing but the event: not on the bundle, nor on what became of it. Should one
    event be answered twice (a worker that is killed before it commits, an upgrade in between, a
    dead letter that is sent again), readers see that by this id. An assessment counts before a dead
    letter, and the first before later ones.
    """
    return FATE, event_id(cause, "", "fate")


def cloud_event(
    schema: str | None,
    *,
    id_: str,
    source: str,
    time: datetime,
    traceparent: str | None,
    extensions: Iterable[tuple[str, str]] = (),
) -> Headers:
    """Return the headers of an Avro event in CloudEvents' binary mode (Kafka protocol binding).

    Args:
        schema: name of the event's schema.
        id_: the event's id.
        source: what makes it, `redlane/…`.
        time: when it is made.
        traceparent: of the trace that it belongs to (W3C Trace Context); None for none.
        extensions: further headers.
    """
    headers = {
        "ce_specversion": "1.0",
        "ce_id": id_,
        "ce_source": source,
        "ce_type": f"redlane.{schema}",
        "ce_time": time.astimezone(UTC).isoformat(timespec="milliseconds"),
        "content-type": "application/avro",
    }
    if traceparent:
        headers["traceparent"] = traceparent
    return tuple((name, value.encode()) for name, value in (headers | dict(extensions)).items())


def new_trace() -> str:
    """Return the traceparent of a new trace."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
