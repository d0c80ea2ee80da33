"""topics.toml → typed topics: name, key and schema together."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

SIDES: Final = ("writers", "readers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A Kafka topic as topics.toml declares it."""

    name: str
    key: str
    partitions: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    """Components that write and read it; see streams/operations/access.py."""
    why: str
    schema: str | None = None
    """Stem of the Avro file of the value; None where the value is kept as received."""
    retention_days: int = 0
    compacted: bool = False
    max_message_mb: int = 1
    max_value_mb: int = 1
    """Largest value that is decoded."""
    timestamps: Literal["sender", "broker"] = "sender"
    """Who sets the time of an event."""

    @property
    def subject(self) -> str:
        """The registry's subject of the value (topic name strategy)."""
        return f"{self.name}-value"


def _load() -> dict[str, Topic]:
    declared = tomllib.loads((Path(__file__).parent / "topics.toml").read_text())
    return {
        name: Topic(name=name, **fields | {side: tuple(fields[side]) for side in SIDES})
        for name, fields in declared.items()
    }


TOPICS: Final = _load()
DECLARATIONS: Final = TOPICS["declarations"]
ASSESSMENTS: Final = TOPICS["assessments"]
ALERTS: Final = TOPICS["alerts"]
EXPLANATIONS: Final = TOPICS["explanations"]
INSPECTION_OUTCOMES: Final = TOPICS["inspection-outcomes"]
DEAD_LETTERS: Final = TOPICS["dead-letters"]
DEAD_LETTER_REPLAYS: Final = TOPICS["dead-letter-replays"]
RISK_PROFILES: Final = TOPICS["risk-profiles"]
TARIFF_MEASURES: Final = TOPICS["tariff-measures"]
EXCHANGE_RATES: Final = TOPICS["exchange-rates"]
MODEL_RELEASES: Final = TOPICS["model-releases"]
SCREENING_RECORDS: Final = TOPICS["screening-records"]
DECISION_LOG: Final = TOPICS["decision-log"]
