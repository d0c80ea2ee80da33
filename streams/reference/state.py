"""Events of the reference topics → the last good record of each key, and snapshots of them.

No Kafka here: streams/reference/follower.py brings the events.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from models.risk import exchange, tariff
from models.risk.exchange import ExchangeRates
from models.risk.tariff import Tariff
from models.selection.profiles import Matcher
from schemas import codec
from schemas.codec import Undecodable
from schemas.records import ExchangeRate, RiskProfile, TariffMeasure
from schemas.topics import EXCHANGE_RATES, RISK_PROFILES, TARIFF_MEASURES, Topic
from streams import metrics
from streams.kafka.registry import Decoder

TOPICS: Final = {topic.name: topic for topic in (RISK_PROFILES, TARIFF_MEASURES, EXCHANGE_RATES)}
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The reference data of one moment. Never changes."""

    profiles: tuple[RiskProfile, ...]
    """By id; also those that are ignored or expired."""
    matcher: Matcher
    """Of those profiles."""
    tariff: Tariff
    rates: ExchangeRates = field(default_factory=ExchangeRates)


class ReferenceState:
    """Events of the reference topics, one after the other → the last good record of each key."""

    def __init__(
        self, writers: Callable[[Topic], Mapping[int, codec.Schema]], log: Any = log
    ) -> None:
        """Read the allow-lists of schema ids.

        Args:
            writers: see `Registry.writers`.
            log: structlog's.

        Raises:
            NotDeployed: the registry lacks a schema.
            RegistryFailed: the registry does not answer.
        """
        self._decode = Decoder(writers, TOPICS.values())
        self._log = log
        self._profiles: dict[bytes, RiskProfile] = {}
        self._measures: dict[bytes, TariffMeasure] = {}
        self._rates: dict[bytes, ExchangeRate] = {}
        self._records: Mapping[str, dict[bytes, Any]] = {
            RISK_PROFILES.name: self._profiles,
            TARIFF_MEASURES.name: self._measures,
            EXCHANGE_RATES.name: self._rates,
        }

    def take(self, topic: str, key: bytes | None, value: bytes | None, offset: int) -> None:
        """Take one event; a bad one is logged, and the last good record of its key stays.

        Raises:
            RegistryFailed: an event has a new schema and the registry does not answer.
        """
        where = self._log.bind(topic=topic, offset=offset)
        if key is None:
            _skip(topic, where, "it has no key")
        elif value is None:  # withdrawn
            self._records[topic].pop(key, None)
        elif topic == RISK_PROFILES.name:
            self._take_profile(key, value, where)
        elif topic == TARIFF_MEASURES.name:
            self._take_measure(key, value, where)
        else:
            self._take_rate(key, value, where)

    def snapshot(self) -> Snapshot:
        """Return the current reference data."""
        profiles = tuple(sorted(self._profiles.values(), key=lambda profile: profile.profile_id))
        return Snapshot(
            profiles,
            Matcher(profiles),
            Tariff(self._measures.values()),
            ExchangeRates(self._rates.values()),
        )

    def _take_profile(self, key: bytes, value: bytes, where: Any) -> None:
        profile = self._decoded(RISK_PROFILES, value, RiskProfile, where)
        if profile is None or not _is_key(RISK_PROFILES, key, profile.profile_id, where):
            return
        current = self._profiles.get(key)
        if current is not None and profile.version < current.version:
            where.warning(
                "older profile not taken",
                profile_id=profile.profile_id,
                version=profile.version,
                current_version=current.version,
            )
            return
        self._profiles[key] = profile

    def _take_measure(self, key: bytes, value: bytes, where: Any) -> None:
        measure = self._decoded(TARIFF_MEASURES, value, TariffMeasure, where)
        if measure is None or not _is_key(TARIFF_MEASURES, key, measure.measure_id, where):
            return
        if reason := tariff.problem(measure):
            where.warning("measure ignored", measure_id=measure.measure_id, reason=reason)
        self._measures[key] = measure

    def _take_rate(self, key: bytes, value: bytes, where: Any) -> None:
        rate = self._decoded(EXCHANGE_RATES, value, ExchangeRate, where)
        if rate is None or not _is_key(EXCHANGE_RATES, key, rate.rate_id, where):
            return
        if reason := exchange.problem(rate):
            where.warning("exchange rate ignored", rate_id=rate.rate_id, reason=reason)
        self._rates[key] = rate

    def _decoded(
        self, topic: Topic, value: bytes, kind: type[codec.R], where: Any
    ) -> codec.R | None:
        try:
            return self._decode(topic, value, kind)
        except Undecodable as error:
            _skip(topic.name, where, error.reason, detail=error.detail)
            return None


def _is_key(topic: Topic, key: bytes, id_: str, where: Any) -> bool:
    if key == id_.encode():
        return True
    # Compaction goes by the key: a record under another key would outlive its own tombstone.
    _skip(topic.name, where, "its key is not the record's id")
    return False


def _skip(topic: str, where: Any, reason: str, **more: str) -> None:
    metrics.REFERENCE_SKIPPED.labels(topic).inc()
    where.warning("reference event skipped", reason=reason, **more)
