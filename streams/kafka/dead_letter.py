"""What could not be processed → dead-letters, as received, with its origin and the error.

Header names are those of Kafka Streams' KIP-1034, so that its tools read them. Headers hold no
personal data: the detail of a bad datum is our own text, and of a bug only lines of code are kept.
"""

import hashlib
import traceback
from collections import deque
from dataclasses import replace
from importlib.metadata import version
from typing import Final

from schemas import codec
from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.topics import DEAD_LETTERS
from streams.kafka.events import FATE, Headers, Inbound, Outbound, event_id, fate_of

ERRORS = "__streams.errors."
OURS = "x_dlq."
REPLAYS: Final = f"{OURS}replays"
"""Header with how many times the event was sent again, of a letter and of an event sent again."""
ATTEMPT: Final = f"{OURS}attempt"
"""Header with how many times the event was tried, of both too."""
RETRYABLE: Final = frozenset({Reason.SCHEMA_UNKNOWN, Reason.DELIVERY_REFUSED})
"""Reasons of bad data that may be none: a schema is registered, or the registry answers again; case
management was mended."""
MAX_MESSAGE = 500
MAX_STACK = 4000
MOST_COUNTED: Final = 999_999
"""Attempts, or times that an event was sent again; a sender may write any number into a header."""
MAX_KEY = 1024
"""Bytes of a key that is kept where the event is too large."""


class ResultTooLarge(Exception):  # noqa: N818 - says what it is
    """No topic takes what became of an event."""


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
    reason = reason_of(error)
    retryable = reason in RETRYABLE or not isinstance(error, Undecodable | ResultTooLarge)
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
        ATTEMPT: counted(count(cause.headers, ATTEMPT) + (1 if bad_datum else 2)),
        REPLAYS: counted(count(cause.headers, REPLAYS)),
        f"{OURS}retryable": "true" if retryable else "false",
        f"{OURS}schema_id": "" if schema_id is None else str(schema_id),
        f"{OURS}app_version": version("redlane"),
    }
    letter = Outbound(
        topic=DEAD_LETTERS,
        key=cause.key,
        # Faust's producer wants one of both, and nothing is as little as no bytes.
        value=b"" if cause.key is None and cause.value is None else cause.value,
        headers=(
            *original_headers(cause.headers),
            *((name, value.encode()) for name, value in (*headers.items(), fate_of(cause))),
        ),
    )
    return letter if letter.fits else without_value(letter)


def without_value(letter: Outbound) -> Outbound:
    """Return a dead letter that every topic takes: without a value, and a long key cut off.

    Its headers tell the value's size and hash, and where the event lies as long as it is kept.
    """
    value = letter.value or b""
    omitted = {
        f"{OURS}value_bytes": str(len(value)),
        f"{OURS}value_sha256": hashlib.sha256(value).hexdigest(),
    }
    return replace(
        letter,
        key=letter.key and letter.key[:MAX_KEY],
        value=b"",
        headers=letter.headers + tuple((name, text.encode()) for name, text in omitted.items()),
    )


def is_complete(headers: Headers) -> bool:
    """Whether a dead letter with these headers holds the event as it was received."""
    return all(name != f"{OURS}value_bytes" for name, _ in headers)


def reason_of(error: Exception) -> Reason:
    """Return the reason code of an event that could not be processed."""
    if isinstance(error, Undecodable):
        return error.reason
    return Reason.RESULT_TOO_LARGE if isinstance(error, ResultTooLarge) else Reason.SCREENING_FAILED


def count(headers: Headers, name: str) -> int:
    """Return the number in a header; 0 where there is none, or no plausible one."""
    text = next((value for header, value in headers if header == name), b"")
    return int(text) if text.isdigit() and len(text) <= len(str(MOST_COUNTED)) else 0


def counted(number: int) -> str:
    """Return a number as `count` reads it: never above `MOST_COUNTED`."""
    return str(min(number, MOST_COUNTED))


def original_headers(headers: Headers) -> Headers:
    """Return the headers of the event as it was received."""
    return tuple(
        (name, value)
        for name, value in headers
        if name != FATE and not name.startswith((ERRORS, OURS))
    )


class DeadLetterLimit:
    """Stops the worker when too many events in a row, or of the last ones, fail by our fault."""

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


FAULTS: Final = frozenset({Reason.SCREENING_FAILED, Reason.DELIVERY_REFUSED})
"""Reasons of dead letters that are a fault of ours or of case management; all others are their
sender's."""


def dead_reason(event: Outbound) -> str | None:
    """Return the reason code of a dead letter; None of another event."""
    if event.topic is not DEAD_LETTERS:
        return None
    return dict(event.headers).get(f"{OURS}reason", b"").decode()


def is_fault(event: Outbound) -> bool:
    """Whether an event is a dead letter by a fault: one sender's bad data must stop nobody."""
    return dead_reason(event) in FAULTS
