"""What is known of a declaration between its messages: its versions, and what waits.

One object in object storage for each declaration, replaced only where it is as it was read. Pure
state and its steps; the object itself: store.py.
"""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from schemas import json_form
from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.records import Declaration
from streams.intake.wco import Kind, Message, version_of
from streams.kafka.events import Headers, Inbound

FORMAT: Final = 1
CANCELLED: Final = "cancelled"
MAX_MESSAGES: Final = 99
"""Of one declaration: its ledger is read and written with each."""
EXPIRY: Final = "expiry"
"""Stands for the event with which an expired message is published."""


class UnknownFormat(ValueError):  # noqa: N818 - says what it is
    """The object is none of ours, or of a later version."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it was received."""

    event: str
    """Its id: the same when it is delivered again."""
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    timestamp: float
    headers: Headers

    @classmethod
    def of(cls, cause: Inbound, event: str) -> Self:
        """Keep an event."""
        return cls(
            event,
            cause.topic,
            cause.partition,
            cause.offset,
            cause.key,
            cause.value or b"",
            cause.timestamp,
            cause.headers,
        )

    def inbound(self) -> Inbound:
        """Return the event again."""
        return Inbound(
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            key=self.key,
            value=self.value,
            timestamp=self.timestamp,
            timestamp_by_broker=True,
            headers=self.headers,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one message."""

    event: str
    published_with: str
    """Event with which it is published: the message's own, or the original that it waited for."""
    declaration: Declaration | None = None
    """The version that it made; None where it made none."""
    reason: str = ""
    detail: str = ""
    """Why it made none."""
    received: Received | None = None
    """Kept of a message that had waited."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """All messages of one declaration, so far."""

    steps: tuple[Step, ...] = ()
    waiting: tuple[Received, ...] = ()
    """In the order in which they came."""

    @property
    def declared(self) -> Declaration | None:
        """The declaration as it stands; None before its original."""
        return next((s.declaration for s in reversed(self.steps) if s.declaration), None)

    def published_with(self, event: str) -> list[Step]:
        """Return the steps that are published with an event."""
        return [step for step in self.steps if step.published_with == event]

    def take(self, received: Received, message: Message) -> "Ledger":
        """Return the ledger after a message; the same ledger where it was taken before.

        Raises:
            Undecodable: the message makes no version: a bad datum.
        """
        event = received.event
        if any(event == step.event for step in self.steps):
            return self
        if any(event == waiting.event for waiting in self.waiting):
            return self
        declared = self.declared
        if len(self.steps) + len(self.waiting) >= MAX_MESSAGES:
            raise Undecodable(
                Reason.MESSAGE_INVALID, f"the declaration has {MAX_MESSAGES} messages already"
            )
        if message.kind is not Kind.DECLARATION and declared is None:
            return replace(self, waiting=(*self.waiting, received))
        version = _version(message, declared)
        return replace(self, steps=(*self.steps, Step(event, event, version)))

    def release(self, event: str, understand: Callable[[bytes], Message]) -> "Ledger":
        """Return the ledger after its waiting messages found their original.

        Args:
            event: of the original, with which they are published.
            understand: reads a message.
        """
        if not self.waiting or self.declared is None:
            return self
        steps = list(self.steps)
        for received in self.waiting:
            ledger = Ledger(tuple(steps))
            try:
                version = _version(understand(received.value), ledger.declared)
                steps.append(Step(received.event, event, version, received=received))
            except Undecodable as error:
                steps.append(
                    Step(received.event, event, None, error.reason, error.detail, received)
                )
        return Ledger(tuple(steps))

    def expire(self, before: float) -> "Ledger":
        """Return the ledger after those that wait since before a time, in s, have failed."""
        due = [received for received in self.waiting if received.timestamp < before]
        if not due:
            return self
        detail = "no original with this LRN or MRN came in time"
        reason = Reason.AMENDMENT_UNMATCHED
        failed = (Step(one.event, EXPIRY, None, reason, detail, one) for one in due)
        kept = tuple(one for one in self.waiting if one not in due)
        return Ledger((*self.steps, *failed), kept)


def _version(message: Message, declared: Declaration | None) -> Declaration:
    """Return the next version of a declaration.

    A second original of the same reference is a new version too: nothing that was lodged is lost.
    """
    if message.kind is Kind.CANCELLATION and declared is not None:
        return replace(declared, version=declared.version + 1, status=CANCELLED)
    if message.kind is Kind.DECLARATION and declared is not None:
        again = version_of(message, None)
        return replace(again, declaration_id=declared.declaration_id, version=declared.version + 1)
    return version_of(message, declared)


def write(ledger: Ledger) -> bytes:
    """Return the object of a ledger."""

    def step(one: Step) -> dict[str, Any]:
        declaration = one.declaration and json.loads(json_form.write(one.declaration))
        received = one.received and _received_json(one.received)
        return asdict(replace(one, declaration=None, received=None)) | {
            "declaration": declaration,
            "received": received,
        }

    return json.dumps(
        {
            "format": FORMAT,
            "steps": [step(one) for one in ledger.steps],
            "waiting": [_received_json(one) for one in ledger.waiting],
        },
        ensure_ascii=False,
    ).encode()


def read(value: bytes) -> Ledger:
    """Return the ledger of an object.

    Raises:
        UnknownFormat: it is none of ours.
    """
    try:
        content = json.loads(value)
        if content["format"] != FORMAT:
            raise UnknownFormat(f"format {content['format']!r}")
        return Ledger(tuple(_steps(content["steps"])), tuple(map(_received, content["waiting"])))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnknownFormat("the ledger of a declaration cannot be read") from error


def _steps(content: Sequence[dict[str, Any]]) -> Iterator[Step]:
    for one in content:
        declaration = one["declaration"]
        yield Step(
            str(one["event"]),
            str(one["published_with"]),
            declaration and json_form.read(json.dumps(declaration), Declaration),
            str(one["reason"]),
            str(one["detail"]),
            one["received"] and _received(one["received"]),
        )


def _received_json(one: Received) -> dict[str, Any]:
    return {
        "event": one.event,
        "topic": one.topic,
        "partition": one.partition,
        "offset": one.offset,
        "key": None if one.key is None else _text(one.key),
        "value": _text(one.value),
        "timestamp": one.timestamp,
        "headers": [[name, _text(value)] for name, value in one.headers],
    }


def _received(content: dict[str, Any]) -> Received:
    key = content["key"]
    return Received(
        str(content["event"]),
        str(content["topic"]),
        int(content["partition"]),
        int(content["offset"]),
        None if key is None else base64.b64decode(key),
        base64.b64decode(content["value"]),
        float(content["timestamp"]),
        tuple((str(name), base64.b64decode(value)) for name, value in content["headers"]),
    )


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
