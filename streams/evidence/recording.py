"""What a declaration was screened with → its screening record.

Only what the verdict depends on: not the tariff, but the duties that were looked up in it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import Final

from models.risk.exchange import ExchangeRates, Quote
from models.risk.signals import LiveSignals
from models.risk.tariff import ANY_GOODS, VAT, VAT_TYPE, Goods, Tariff
from schemas.records import (
    ImageReference,
    MatchedProfile,
    PhotoFate,
    RiskProfile,
    ScreeningRecord,
    UsedDuty,
    UsedRate,
    UsedThresholds,
)
from streams.evidence.photos import NoPhoto, Photo
from streams.evidence.signals import write_signals
from streams.kafka.events import Inbound, Outbound
from streams.selection.lanes import LaneDecision

VERSION: Final = version("redlane")


class AskedTariff(Tariff):
    """A tariff that remembers the duties that were looked up."""

    def __init__(self, tariff: Tariff) -> None:
        self._tariff = tariff
        self.duties: dict[tuple[str, str, str], float] = {}
        """Code, origin, and the goods where it depends on them → duty that is known. Percent."""
        self.vat_rates: dict[str, float] = {}
        """Code → VAT, of those that have a rate of their own. Percent."""

    def duty(self, code: str, origin: str, at: datetime, goods: Goods = ANY_GOODS) -> float | None:
        """See `Tariff.duty`; `at` is the same for all goods items of a declaration."""
        duty = self._tariff.duty(code, origin, at, goods)
        if duty is not None:
            depends = self._tariff.depends_on_goods(code)
            self.duties[code, origin, str(goods) if depends else ""] = duty
        return duty

    def vat(self, code: str, at: datetime) -> float:
        """See `Tariff.vat`."""
        vat = self._tariff.vat(code, at)
        if vat != VAT:
            self.vat_rates[code] = vat
        return vat


class AskedRates(ExchangeRates):
    """Rates that remember which of them were looked up."""

    def __init__(self, rates: ExchangeRates) -> None:
        self._source = rates
        self.quotes: dict[str, Quote] = {}
        """Currency → rate, of those that are known."""

    def quote(self, currency: str, at: datetime) -> Quote | None:
        """See `ExchangeRates.quote`; `at` is the same for all goods items of a declaration."""
        quote = self._source.quote(currency, at)
        if quote is not None:
            self.quotes[currency] = quote
        return quote


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the evidence of a declaration was made of, besides its event."""

    read_at: float
    """When the event arrived, at this delivery. Unit: s since 1970-01-01T00:00Z."""
    live: LiveSignals | None
    photos_per_item: int
    photos: tuple[PhotoFate, ...]
    """Of those looked at, goods item by goods item."""
    rates: AskedRates = field(default_factory=lambda: AskedRates(ExchangeRates()))
    tariff: AskedTariff = field(default_factory=lambda: AskedTariff(Tariff()))


def photo_fate(reference: ImageReference, file: Photo | NoPhoto) -> PhotoFate:
    """Return what became of a photo when it was fetched."""
    if isinstance(file, NoPhoto):
        return PhotoFate(code=file.reason, detail=file.detail)
    is_declared = reference.sha256.lower() == file.sha256
    return PhotoFate(sha256="" if is_declared else file.sha256)


def screening_record(
    cause: Inbound,
    inputs: Inputs,
    lane: LaneDecision,
    results: Sequence[Outbound],
    bundle_id: str,
) -> ScreeningRecord:
    """Return the record of a declaration that was screened.

    Args:
        cause: its event.
        inputs: of its evidence.
        lane: and what it was decided by.
        results: the assessment, then the alert where there is one.
        bundle_id: of the model bundle.
    """
    assessment, *alerts = results
    return ScreeningRecord(
        declaration_id=(assessment.key or b"").decode(),
        declaration_event=f"{cause.topic}/{cause.partition}/{cause.offset}",
        assessment_id=dict(assessment.headers)["ce_id"].decode(),
        assessment_sha256=_sha256(assessment),
        alert_sha256="".join(map(_sha256, alerts)),
        bundle_id=bundle_id,
        redlane_version=VERSION,
        read_at=inputs.read_at,
        signals="" if inputs.live is None else write_signals(inputs.live),
        photos_per_item=inputs.photos_per_item,
        photos=inputs.photos,
        rates=tuple(_rates(inputs.rates)),
        duties=tuple(_duties(inputs.tariff)),
        profiles=_profiles(lane.profiles),
        thresholds=UsedThresholds(**asdict(lane.thresholds)),
        capacity_unknown=lane.degraded,
    )


def _sha256(event: Outbound) -> str:
    return hashlib.sha256(event.value or b"").hexdigest()


def _rates(rates: AskedRates) -> Iterable[UsedRate]:
    for currency, quote in sorted(rates.quotes.items()):
        yield UsedRate(
            currency=currency, rate=str(quote.rate), since=quote.since, valid=quote.valid
        )


def _duties(tariff: AskedTariff) -> Iterable[UsedDuty]:
    for (code, origin, goods), duty in sorted(tariff.duties.items()):
        yield UsedDuty(commodity_code=code, country_of_origin=origin, goods=goods, duty_rate=duty)
    for code, vat in sorted(tariff.vat_rates.items()):
        yield UsedDuty(commodity_code=code, duty_rate=vat, measure_type=VAT_TYPE)


def _profiles(profiles: Sequence[RiskProfile]) -> tuple[MatchedProfile, ...]:
    return tuple(
        MatchedProfile(profile_id=each.profile_id, version=each.version, lane=each.lane)
        for each in profiles
    )
