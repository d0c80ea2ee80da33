"""assessments, dead-letters → verdicts as they come, for a person. Joins no consumer group."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from schemas.codec import Undecodable
from schemas.records import Assessment
from schemas.topics import ASSESSMENTS, DEAD_LETTERS, Topic
from streams.kafka.dead_letter import ERRORS, OURS
from streams.kafka.delivery import NotDelivered
from streams.kafka.events import FATE, headers_of
from streams.kafka.origin import partitions_of
from streams.kafka.registry import Decoder, Registry
from streams.settings import Settings

DEAD_LETTER: Final = "dead_letter"
ANSWER_S: Final = 10.0
"""Longest wait for Kafka to answer."""
POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one declaration event."""

    at: datetime
    declaration_id: str
    outcome: str
    """The lane, or DEAD_LETTER."""
    fate: str
    """The same for every answer to one event."""
    risk: float | None = None
    declared: str = ""
    """Code of the riskiest goods item."""
    likely: str = ""
    """The most probable code of it."""
    reasons: tuple[str, ...] = ()
    """Reason codes of that item; of a dead letter its own."""
    degraded: tuple[str, ...] = ()
    detail: str = ""
    """Of a dead letter: what was wrong."""


class Watch:
    """Reads verdicts from now on, or from a time; a context manager."""

    def __init__(self, settings: Settings, *, since: datetime | None = None) -> None:
        """Find where to begin; what is published after this is seen.

        Args:
            settings: of Kafka and the registry.
            since: the broker's time of the first verdict; None for now.

        Raises:
            NotDeployed: a topic or a schema is missing.
            NotDelivered: Kafka does not answer.
            RegistryFailed: the registry does not answer.
        """
        self._decode = Decoder(Registry(settings.registry_url).writers, (ASSESSMENTS,))
        self._answered: set[str] = set()
        self._consumer = Consumer(
            settings.confluent()
            | {
                "group.id": "redlane-watch",  # required, though it joins no group
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.message.max.bytes": DEAD_LETTERS.max_message_mb << 20,
            }
        )
        try:
            self._consumer.assign(
                [
                    place
                    for topic in (ASSESSMENTS, DEAD_LETTERS)
                    for place in self._beginning(topic, since)
                ]
            )
        except KafkaException as error:
            self._consumer.close()
            raise NotDelivered(
                f"Kafka does not answer: {error.args[0].str()}. Check "
                "REDLANE_KAFKA_BOOTSTRAP_SERVERS."
            ) from error
        except BaseException:
            self._consumer.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def verdicts(self) -> Iterator[Verdict | None]:
        """Yield each event's verdict once, and None while there is none; without end.

        Raises:
            RegistryFailed: there is a new schema and the registry does not answer.
        """
        while True:
            messages = self._consumer.consume(100, timeout=POLL_S)
            for message in messages:
                verdict = None if message.error() else self._verdict(message)
                if verdict and verdict.fate not in self._answered:
                    self._answered.add(verdict.fate)
                    yield verdict
            if not messages:
                yield None

    def _beginning(self, topic: Topic, since: datetime | None) -> list[TopicPartition]:
        partitions = partitions_of(self._consumer, topic, ANSWER_S)
        places = [TopicPartition(topic.name, partition) for partition in partitions]
        if since is None:
            for place in places:
                _, place.offset = self._consumer.get_watermark_offsets(place, timeout=ANSWER_S)
            return places
        for place in places:
            place.offset = int(since.timestamp() * 1000)
        found = self._consumer.offsets_for_times(places, timeout=ANSWER_S)
        for place in found:
            if place.error:
                raise KafkaException(place.error)
            if place.offset < 0:  # nothing came since
                place.offset = OFFSET_END
        return list(found)

    def _verdict(self, message: Any) -> Verdict | None:
        """Return what an event says; None of a record that is none of ours."""
        headers = {name: value.decode(errors="replace") for name, value in headers_of(message)}
        place = f"{message.topic()}/{message.partition()}/{message.offset()}"
        at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        fate = headers.get(FATE, place)
        if message.topic() == DEAD_LETTERS.name:
            return Verdict(
                at=at,
                declaration_id=(message.key() or b"").decode(errors="replace"),
                outcome=DEAD_LETTER,
                fate=fate,
                reasons=(headers.get(f"{OURS}reason", ""),),
                detail=headers.get(f"{ERRORS}message", ""),
            )
        try:
            assessment = self._decode(ASSESSMENTS, message.value(), Assessment)
        except Undecodable:
            return None
        riskiest = max(assessment.items, key=lambda item: item.risk, default=None)
        return Verdict(
            at=at,
            declaration_id=assessment.declaration_id,
            outcome=assessment.lane,
            fate=fate,
            risk=assessment.risk,
            declared=riskiest.commodity_code if riskiest else "",
            likely=riskiest.candidates[0].hs6 if riskiest and riskiest.candidates else "",
            reasons=tuple(signal.code for signal in riskiest.signals) if riskiest else (),
            degraded=tuple(sorted({gap.code for gap in assessment.degraded})),
        )


def until_silent(watch: Watch, expected: frozenset[str], *, silence_s: float) -> Iterator[Verdict]:
    """Yield the verdicts on some declarations, until all are there or none comes any more.

    Args:
        watch: that began before they were sent.
        expected: declaration ids.
        silence_s: longest wait for the next.
    """
    missing, last_verdict = set(expected), time.monotonic()
    if not missing:
        return
    for verdict in watch.verdicts():
        if verdict and verdict.declaration_id in expected:
            missing.discard(verdict.declaration_id)
            last_verdict = time.monotonic()
            yield verdict
        if not missing or time.monotonic() - last_verdict > silence_s:
            return
