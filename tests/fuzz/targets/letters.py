"""Headers of events, and dead letters: how they are made, listed and sent again."""

from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.topics import ASSESSMENTS, TOPICS
from streams.kafka.dead_letter import (
    MOST_COUNTED,
    ResultTooLarge,
    count,
    dead_letter,
    is_complete,
    is_fault,
    original_headers,
    reason_of,
)
from streams.kafka.events import (
    MAX_HEADERS_BYTES,
    Inbound,
    bounded_headers,
    cloud_event,
    event_id,
    fate_of,
    headers_of,
)
from streams.kafka.origin import PLACE
from streams.operations.dead_letters import _headers, _letter, dead_events
from tests.fakes import NOW
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import target
from tests.fuzz.targets.stages import headers


class Message:
    """A message as confluent-kafka gives it."""

    def __init__(self, choices, value, pairs, key):
        self._value, self._headers, self._key = value, pairs, key
        self._broken = choices.one_in(30)

    def headers(self):
        if self._broken:
            raise SystemError("of a UnicodeDecodeError")
        return self._headers

    def key(self):
        return self._key

    def value(self):
        return self._value

    def partition(self):
        return 0

    def offset(self):
        return 1


@target("headers", "complete", "without its value", weight=4)
def event_headers(choices: Choices) -> list[str]:
    """An event with any headers, key and value, that cannot be processed."""
    given = headers(choices)
    value = choices.pick((None, b"", b"\0\0\0\0\7", choices.bytes(30), bytes(16 << 20)))
    key = choices.pick((None, b"", b"\xff\xfe", choices.bytes(30), b"k" * 100_000))
    event = Inbound.bounded(topic="declarations", partition=0, offset=2**62, key=key, value=value, timestamp=choices.pick((None, -1.0, 1e15)), headers=given)  # fmt: skip
    assert bounded_headers(event.headers) == event.headers
    assert (
        sum(len(name.encode()) + len(each) for name, each in event.headers)
        <= MAX_HEADERS_BYTES + 100
    )
    PLACE.fullmatch(event.header("redlane_origin") or "")
    event.arrived(NOW)
    event_id(event, "b", "assessment")
    cloud_event("assessment", id_="i", source="s", time=NOW, traceparent=event.header("traceparent"), extensions=[fate_of(event)])  # fmt: skip
    error = choices.pick(
        (
            Undecodable(Reason.VALUE_NOT_AVRO, mutations.text(choices)),
            ResultTooLarge("x"),
            ValueError("x"),
        )
    )
    letter = dead_letter(event, error, stage="screen", bundle_id="b")
    assert letter.fits
    assert is_fault(letter) == isinstance(error, ValueError)
    assert set(original_headers(letter.headers)) <= set(event.headers)
    return [
        reason_of(error) if not isinstance(error, ValueError) else "complete",
        *again(choices, letter),
    ]


def again(choices, letter):
    """List a letter and send its event again, and once more."""
    ends = []
    for _ in range(2):
        listed = _letter(Message(choices, letter.value, list(letter.headers), letter.key))
        (dead,) = dead_events([listed, listed])
        assert dead.letter.value is None
        _ = listed.key_text, listed.attempts, listed.replays, listed.source_id
        sent = Inbound.bounded(topic="declarations", partition=0, offset=3, key=letter.key, value=letter.value, timestamp=0.0, headers=_headers(listed))  # fmt: skip
        assert count(sent.headers, "x_dlq.replays") == min(listed.replays + 1, MOST_COUNTED)
        letter = dead_letter(
            sent, Undecodable(Reason.VALUE_EMPTY, ""), stage="screen", bundle_id="c"
        )
        assert letter.fits
        ends.append("complete" if is_complete(letter.headers) else "without its value")
    return ends


@target("letters", "listed", weight=6)
def letters(choices: Choices) -> str:
    """What lies on dead-letters, whoever put it there."""
    listed = []
    for _ in range(1 + choices.below(4)):
        ours = [(f"x_dlq.{name}", mutations.text(choices, most=2000).encode()) for name in ("id", "reason", "attempt", "replays", "value_bytes") if choices.one_in(2)]  # fmt: skip
        ours += [(f"__streams.errors.{name}", choices.pick((b"declarations", b"-1", b"\xff", b"9" * 50))) for name in ("topic", "partition", "offset", "message") if choices.one_in(2)]  # fmt: skip
        pairs = choices.pick((headers(choices) + ours, dict(ours), None, [("ce_id", "text")]))
        listed.append(
            _letter(
                Message(choices, choices.pick((None, b"", b"v")), pairs, choices.pick((None, b"k")))
            )
        )
    for dead in dead_events(listed):
        _ = dead.letter.key_text, dead.letter.topic in TOPICS, is_complete(dead.letter.headers)
    for each in listed:
        sent = _headers(each)
        assert all(isinstance(value, bytes) for _, value in sent)
        assert sum(name == "ce_id" for name, _ in sent) >= 1
    assert headers_of(Message(choices, b"", None, None)) == ()
    assert ASSESSMENTS.schema
    return "listed"
