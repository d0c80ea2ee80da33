"""assessments, alerts, explanations, dead-letters → the demo's scoreboard."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer

from schemas import codec
from schemas.records import Alert, Assessment, Explanation
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, EXPLANATIONS
from streams.kafka.registry import Registry
from streams.settings import Settings
from streams.synthetic.scoreboard import Scoreboard

SHOWN: Final = 12
"""Alerts in the table."""


@dataclass(slots=True)
class Fates:
    """Notes every event on the scoreboard, and keeps the newest alerts."""

    settings: Settings
    scoreboard: Scoreboard
    alerts: deque[Alert] = field(default_factory=lambda: deque(maxlen=SHOWN))
    """The last alerts, oldest first."""
    newest: list[Alert] = field(default_factory=list)
    """Alerts that the caller has not handled yet; the caller clears it."""

    def follow(self) -> Iterator[bool]:
        """Yield after each poll whether an event arrived."""
        registry = Registry(self.settings.registry_url)
        writers = {
            topic.name: registry.writers(topic) for topic in (ASSESSMENTS, ALERTS, EXPLANATIONS)
        }
        consumer = Consumer(
            self.settings.confluent()
            | {
                "group.id": "redlane-demo",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.message.max.bytes": DEAD_LETTERS.max_message_mb << 20,
            }
        )
        consumer.subscribe([*writers, DEAD_LETTERS.name])
        try:
            while True:
                messages = consumer.consume(100, timeout=0.2)
                for message in messages:
                    if message.error() is None:
                        self._note(message, writers)
                yield bool(messages)
        finally:
            consumer.close()

    def _note(self, message: Any, writers: dict[str, dict[int, codec.Schema]]) -> None:
        topic, value, at = message.topic(), message.value(), message.timestamp()[1] / 1000
        if topic == DEAD_LETTERS.name:
            self.scoreboard.dead((message.key() or b"").decode(errors="replace"))
        elif topic == ASSESSMENTS.name:
            assessment = codec.decode(value, Assessment, writers[topic])
            self.scoreboard.assessed(assessment.declaration_id, assessment.lane, value)
        elif topic == EXPLANATIONS.name:
            explanation = codec.decode(value, Explanation, writers[topic])
            self.scoreboard.explained(explanation.declaration_id, at)
        else:
            alert = codec.decode(value, Alert, writers[topic])
            self.scoreboard.alerted(alert.declaration_id, at)
            if alert not in self.alerts:
                self.alerts.append(alert)
                self.newest.append(alert)
