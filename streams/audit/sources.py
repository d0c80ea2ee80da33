"""The topics with decisions → which chain of the log each partition has, and what an entry says."""

import hashlib
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from models.selection.policy import LANES
from schemas.codec import Undecodable
from schemas.records import (
    EPOCH,
    Assessment,
    DecisionLogEntry,
    InspectionOutcome,
    ModelRelease,
    RiskProfile,
)
from schemas.topics import (
    ASSESSMENTS,
    DECISION_LOG,
    INSPECTION_OUTCOMES,
    MODEL_RELEASES,
    RISK_PROFILES,
    Topic,
)
from streams.audit.chain import netstrings
from streams.kafka.events import Headers, Inbound
from streams.kafka.registry import Decoder

SOURCES: Final = (ASSESSMENTS, INSPECTION_OUTCOMES, RISK_PROFILES, MODEL_RELEASES)
"""Their order is part of the log: a new one can only follow, in a log of its own."""
RECORDS: Final[dict[str, type[Any]]] = {
    ASSESSMENTS.name: Assessment,
    INSPECTION_OUTCOMES.name: InspectionOutcome,
    RISK_PROFILES.name: RiskProfile,
    MODEL_RELEASES.name: ModelRelease,
}
PSEUDONYM: Final = re.compile(r"[0-9a-f]{32}")
"""As streams/pseudonym.py makes them."""
RESULTS: Final = ("conforming", "irregular")
MOST: Final = 256
"""Characters of what an entry repeats of an event."""


class TooFewPartitions(Exception):  # noqa: N818 - says what it is
    """A source has more partitions than the log has room for."""


def chain_of(topic: str, partition: int) -> str:
    """Return the name of the chain of a partition."""
    return f"{topic}/{partition}"


def log_partition(topic: str, partition: int) -> int:
    """Return the partition of the log that belongs to a partition of a source.

    Interleaved, so that it stays the same when sources get more partitions.
    """
    place = [source.name for source in SOURCES].index(topic)
    return place + len(SOURCES) * partition


def source_of(log: int) -> tuple[Topic, int]:
    """Return the topic and partition that a partition of the log belongs to."""
    return SOURCES[log % len(SOURCES)], log // len(SOURCES)


def check_room(partitions: int, topic: str, partition: int) -> None:
    """Check that the log has a partition for one of a source.

    Raises:
        TooFewPartitions: it has not.
    """
    if log_partition(topic, partition) >= partitions:
        raise TooFewPartitions(
            f"{DECISION_LOG.name} needs {log_partition(topic, partition) + 1} partitions, because "
            f"{topic} has more than before: add them, then start this again."
        )


def logged(event: Inbound, decode: Decoder) -> DecisionLogEntry:
    """Return what the log says of an event, not linked yet.

    Args:
        event: of one of the sources.
        decode: values of the sources.

    Raises:
        RegistryFailed: it has a new schema and the registry does not answer.
    """
    value = event.value
    return DecisionLogEntry(
        chain=chain_of(event.topic, event.partition),
        source_offset=event.offset,
        source_time=EPOCH + timedelta(milliseconds=round(event.timestamp * 1000)),
        kind=RECORDS[event.topic].SCHEMA,
        event_id=_bounded(event.source_id),
        subject=_bounded((event.key or b"").decode(errors="replace")),
        decision=_decision(event, decode),
        value_sha256="" if value is None else hashlib.sha256(value).hexdigest(),
        headers_sha256=headers_sha256(event.headers),
    )


def headers_sha256(headers: Headers) -> str:
    """Return the hash of an event's headers, in their order."""
    return hashlib.sha256(netstrings(_flat(headers))).hexdigest()


def _flat(headers: Headers) -> Iterable[str | bytes]:
    for name, value in headers:
        yield name
        yield value


def _decision(event: Inbound, decode: Decoder) -> str:
    """Say what was decided. Texts from outside are not repeated: they may hold anything."""
    if event.value is None:
        return "withdrawn"
    topic = next(source for source in SOURCES if source.name == event.topic)
    try:
        record = decode(topic, event.value, RECORDS[event.topic])
    except Undecodable:
        return ""
    if isinstance(record, Assessment):
        basis = record.selection.basis if record.selection else "no basis"
        return f"{_one_of(LANES, record.lane)} by {_one_of(('risk', 'profile', 'random'), basis)}"
    if isinstance(record, InspectionOutcome):
        return f"{_one_of(RESULTS, record.result)}, {len(record.findings)} findings"
    if isinstance(record, RiskProfile):
        author, approver = map(_pseudonym, (record.author, record.approver))
        lane = _one_of(LANES, record.lane)
        return f"version {record.version}, {lane}, by {author}, approved by {approver}"
    return f"bundle {_bounded(record.bundle_id)}"


def _one_of(known: tuple[str, ...], text: str) -> str:
    return text if text in known else "?"


def _pseudonym(text: str) -> str:
    return text if PSEUDONYM.fullmatch(text) else "?"


def _bounded(text: str) -> str:
    """Return a text that is not too long; else its hash."""
    return text if len(text) <= MOST else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
