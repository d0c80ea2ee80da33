"""dead-letters → a list for a person, or back to the topics they came from.

An event may have several letters: it was sent again and failed again, or another bundle read it.
They are told by the event, so that it is listed once and sent again once.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Final

import structlog
from confluent_kafka import Message, Producer

from models.progress import Say
from schemas.codec import Undecodable
from schemas.records import DeadLetterReplay
from schemas.topics import DEAD_LETTER_REPLAYS, DEAD_LETTERS, TOPICS
from streams.kafka.contact import reach
from streams.kafka.dead_letter import (
    ATTEMPT,
    ERRORS,
    OURS,
    REPLAYS,
    count,
    counted,
    is_complete,
    original_headers,
)
from streams.kafka.delivery import Deliveries, producer
from streams.kafka.events import NAMESPACE, Headers, headers_of
from streams.kafka.origin import contents
from streams.kafka.publisher import Publisher
from streams.kafka.registry import Decoder, Registry
from streams.settings import Settings

ANSWER_S: Final = 10.0
"""Longest wait for Kafka to answer."""
CHUNK: Final = 100
"""Most events that are sent before they are marked: so many are sent twice after a crash."""
CHUNK_BYTES: Final = 32 << 20
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it lies on its topic."""

    id: str
    origin: str
    """topic/partition/offset of the event."""
    topic: str
    reason: str
    message: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    place: tuple[int, int] = (0, 0)
    """Partition and offset of the letter itself."""

    @property
    def key_text(self) -> str:
        """The key for a person."""
        return (self.key or b"").decode(errors="replace")

    @property
    def attempts(self) -> int:
        """How many times the event was tried."""
        return count(self.headers, ATTEMPT)

    @property
    def replays(self) -> int:
        """How many times the event had been sent again before this letter."""
        return count(self.headers, REPLAYS)

    @property
    def source_id(self) -> str:
        """The event's ce_id; its place where it has none."""
        given = (value for name, value in self.headers if name == "ce_id" and value)
        return next(given, self.origin.encode()).decode(errors="replace")

    @property
    def event(self) -> str:
        """Identification of the event, the same for all its letters."""
        key, value = (self.key or b"").hex(), hashlib.sha256(self.value or b"").hexdigest()
        return str(uuid.uuid5(NAMESPACE, f"{self.topic}|{self.source_id}|{key}|{value}"))


@dataclass(frozen=True, slots=True)
class DeadEvent:
    """An event that could not be processed, by its newest letter."""

    event: str
    letter: Letter
    """Without its value."""
    ids: frozenset[str]
    """Of all its letters."""
    reasons: frozenset[str]
    """Of the letters since it was last sent again: several stages may have failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which events; nothing said means all."""

    reason: str | None = None
    topic: str | None = None
    """That they came from."""
    ids: frozenset[str] = frozenset()
    """Of dead letters."""

    def __contains__(self, dead: DeadEvent) -> bool:
        """Whether the event is chosen."""
        return (
            (self.reason is None or self.reason in dead.reasons)
            and self.topic in {None, dead.letter.topic}
            and (not self.ids or bool(self.ids & dead.ids))
        )


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did, or would do. Numbers of events."""

    sent: int
    sent_before: int
    """Left out: sent again earlier, and not come back since."""
    came_back: int
    """Left out: sent again earlier, and failed again."""
    beyond_limit: int
    """Left for the next time."""
    incomplete: int = 0
    """Left out: too large to be kept as they were received, or of no topic of ours."""


def read_letters(settings: Settings) -> Iterator[Letter]:
    """Yield every dead letter that lies on the topic now, one that was delivered twice once.

    Raises:
        NotDeployed: the topic is missing.
        NotDelivered: the broker does not answer, or stopped answering.
    """
    reach(settings, within_s=ANSWER_S)
    seen = set()
    for message in contents(settings, DEAD_LETTERS, within_s=ANSWER_S):
        letter = _letter(message)
        identity = (letter.id or letter.place, letter.replays)
        if identity not in seen:
            seen.add(identity)
            yield letter


def _letter(message: Message) -> Letter:
    headers = headers_of(message)
    texts = {name: value.decode(errors="replace") for name, value in headers}
    names = (f"{ERRORS}topic", f"{ERRORS}partition", f"{ERRORS}offset")
    return Letter(
        id=texts.get(f"{OURS}id", ""),
        origin="/".join(texts.get(name, "?") for name in names),
        topic=texts.get(names[0], ""),
        reason=texts.get(f"{OURS}reason", ""),
        message=texts.get(f"{ERRORS}message", ""),
        key=message.key(),
        value=message.value(),
        headers=headers,
        place=(message.partition() or 0, message.offset() or 0),
    )


def dead_events(letters: Iterable[Letter]) -> list[DeadEvent]:
    """Return each event once, with its newest letter; in the order of the first ones."""
    events: dict[str, DeadEvent] = {}
    for letter in letters:
        dead = DeadEvent(
            letter.event,
            replace(letter, value=None),
            frozenset({letter.id}),
            frozenset({letter.reason}),
        )
        before = events.get(dead.event)
        events[dead.event] = dead if before is None else _merged(before, dead)
    return list(events.values())


def _merged(before: DeadEvent, dead: DeadEvent) -> DeadEvent:
    """Return the event of two letters: as the newer says, of equal ones the second."""
    older, newer = sorted((before, dead), key=lambda one: one.letter.replays)
    is_newer = newer.letter.replays > older.letter.replays
    reasons = newer.reasons if is_newer else before.reasons | dead.reasons
    return replace(newer, ids=before.ids | dead.ids, reasons=reasons)


def read_replays(settings: Settings) -> dict[str, int]:
    """Return how many times each event was sent again.

    Raises:
        NotDeployed: the topic or its schema is missing.
        NotDelivered: the broker does not answer.
        RegistryFailed: the registry does not answer.
    """

    @cache
    def decoder() -> Decoder:  # without a mark nobody needs the registry
        return Decoder(Registry(settings.registry_url).writers, [DEAD_LETTER_REPLAYS])

    marks = contents(settings, DEAD_LETTER_REPLAYS, within_s=ANSWER_S)
    return replays_of(
        (mark.value() for mark in marks),
        lambda value: decoder()(DEAD_LETTER_REPLAYS, value, DeadLetterReplay),
    )


def replays_of(
    values: Iterable[bytes | None], decode: Callable[[bytes | None], DeadLetterReplay]
) -> dict[str, int]:
    """Return how many times each event was sent again, by the marks that can be read.

    Args:
        values: of the marks; others are logged and left out.
        decode: raises `Undecodable`.
    """
    replays: dict[str, int] = {}
    for value in values:
        try:
            record = decode(value)
        except Undecodable as error:
            log.warning("mark of a replay skipped", reason=error.reason, detail=error.detail)
        else:
            before = replays.get(record.replayed_event, 0)
            replays[record.replayed_event] = max(record.replays, before)
    return replays


def replay(
    settings: Settings,
    choice: Choice,
    *,
    again: bool = False,
    limit: int | None = None,
    dry_run: bool = False,
    say: Say = lambda *_: None,
) -> Replayed:
    """Send dead-lettered events back to their topics, as they were received, each once.

    An event that was sent again is marked on a topic of its own; so it is left out the next time,
    also where this is cut short. It carries the `ce_id` of the first attempt, or where it has none
    the place of it, so that whatever becomes of it has the same ids.

    Args:
        settings: of Kafka and the registry.
        choice: which events.
        again: also those that came back after they had been sent again.
        limit: send no more than so many.
        dry_run: only count.
        say: told of the progress.

    Raises:
        NotDeployed: a topic or a schema is missing.
        NotDelivered: the broker does not answer, or did not take every event.
        RegistryFailed: the registry does not answer.
    """
    chosen = [dead for dead in dead_events(read_letters(settings)) if dead in choice]
    marks = read_replays(settings)
    sent_before = came_back = incomplete = 0
    places: dict[tuple[int, int], DeadEvent] = {}
    for dead in chosen:
        if dead.letter.topic not in TOPICS or not is_complete(dead.letter.headers):
            incomplete += 1
        elif marks.get(dead.event, 0) > dead.letter.replays:
            sent_before += 1
        elif dead.letter.replays and not again:
            came_back += 1
        else:
            places[dead.letter.place] = dead
    beyond = max(0, len(places) - limit) if limit is not None else 0
    places = dict(list(places.items())[: len(places) - beyond])
    count_sent = len(places)
    if places and not dry_run:
        letters = (letter for letter in read_letters(settings) if letter.place in places)
        count_sent = _send(settings, letters, len(places), say)
    return Replayed(count_sent, sent_before, came_back, beyond, incomplete)


def _send(settings: Settings, letters: Iterable[Letter], total: int, say: Say) -> int:
    """Send letters' events, chunk by chunk; return how many."""
    publisher = Publisher(settings, source="redlane/dead-letters")
    client = producer(settings, max_message_mb=DEAD_LETTERS.max_message_mb)
    sent = 0
    for chunk in _chunks(letters):
        _send_chunk(client, publisher, chunk)
        sent += len(chunk)
        say("sending again", sent, total)
    return sent


def _chunks(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    chunk: list[Letter] = []
    size = 0
    for letter in letters:
        chunk.append(letter)
        size += len(letter.value or b"")
        if len(chunk) == CHUNK or size > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _send_chunk(client: Producer, publisher: Publisher, chunk: list[Letter]) -> None:
    """Send the events, then mark those that the broker took, whatever became of the others."""
    deliveries = Deliveries(client)
    taken: list[Letter] = []
    for letter in chunk:
        deliveries.put(
            letter.topic,
            then=partial(taken.append, letter),
            key=letter.key,
            value=letter.value,
            headers=_headers(letter),
        )
    try:
        deliveries.wait()
    finally:
        publisher.put(DEAD_LETTER_REPLAYS, map(_mark, taken))


def _headers(letter: Letter) -> list[tuple[str, bytes]]:
    """Return the headers of the event, which counts its attempts and keeps its identification."""
    headers = [header for header in original_headers(letter.headers) if header != ("ce_id", b"")]
    if all(name != "ce_id" for name, _ in headers):
        headers.append(("ce_id", letter.source_id.encode()))
    numbers = {ATTEMPT: letter.attempts, REPLAYS: letter.replays + 1}
    # Before the others: of too many headers, the last are left out.
    return [(name, counted(number).encode()) for name, number in numbers.items()] + headers


def _mark(letter: Letter) -> DeadLetterReplay:
    return DeadLetterReplay(
        replayed_event=letter.event,
        dead_letter_id=letter.id,
        topic=letter.topic,
        replays=letter.replays + 1,
        replayed_at=datetime.now(UTC),
    )
