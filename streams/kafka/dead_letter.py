"""What could not be processed → dead-letters, as received, with its origin and the error.

Header names are those of Kafka Streams' KIP-1034, so that its tools read them. Headers hold no
personal data: the detail of a bad datum is our own text, and of a bug only lines of code are kept.
"""

import traceback
from collections import deque
from importlib.metadata import version
from typing import Final

from schemas import codec
from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.topics import DEAD_LETTERS
from streams.kafka.events import Headers, Inbound, Outbound, event_id

ERRORS = "__streams.errors."
OURS = "x_dlq."
REPLAYS: Final = f"{OURS}replays"
"""Header with how many times the event was sent again, of a letter and of an event sent again."""
ATTEMPT: Final = f"{OURS}attempt"
"""Header with how many times the event was tried, of both too."""
RETRYABLE: Final = frozenset({Reason.SCHEMA_UNKNOWN})
"""Reasons of bad data that may be none: a schema is registered, or the registry answers again."""
MAX_MESSAGE = 500
MAX_STACK = 4000
MAX_DIGITS = 7


class TooManyDeadLetters(Exception):  # noqa: N818 - says what it is
    """So many events fail that the fault is probably ours: stop before the topic is drained."""


def dead_letter(cause: Inbound, error: Exception, *, stage: str, bundle_id: str) -> Outbound:
    """Return the dead letter of an event: key, value and headers kept.

    The event's timestamp becomes a header, because retention goes by the letter's own: the letter
    of an old event would be removed within minutes.

    Args:
        cause: the event that could not be processed.
        error: why; a bad datum (`Undecodable`) or a failure of our own code.
        stage: name of the stage that gave up.
        bundle_id: of the model bundle, for the deterministic id.
    """
    bad_datum = isinstance(error, Undecodable)
    reason = error.reason if isinstance(error, Undecodable) else Reason.SCREENING_FAILED
    message = error.detail if isinstance(error, Undecodable) else type(error).__name__
    stack = "" if bad_datum else "".join(traceback.format_tb(error.__traceback__))
    schema_id = codec.schema_id(cause.value)
    headers = {
        f"{ERRORS}exception": f"{type(error).__module__}.{type(error).__qualname__}",
        f"{ERRORS}message": message[:MAX_MESSAGE],
        f"{ERRORS}stacktrace": stack[-MAX_STACK:],
        f"{ERRORS}topic": cause.topic,
        f"{ERRORS}partition": str(cause.partition),
        f"{ERRORS}offset": str(cause.offset),
        f"{OURS}timestamp": str(round(cause.timestamp * 1000)),
        f"{OURS}id": event_id(cause, bundle_id, DEAD_LETTERS.name),
        f"{OURS}reason": reason,
        f"{OURS}stage": stage,
        ATTEMPT: str(count(cause.headers, ATTEMPT) + (1 if bad_datum else 2)),
        REPLAYS: str(count(cause.headers, REPLAYS)),
        f"{OURS}retryable": "true" if not bad_datum or reason in RETRYABLE else "false",
        f"{OURS}schema_id": "" if schema_id is None else str(schema_id),
        f"{OURS}app_version": version("redlane"),
    }
    return Outbound(
        topic=DEAD_LETTERS,
        key=cause.key,
        value=cause.value,
        headers=original_headers(cause.headers)
        + tuple((name, value.encode()) for name, value in headers.items()),
    )


def count(headers: Headers, name: str) -> int:
    """Return the number in a header; 0 where there is none, or no plausible one."""
    text = next((value for header, value in headers if header == name), b"")
    return int(text) if text.isdigit() and len(text) < MAX_DIGITS else 0


def original_headers(headers: Headers) -> Headers:
    """Return the headers of the event as it was received."""
    return tuple(header for header in headers if not header[0].startswith((ERRORS, OURS)))


class DeadLetterLimit:
    """Stops the worker when too many events in a row, or of the last ones, are dead letters."""

    WINDOW = 200

    def __init__(self, *, in_a_row: int, share: float) -> None:
        self._in_a_row = in_a_row
        self._share = share
        self._row = 0
        self._last: deque[bool] = deque(maxlen=self.WINDOW)

    def count(self, *, dead: bool) -> None:
        """Count one event's fate.

        Raises:
            TooManyDeadLetters: a limit is exceeded; the dead letters so far are published.
        """
        self._row = self._row + 1 if dead else 0
        self._last.append(dead)
        if self._row > self._in_a_row:
            raise TooManyDeadLetters(
                f"{self._row} events in a row became dead letters. Look at the newest of "
                f"{DEAD_LETTERS.name}, then restart; REDLANE_DEAD_LETTERS_IN_A_ROW sets the limit."
            )
        if len(self._last) == self.WINDOW and sum(self._last) > self._share * self.WINDOW:
            raise TooManyDeadLetters(
                f"{sum(self._last)} of the last {self.WINDOW} events became dead letters. Look at "
                f"the newest of {DEAD_LETTERS.name}, then restart; REDLANE_DEAD_LETTER_SHARE sets "
                "the limit."
            )
