"""Kafka records as a stage receives and returns them, and their deterministic ids."""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid5

from confluent_kafka import Message

from schemas.topics import Topic

Headers = tuple[tuple[str, bytes], ...]

ORIGIN: Final = "redlane_origin"
"""Header of an alert with the place of its declaration: topic/partition/offset."""
TIMINGS: Final = "redlane_timings"
"""Header with the milliseconds of each step; not in the value, because its bytes must not vary."""

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
    headers: Headers = ()

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


def received(message: Message) -> Inbound:
    """Return what a consumer of confluent-kafka received; `message` is no error."""
    # The client's types allow None where a message is an error.
    record: Any = message
    return Inbound(
        topic=record.topic(),
        partition=record.partition(),
        offset=record.offset(),
        key=record.key(),
        value=record.value(),
        timestamp=record.timestamp()[1] / 1000,
        headers=headers_of(message),
    )


def headers_of(message: Message) -> Headers:
    """Return the headers of a message; one without a value has an empty one."""
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return tuple((name, _bytes(value)) for name, value in pairs)


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


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
